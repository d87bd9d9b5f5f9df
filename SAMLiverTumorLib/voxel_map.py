"""`VoxelMap`: probabilities or uncertainties in voxels, stored as their bounding box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.volume import VoxelGrid

# Stored probabilities are 255 for 1; from this value on a pixel or voxel belongs to the mask.
INSIDE = 128

VoxelBox = tuple[slice, slice, slice]
"""Index of a box in an array (k, j, i) of the whole volume."""


@dataclass(frozen=True, eq=False)
class VoxelMap:
    """Values from 0 to 1 in the voxels of a box; 0 everywhere else.

    :param array: uint8 (k, j, i) of the box; 255 stands for 1.
    :param origin: voxel index (i, j, k) of the box's first voxel.
    :param dimensions: voxels of the whole volume along (i, j, k).
    :param ijk_to_ras: 4x4 affine of the whole volume (mm, world RAS).
    """

    array: np.ndarray
    origin: tuple[int, int, int]
    dimensions: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    @classmethod
    def in_box(cls, array: np.ndarray, box: VoxelBox, volume: VoxelGrid) -> VoxelMap:
        """A map of a volume from its values (k, j, i) in a box."""
        k, j, i = (int(part.start) for part in box)
        return cls(np.ascontiguousarray(array, np.uint8), (i, j, k), volume.dimensions, volume.ijk_to_ras)

    @property
    def box(self) -> VoxelBox:
        """Index of the box in an array (k, j, i) of the whole volume."""
        starts = zip(self.origin[::-1], self.array.shape, strict=True)
        k, j, i = (slice(start, start + size) for start, size in starts)
        return k, j, i

    @property
    def box_to_ras(self) -> np.ndarray:
        """4x4 affine of the box alone, from its own voxel indices (i, j, k) to world RAS (mm)."""
        affine = np.array(self.ijk_to_ras)
        affine[:3, 3] += affine[:3, :3] @ self.origin
        return affine

    @property
    def percent(self) -> np.ndarray:
        """The box's values in whole percent, rounded down: uint8 (k, j, i).

        50 and more is what a probability map counts as inside.
        """
        return (np.arange(256, dtype=np.uint16) * 100 // 255).astype(np.uint8)[self.array]

    def inside(self) -> Mask:
        """The voxels whose value is at least a half."""
        return Mask.from_array(self.array >= INSIDE, self, self.origin)
