"""`Mask`: a result in voxels, stored as its bounding box, so that its cost depends on its own size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.volume import VoxelGrid


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels of a volume that belong to a structure.

    :param array: bool, shape (k, j, i): the bounding box of the mask (shape (0, 0, 0) when it is empty).
    :param origin: voxel index (i, j, k) of the box's first voxel.
    :param dimensions: voxels of the whole volume along (i, j, k).
    :param ijk_to_ras: 4x4 affine of the whole volume (mm, world RAS).
    """

    array: np.ndarray
    origin: tuple[int, int, int]
    dimensions: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    @classmethod
    def from_array(cls, array: np.ndarray, volume: VoxelGrid, origin: tuple[int, int, int] = (0, 0, 0)) -> Mask:
        """Crop a boolean array of shape (k, j, i), whose first voxel is `origin`, to its bounding box."""
        array = np.asarray(array, dtype=bool)
        if not array.any():
            return cls(np.zeros((0, 0, 0), bool), (0, 0, 0), volume.dimensions, volume.ijk_to_ras)
        slices = []
        for axis in range(3):
            filled = np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))
            slices.append(slice(int(filled[0]), int(filled[-1]) + 1))
        k, j, i = (s.start for s in slices)
        start = (origin[0] + i, origin[1] + j, origin[2] + k)
        return cls(np.ascontiguousarray(array[tuple(slices)]), start, volume.dimensions, volume.ijk_to_ras)

    @property
    def count(self) -> int:
        """Number of voxels in the mask."""
        return int(np.count_nonzero(self.array))

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Index of the mask's box in an array (k, j, i) of the whole volume."""
        starts = zip(self.origin[::-1], self.array.shape, strict=True)
        k, j, i = (slice(start, start + size) for start, size in starts)
        return k, j, i

    @property
    def volume_ml(self) -> float:
        """Volume of the mask in milliliters."""
        return self.count * float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    def full(self) -> np.ndarray:
        """The mask as a boolean array (k, j, i) of the whole volume."""
        whole = np.zeros(self.dimensions[::-1], bool)
        whole[self.box] = self.array
        return whole


def union(masks: Iterable[Mask], volume: VoxelGrid) -> Mask:
    """The union of masks of one volume."""
    filled = [mask for mask in masks if mask.count]
    if not filled:
        return Mask.from_array(np.zeros((1, 1, 1), bool), volume)
    low = np.min([mask.origin for mask in filled], axis=0)
    high = np.max([np.add(mask.origin, mask.array.shape[::-1]) for mask in filled], axis=0)
    array = np.zeros((high - low)[::-1], bool)
    for mask in filled:
        box = tuple(slice(s.start - o, s.stop - o) for s, o in zip(mask.box, low[::-1], strict=True))
        array[box] |= mask.array
    i, j, k = (int(x) for x in low)
    return Mask.from_array(array, volume, (i, j, k))
