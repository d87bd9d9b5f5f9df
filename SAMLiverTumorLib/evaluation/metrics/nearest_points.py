"""The least distance between two sets of points, found by boxes within boxes.

scipy's KDTree looks for the neighbor of each point alone, and of a point deep in the liver half of the liver's surface
is about as far: 30 ms a point, half an hour for a large lesion. Here pairs of boxes are looked at, and most of them
are farther apart than two points already known.
"""

from __future__ import annotations

import numpy as np

# Edges of the boxes in mm, from the largest; each a multiple of the next.
_EDGES_MM = (24.0, 6.0, 1.5)

# Pairs of boxes that are opened at once.
_BATCH = 1024

# What rounding makes of 0.
_ZERO_MM = 1e-6


class Points:
    """Points of a surface, sorted into boxes.

    :param points: shape (n, 3), at least one, in mm.
    """

    def __init__(self, points: np.ndarray) -> None:
        keys = [np.floor(points / edge).astype(np.int64) for edge in _EDGES_MM]
        order = np.lexsort(np.concatenate([key.T for key in reversed(keys)]))
        points = points[order]
        # from the points to the largest boxes: each level's boxes and where their parts begin in the level before
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
    """Least distance from a point of one to a point of the other, in mm; what rounding leaves of 0 is 0.

    >>> least_distance(Points(np.zeros((1, 3))), Points(np.array([[9.0, 9.0, 9.0], [3.0, 4.0, 0.0]])))
    5.0
    """
    n, m = len(one._levels[0][0]), len(other._levels[0][0])
    a, b = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    squared = _least(one, other, 0, a, b, np.inf)
    return 0.0 if squared < _ZERO_MM**2 else float(np.sqrt(squared))


def _least(one: Points, other: Points, level: int, a: np.ndarray, b: np.ndarray, best: float) -> float:
    """The least squared distance in pairs of boxes of a level, or `best` where that is less."""
    (low_a, high_a, starts_a), (low_b, high_b, starts_b) = one._levels[level], other._levels[level]
    one_way, other_way = low_a[a] - high_b[b], low_b[b] - high_a[a]
    gaps = (np.maximum(0.0, np.maximum(one_way, other_way)) ** 2).sum(axis=1)
    # two points are no farther apart than the far sides of the boxes they lie in; a point's sides are itself
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
