"""Slices that are shifted against each other (gantry tilt) or at uneven distances, and the regular grid around them.

Each slice is moved within its plane to where its position says (the shear that Slicer's acquisition transform undoes),
then slices are interpolated along their normal. Both are linear; masks take the nearest voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Placement:
    """Where slices lie on the grid.

    :param shifts: (slice, 2), voxels (i, j) of each slice's first pixel on the grid; 0 or more.
    :param heights: (slice,), k of each slice on the grid, ascending from 0.
    :param dimensions: voxels of the grid along (i, j, k).
    """

    shifts: np.ndarray
    heights: np.ndarray
    dimensions: tuple[int, int, int]


def place(aside: np.ndarray, heights: np.ndarray, step: float, size: tuple[int, int]) -> tuple[Placement, np.ndarray]:
    """The grid around slices.

    :param aside: (slice, 2), pixels along (columns, rows) by which each slice is shifted against the first.
    :param heights: of the slices along the normal, mm, ascending.
    :param step: of the grid, mm.
    :param size: of a slice, (columns, rows).
    :return: (placement; where voxel (0, 0) of the grid lies from the first slice's first pixel, in pixels (i, j)).
    """
    low = np.floor(aside.min(axis=0) + 1e-3)
    high = np.ceil(aside.max(axis=0) - 1e-3)
    along = (heights - heights[0]) / step
    # the last slice lies on the grid where a whole number of steps leads to it, else just within it
    count = int(np.ceil(along[-1] - 1e-3)) + 1
    columns, rows = np.array(size) + (high - low).astype(int)
    return Placement(aside - low, along, (int(columns), int(rows), count)), low


def onto_regular(slices: np.ndarray, placement: Placement, fill: float) -> np.ndarray:
    """Values of slices on the grid.

    :param slices: (slice, row, column).
    :param fill: where no slice was.
    :return: (k, j, i) of the same type.
    """
    columns, rows, count = placement.dimensions
    out = np.empty((count, rows, columns), slices.dtype)
    planes: dict[int, np.ndarray] = {}

    def plane(n: int) -> np.ndarray:
        if n not in planes:
            for old in [other for other in planes if other < n - 1]:
                del planes[old]
            planes[n] = _moved(slices[n], placement.shifts[n], (rows, columns), fill)
        return planes[n]

    last = len(slices) - 1
    for k in range(count):
        above = min(int(np.searchsorted(placement.heights, k - 1e-3)), last)
        below = max(above - 1, 0)
        gap = placement.heights[above] - placement.heights[below]
        weight = 1.0 if gap <= 0 else min(max((k - placement.heights[below]) / gap, 0.0), 1.0)
        values = plane(above) if weight > 1 - 1e-3 else plane(below) * (1 - weight) + plane(above) * weight
        out[k] = np.rint(values) if slices.dtype.kind in "iu" else values
    return out


def onto_slices(layer: np.ndarray, placement: Placement, size: tuple[int, int]) -> np.ndarray:
    """A mask or label layer (k, j, i) of the grid on the slices, by the nearest voxel.

    :param size: of a slice, (columns, rows).
    :return: (slice, row, column).
    """
    columns, rows = size
    out = np.empty((len(placement.heights), rows, columns), layer.dtype)
    # halves go up everywhere, so that slices keep their order
    nearest = np.minimum(np.floor(placement.heights + 0.5).astype(int), len(layer) - 1)
    for n, (k, (i, j)) in enumerate(zip(nearest, np.floor(placement.shifts + 0.5).astype(int), strict=True)):
        part = layer[k, j : j + rows, i : i + columns]
        out[n] = 0
        out[n, : part.shape[0], : part.shape[1]] = part
    return out


def _moved(picture: np.ndarray, shift: np.ndarray, shape: tuple[int, int], fill: float) -> np.ndarray:
    """A slice in its place on a larger plane, linear between pixels; its edge reaches to the next voxel."""
    out = np.full(shape, fill, np.float64)
    whole = np.floor(shift + 1e-3).astype(int)
    x, y = np.where((part := shift - whole) > 1e-3, part, 0.0)
    values = np.pad(picture.astype(np.float64), 1, mode="edge")
    values = values[:, 1:] * (1 - x) + values[:, :-1] * x if x else values[:, 1:-1]
    values = values[1:] * (1 - y) + values[:-1] * y if y else values[1:-1]
    i, j = whole
    room = out[j : j + values.shape[0], i : i + values.shape[1]]
    room[...] = values[: room.shape[0], : room.shape[1]]
    return out
