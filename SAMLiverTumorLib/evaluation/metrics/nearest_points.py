"""The least distance between two sets of points, by nested boxes.

scipy's KDTree searches the neighbor of each point separately. For a point deep in the liver, half of the liver's
surface is at about the same distance: 30 ms per point, half an hour for a large lesion. Here pairs of boxes are
compared, and most are skipped because they are farther apart than two points already found.
"""

from __future__ import annotations

import numpy as np

# Edges of the boxes in mm, largest first; each a multiple of the next.
_EDGES_MM = (24.0, 6.0, 1.5)

# Pairs of boxes that are split at a time.
_BATCH = 1024

# Distances below this are 0 but for rounding.
_ZERO_MM = 1e-6


class Points:
    """Points of a surface, sorted into boxes.

    :param points: shape (n, 3), at least one, in mm.
    """

    def __init__(self, points: np.ndarray) -> None:
        keys = [np.floor(points / edge).astype(np.int64) for edge in _EDGES_MM]
        order = np.lexsort(np.concatenate([key.T for key in reversed(keys)]))
        points = points[order]
        # from the points up to the largest boxes: boxes of each level, and the start of their parts in the level below
        self._levels = [(points, points, np.arange(len(points) + 1))]
        begins = np.arange(len(points))
        for key in reversed(keys):
            sorted_key = key[order][begins]
            starts = np.flatnonzero(np.r_[True, (sorted_key[1:] != sorted_key[:-1]).any(axis=1)])
            low, high, _ = self._levels[0]
            boxes = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
            self._levels.insert(0, (*boxes, np.r_[starts, len(low)]))
            begins = begins[starts]

    @property
    def low(self) -> np.ndarray:
        """Least coordinates of all points, shape (3,)."""
        return self._levels[0][0].min(axis=0)

    @property
    def high(self) -> np.ndarray:
        """Greatest coordinates of all points, shape (3,)."""
        return self._levels[0][1].max(axis=0)


def least_distance(one: Points, other: Points) -> float:
    """Least distance in mm from a point of one set to a point of the other; exactly 0 if they touch.

    >>> least_distance(Points(np.zeros((1, 3))), Points(np.array([[9.0, 9.0, 9.0], [3.0, 4.0, 0.0]])))
    5.0
    """
    n, m = len(one._levels[0][0]), len(other._levels[0][0])
    a, b = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    squared = _least(one, other, 0, a, b, np.inf)
    return 0.0 if squared < _ZERO_MM**2 else float(np.sqrt(squared))


def _least(one: Points, other: Points, level: int, a: np.ndarray, b: np.ndarray, best: float) -> float:
    """The least squared distance within pairs of boxes of a level, or `best` if that is less."""
    (low_a, high_a, starts_a), (low_b, high_b, starts_b) = one._levels[level], other._levels[level]
    one_way, other_way = low_a[a] - high_b[b], low_b[b] - high_a[a]
    gaps = (np.maximum(0.0, np.maximum(one_way, other_way)) ** 2).sum(axis=1)
    # no two points are farther apart than the far sides of their boxes; a point is a box of size 0
    best = min(best, float((np.minimum(one_way, other_way) ** 2).sum(axis=1).min()))
    if level == len(_EDGES_MM):
        return best
    nearer = np.flatnonzero(gaps < best)
    nearer = nearer[np.argsort(gaps[nearer], kind="stable")]
    for n in range(0, len(nearer), _BATCH):
        if gaps[nearer[n]] >= best:
            break
        batch = nearer[n : n + _BATCH]
        batch = batch[gaps[batch] < best]
        first_a, first_b = starts_a[a[batch]], starts_b[b[batch]]
        parts_a, parts_b = starts_a[a[batch] + 1] - first_a, starts_b[b[batch] + 1] - first_b
        pairs = parts_a * parts_b
        pair = np.repeat(np.arange(len(batch)), pairs)
        within = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
        part_a, part_b = np.divmod(within, parts_b[pair])
        best = _least(one, other, level + 1, first_a[pair] + part_a, first_b[pair] + part_b, best)
    return best
