"""Sampling: from a volume to the pixels of a plane, and from a plane's mask back to voxels."""

from __future__ import annotations

import numpy as np

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.plane import Plane, within_step
from SAMLiverTumorLib.volume import Volume


def sample_plane(volume: Volume, plane: Plane, step: int = 0) -> np.ndarray:
    """Voxel values at the plane's pixels, shape (rows, columns).

    A slice of the volume's own grid is a view, without interpolation and without a copy; an oblique
    plane is interpolated linearly and has the volume's minimum outside of it.

    :param step: whole steps along the normal: 0 the plane itself, -1 and 1 its neighbors. Straight neighbors
        beyond the volume repeat its border.
    """
    if plane.axis is not None and plane.index is not None:
        along = step if plane.to_ijk[plane.axis, 2] > 0 else -step
        index = min(max(plane.index + along, 0), volume.dimensions[plane.axis] - 1)
        # array axes are (k, j, i): voxel axis a is array axis 2 - a
        return _as_slice_image(_slice_view(volume.array, 2 - plane.axis, index), plane)
    from scipy.ndimage import map_coordinates

    rows, columns = plane.shape
    u, v = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    m = plane.to_ijk
    ijk = [m[a, 0] * u + m[a, 1] * v + m[a, 2] * step + m[a, 3] for a in range(3)]
    # the outermost voxels reach half a voxel beyond their centers, and rounding may put a plane through
    # them a little outside: only beyond that is the slice image empty
    image = map_coordinates(volume.array, ijk[::-1], output=np.float32, order=1, mode="nearest")
    sizes = volume.dimensions
    outside = [(x < -0.5 - 1e-6) | (x > size - 0.5 + 1e-6) for x, size in zip(ijk, sizes, strict=True)]
    image[np.logical_or.reduce(outside)] = volume.intensity_range[0]
    return image


def mask_to_voxels(image: np.ndarray, plane: Plane, volume: Volume) -> Mask:
    """Put a mask (rows, columns) of a plane into the voxels that its pixels stand for; see `slice_mask_to_voxels`."""
    array, origin = slice_mask_to_voxels(image, plane, volume)
    return Mask.from_array(array, volume, origin)


def slice_mask_to_voxels(image: np.ndarray, plane: Plane, volume: Volume) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Put a slice image (rows, columns) of any type into the voxels that its pixels stand for; zero is empty.

    On a slice of the volume's own grid pixels are voxels. On an oblique plane every voxel whose
    center is within half a step of the plane takes the value of the nearest pixel, so that a mask
    is one voxel layer thick and has no holes.

    :return: array (k, j, i) of a box around all that is not zero, and the box's first voxel (i, j, k).
    """
    if plane.axis is not None and plane.index is not None:
        origin = [0, 0, 0]
        origin[plane.axis] = plane.index
        return np.expand_dims(_from_slice_image(image, plane), 2 - plane.axis), (origin[0], origin[1], origin[2])
    filled = np.argwhere(image)
    if not len(filled):
        return np.zeros((1, 1, 1), image.dtype), (0, 0, 0)
    (v0, u0), (v1, u1) = filled.min(axis=0) - 0.5, filled.max(axis=0) + 0.5
    corners = np.array([(u, v, w) for u in (u0, u1) for v in (v0, v1) for w in (-0.5, 0.5)])
    ijk = corners @ plane.to_ijk[:3, :3].T + plane.to_ijk[:3, 3]
    low = np.clip(np.floor(ijk.min(axis=0)), 0, np.array(volume.dimensions) - 1).astype(int)
    high = np.clip(np.ceil(ijk.max(axis=0)), 0, np.array(volume.dimensions) - 1).astype(int)
    k, j, i = np.meshgrid(*(np.arange(low[a], high[a] + 1) for a in (2, 1, 0)), indexing="ij")
    inverse = np.linalg.inv(plane.to_ijk)
    u, v, w = (inverse[a, 0] * i + inverse[a, 1] * j + inverse[a, 2] * k + inverse[a, 3] for a in range(3))
    column, row = np.rint(u).astype(int), np.rint(v).astype(int)
    rows, columns = plane.shape
    # the plane seen from the voxel: halfway between two layers it belongs to the one along the normal
    inside = within_step(-w) & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    array = np.zeros(inside.shape, image.dtype)
    array[inside] = image[row[inside], column[inside]]
    return array, (int(low[0]), int(low[1]), int(low[2]))


def voxels_to_slice_mask(array: np.ndarray, plane: Plane) -> np.ndarray:
    """The plane's slice image, shape (rows, columns), of an array (k, j, i) on the whole volume's grid.

    :raises ValueError: the plane is oblique.
    """
    if plane.axis is None or plane.index is None:
        raise ValueError("an oblique plane is no slice of a voxel array")
    return _as_slice_image(_slice_view(array, 2 - plane.axis, plane.index), plane)


def within(box: tuple[float, float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centers lie within a box's edges (u0, v0, u1, v1); bool (rows, columns)."""
    u0, v0, u1, v1 = box
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    return ((rows >= v0) & (rows <= v1))[:, None] & ((columns >= u0) & (columns <= u1))[None, :]


def _slice_view(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    return array[tuple(index if a == axis else slice(None) for a in range(3))]


def _as_slice_image(voxels: np.ndarray, plane: Plane) -> np.ndarray:
    """Turn the two remaining array axes into (rows, columns) by transposing and flipping views."""
    row_axis, column_axis = _image_axes(plane)
    if row_axis < column_axis:  # array order (k, j, i) puts the higher voxel axis first
        voxels = voxels.T
    return _flip(voxels, plane)


def _from_slice_image(image: np.ndarray, plane: Plane) -> np.ndarray:
    row_axis, column_axis = _image_axes(plane)
    image = _flip(image, plane)
    return image.T if row_axis < column_axis else image


def _image_axes(plane: Plane) -> tuple[int, int]:
    """Voxel axes along rows (v) and columns (u)."""
    return int(np.argmax(np.abs(plane.to_ijk[:3, 1]))), int(np.argmax(np.abs(plane.to_ijk[:3, 0])))


def _flip(image: np.ndarray, plane: Plane) -> np.ndarray:
    row_axis, column_axis = _image_axes(plane)
    rows = slice(None, None, -1 if plane.to_ijk[row_axis, 1] < 0 else 1)
    columns = slice(None, None, -1 if plane.to_ijk[column_axis, 0] < 0 else 1)
    return image[rows, columns]
