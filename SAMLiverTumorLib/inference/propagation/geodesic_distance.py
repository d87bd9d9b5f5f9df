"""Geodesic distances in a slice image: longer across edges, so that they follow the outline of a region."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))


def geodesic_distance(
    grey: np.ndarray, seeds: np.ndarray, spacing: tuple[float, float], grey_per_mm: float
) -> np.ndarray:
    """Length of the shortest path to a seed in millimeters, where differences of grey value add to the length.

    The distance of Criminisi, Sharp and Blake, "GeoS: Geodesic Image Segmentation", ECCV 2008, computed exactly by
    Dijkstra's algorithm on the 8-connected grid. Meant for a small part of a slice image around a tumor.

    :param grey: float (rows, columns).
    :param seeds: bool (rows, columns), not empty.
    :param spacing: millimeters per pixel along (rows, columns).
    :param grey_per_mm: difference of grey value that counts as one millimeter.
    :return: float (rows, columns).
    """
    numbers = np.arange(grey.size).reshape(grey.shape)
    starts, ends, lengths = [], [], []
    for down, right in _NEIGHBORS:
        a, b = _shifted(down, right)
        climb = (grey[a] - grey[b]) / grey_per_mm
        starts.append(numbers[a].ravel())
        ends.append(numbers[b].ravel())
        lengths.append(np.sqrt((down * spacing[0]) ** 2 + (right * spacing[1]) ** 2 + climb**2).ravel())
    rows, columns = np.concatenate(starts), np.concatenate(ends)
    graph = coo_matrix((np.concatenate(lengths), (rows, columns)), shape=(grey.size, grey.size)).tocsr()
    distances = dijkstra(graph, directed=False, indices=np.flatnonzero(seeds), min_only=True)
    return distances.reshape(grey.shape)


def _shifted(down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Indices of all pixels with a neighbor at (down, right), and of those neighbors."""
    columns = (slice(None, -1), slice(1, None)) if right > 0 else (slice(1, None), slice(None, -1))
    if right == 0:
        columns = (slice(None), slice(None))
    rows = (slice(None, -down or None), slice(down, None))
    return (rows[0], columns[0]), (rows[1], columns[1])
