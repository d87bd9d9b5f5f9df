"""`CropGrid`: the cube that the network of whole lesions sees, in the lesion's scale, and its place in the patient.

Its first axis is the normal of the prompted slice, so that the slice is one of its layers, however it lies in the
patient; rows and columns follow. Crop indices (a, b, c) are integers at the centers of its voxels, array order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.volume import apply_affine

SIZE = 48
"""Voxels along each side."""

ACROSS_SLICE, ACROSS_LESION = 24.0, 28.0
"""Voxels along the greatest extent of the prompted slice's mask, from which the first crop is made, and of the lesion,
once it is known."""

_SMALLEST_MM = 4.0


def crop_spacing(extent_mm: float, across: float) -> float:
    """Millimeters between the voxels of a crop in which an extent is so many voxels long.

    Lesions of less than 4 mm are shown as small as they are: a crop of less than 7 mm would show nothing else.

    >>> round(crop_spacing(12.0, 24.0), 3), round(crop_spacing(1.0, 24.0), 3)
    (0.5, 0.167)
    """
    return max(extent_mm, _SMALLEST_MM) / across


@dataclass(frozen=True, eq=False)
class CropGrid:
    """A cube of voxels.

    :param axes: (3, 3), columns are the unit directions of (a, b, c) in world RAS.
    :param center: (3,) world RAS of its middle, mm.
    :param spacing: millimeters from voxel to voxel.
    :param size: voxels along each side.
    """

    axes: np.ndarray
    center: np.ndarray
    spacing: float
    size: int = SIZE

    @property
    def to_ras(self) -> np.ndarray:
        """4x4 affine from crop indices (a, b, c) to world RAS."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * self.spacing
        matrix[:3, 3] = self.center - matrix[:3, :3] @ np.full(3, (self.size - 1) / 2)
        return matrix

    def from_ras(self, points_ras: np.ndarray) -> np.ndarray:
        """Crop indices (n, 3) of world points (n, 3), mm."""
        return apply_affine(np.linalg.inv(self.to_ras), points_ras)

    def to_array(self, ras_to_ijk: np.ndarray) -> np.ndarray:
        """4x4 affine from crop indices (a, b, c) to a volume's array indices (k, j, i)."""
        matrix = ras_to_ijk @ self.to_ras
        matrix[:3] = matrix[2::-1]
        return matrix

    def around(self, low: np.ndarray, high: np.ndarray, across: float) -> CropGrid:
        """The crop of the same directions around a box, its greatest extent so many voxels long.

        :param low: crop index (3,) of the first voxel in the box.
        :param high: of the last one.
        """
        extent = float((np.asarray(high) - low + 1).max()) * self.spacing
        middle = apply_affine(self.to_ras, (np.asarray(low, float) + high) / 2)[0]
        return CropGrid(self.axes, middle, crop_spacing(extent, across), self.size)

    def with_layer_at(self, point_ras: np.ndarray) -> CropGrid:
        """The crop moved along its first axis, by half a voxel at most, to have a point in the middle of a layer."""
        height = float(self.from_ras(point_ras)[0, 0])
        move = (height - np.rint(height)) * self.spacing
        return CropGrid(self.axes, self.center + self.axes[:, 0] * move, self.spacing, self.size)


def grid_on_slice(plane: Plane, mask: np.ndarray, size: int = SIZE) -> CropGrid:
    """The first crop: the slice in its middle, the mask in the slice's.

    :param mask: bool (rows, columns) of the plane, not empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    u_mm, v_mm, _ = plane.spacing
    extent = max((columns[-1] - columns[0] + 1) * u_mm, (rows[-1] - rows[0] + 1) * v_mm)
    middle = (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2, 0.0
    center = apply_affine(plane.to_ras, np.array(middle))[0]
    grid = CropGrid(plane_axes(plane), center, crop_spacing(float(extent), ACROSS_SLICE), size)
    # an even number of layers has none in the middle
    return grid.with_layer_at(center)


def plane_axes(plane: Plane) -> np.ndarray:
    """Directions of a crop on a plane, columns in world RAS: its normal, down its rows, along its columns."""
    u, v, w = plane.to_ras[:3, 0], plane.to_ras[:3, 1], plane.to_ras[:3, 2]
    column = u / np.linalg.norm(u)
    row = v - column * (v @ column)
    row /= np.linalg.norm(row)
    normal = np.cross(column, row)
    return np.column_stack([normal if normal @ w > 0 else -normal, row, column])
