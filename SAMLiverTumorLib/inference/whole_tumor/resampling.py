"""From a volume's voxels to a crop's and back: linear, averaged where the crop is coarser than the volume."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

# So many voxels are resampled at once: their coordinates take 12 bytes each.
_AT_ONCE = 4_000_000
# Of a block of voxels so many are averaged along each axis, which is enough against aliasing.
_PER_BLOCK = 2


def resample(
    values: np.ndarray, to_values: np.ndarray, shape: tuple[int, int, int], outside: float = 0.0
) -> np.ndarray:
    """Linear interpolation on another grid; float32 (channels, *shape).

    :param values: float32 (channels, k, j, i).
    :param to_values: 4x4 affine from indices of the new grid to those of the old one, both in the order of array axes.
    :param outside: value beyond the old grid.
    """
    order = _axis_by_axis(to_values)
    if order is not None:
        return _resample_axes(values, to_values, order, shape, outside)
    import torch
    from torch.nn import functional

    old = np.array(values.shape[1:], float)
    source = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None]
    if outside:
        source = source - outside
    parts = []
    step = max(1, _AT_ONCE // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        part = np.array([min(step, shape[0] - first), shape[1], shape[2]])
        # both grids reach from -1 to 1 there, from edge to edge, and axes are counted from the last one
        middle = to_values[:3, :3] @ ((part - 1) / 2 + [first, 0, 0]) + to_values[:3, 3]
        theta = np.column_stack([to_values[:3, :3] * part / old[:, None], (2 * middle + 1) / old - 1])
        theta = theta[::-1][:, [2, 1, 0, 3]].copy()
        grid = functional.affine_grid(
            torch.from_numpy(theta).float()[None], [1, 1, *part.tolist()], align_corners=False
        )
        parts.append(functional.grid_sample(source, grid, "bilinear", "zeros", align_corners=False)[0])
    return (torch.cat(parts, dim=1) + outside if outside else torch.cat(parts, dim=1)).numpy()


def _axis_by_axis(to_values: np.ndarray) -> tuple[int, ...] | None:
    """For each axis of the old grid the parallel one of the new grid; None where they are at other angles."""
    size = np.abs(to_values[:3, :3])
    order = tuple(int(axis) for axis in size.argmax(axis=1))
    rest = size.copy()
    rest[(0, 1, 2), order] = 0.0
    return order if sorted(order) == [0, 1, 2] and rest.max() < 1e-6 * size.max() else None


def _resample_axes(
    values: np.ndarray, to_values: np.ndarray, order: tuple[int, ...], shape: tuple[int, int, int], outside: float
) -> np.ndarray:
    """Linear interpolation along one axis after the other: a tenth of the time for a lesion of 20 cm."""
    result = values.astype(np.float32) - np.float32(outside)
    for axis, new in enumerate(order):
        places = to_values[axis, new] * np.arange(shape[new]) + to_values[axis, 3]
        near = 1.0 - np.abs(places[:, None] - np.arange(values.shape[1 + axis]))
        weights = np.maximum(near, 0.0).astype(np.float32)
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, 1 + axis)), 0, 1 + axis)
    result = result.transpose(0, *(1 + order.index(axis) for axis in range(3)))
    return np.ascontiguousarray(result) + np.float32(outside)


class BlockSampler:
    """Samples arrays of one volume at a crop's voxels.

    The part of the volume that the crop shows is first averaged in blocks about as large as the crop's voxels, see
    `blocks`; `sample` interpolates between blocks.

    :param shape: of the volume's arrays (k, j, i).
    :param to_array: 4x4 affine from crop indices to array indices.
    :param size: voxels along the crop's sides.
    """

    def __init__(self, shape: tuple[int, ...], to_array: np.ndarray, size: int) -> None:
        self.size = size
        corners = np.array(list(product((-0.5, size - 0.5), repeat=3))) @ to_array[:3, :3].T + to_array[:3, 3]
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, np.array(shape) - 1)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int), low, np.array(shape) - 1)
        self.factors = np.maximum(np.rint(np.linalg.norm(to_array[:3, :3], axis=1)), 1).astype(int)
        self.counts = -(-(high - low + 1) // self.factors)
        self.low, self._last = low, np.array(shape) - 1
        self.to_blocks = np.eye(4)
        self.to_blocks[:3] = to_array[:3] / self.factors[:, None]
        self.to_blocks[:3, 3] -= (low + (self.factors - 1) / 2) / self.factors

    def blocks(self, array: np.ndarray, convert: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
        """Means of blocks of an array (k, j, i), float32.

        :param convert: applied to the voxels before.
        """
        indices, taken = [], []
        for low, factor, count, last in zip(self.low, self.factors, self.counts, self._last, strict=True):
            offsets = np.unique(np.linspace(0, factor - 1, min(factor, _PER_BLOCK)).round().astype(int))
            places = low + np.arange(count)[:, None] * factor + offsets
            indices.append(np.minimum(places, last).ravel())
            taken.append(len(offsets))
        part = convert(array[np.ix_(*indices)]).astype(np.float32)
        for axis, count in enumerate(taken):
            if count > 1:
                lead = (slice(None),) * axis
                part = sum(part[(*lead, slice(n, None, count))] for n in range(count)) / np.float32(count)
        return part

    def sample(self, *blocks: np.ndarray) -> np.ndarray:
        """Values of `blocks` at the crop's voxels, float32 (len(blocks), size, size, size); 0 outside the volume."""
        return resample(np.stack(blocks), self.to_blocks, (self.size,) * 3)
