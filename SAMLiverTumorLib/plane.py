"""`Plane`: the grid of the slice image that the network sees, and where its pixels lie in the patient.

A plane is laid out as radiologists look at it, whatever the order and sign of the volume's axes:

=========  ======================  ====================
name       columns run toward      rows run toward
=========  ======================  ====================
axial      patient left            posterior
coronal    patient left            inferior
sagittal   posterior               inferior
=========  ======================  ====================

So the network sees the same slice image of the same patient however the file was stored.
Plane coordinates are (u, v, w): column, row, step along the normal; pixel centers are integers and
the plane itself lies at w = 0. The normal of a straight slice points superior, anterior or right,
even where the voxel index runs the other way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.volume import Volume, apply_affine

ORIENTATIONS = ("axial", "coronal", "sagittal")

# A millionth of a voxel: rounding of affines and their inverses.
_TIE = 1e-6

# Patient axis (0 R, 1 A, 2 S) and direction (+1/-1 along it) of columns, rows and normal.
_LAYOUT = {
    "axial": ((0, -1), (1, -1), (2, 1)),
    "coronal": ((0, -1), (2, -1), (1, 1)),
    "sagittal": ((1, -1), (2, -1), (0, 1)),
}


@dataclass(frozen=True, eq=False)
class Plane:
    """A grid of pixels in a volume.

    :param name: "axial", "coronal", "sagittal" or "oblique".
    :param to_ijk: 4x4 affine from (u, v, w) to continuous voxel indices (i, j, k).
    :param to_ras: 4x4 affine from (u, v, w) to world RAS in millimeters.
    :param shape: pixels as (rows, columns).
    :param axis: voxel axis (0 i, 1 j, 2 k) along the normal; None for an oblique plane.
    :param index: the plane's voxel index along `axis`; None for an oblique plane.
    """

    name: str
    to_ijk: np.ndarray
    to_ras: np.ndarray
    shape: tuple[int, int]
    axis: int | None = None
    index: int | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimeters between neighbors along (u, v, w)."""
        u, v, w = (float(x) for x in np.linalg.norm(self.to_ras[:3, :3], axis=0))
        return u, v, w

    def from_ras(self, points_ras: np.ndarray) -> np.ndarray:
        """Plane coordinates (u, v, w), shape (n, 3), of world points in mm, shape (n, 3)."""
        return apply_affine(np.linalg.inv(self.to_ras), points_ras)


def patient_axes(ijk_to_ras: np.ndarray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Which voxel axis runs most nearly along R, A and S, and with which sign.

    :return: (axes, signs): `axes[p]` is the voxel axis for patient axis p, `signs[p]` is -1 where its
        index grows toward L, P or I. Axes are matched as a permutation, so that none is taken twice
        however oblique the volume.
    """
    directions = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    r, a, s = max(permutations(range(3)), key=lambda order: sum(abs(directions[p, order[p]]) for p in range(3)))
    sign_r, sign_a, sign_s = (1 if directions[p, axis] >= 0 else -1 for p, axis in enumerate((r, a, s)))
    return (r, a, s), (sign_r, sign_a, sign_s)


def normal_axis(volume: Volume, name: str) -> int:
    """Voxel axis (0 i, 1 j, 2 k) along the normal of the named orientation."""
    return patient_axes(volume.ijk_to_ras)[0][_layout(name)[2][0]]


def slice_count(volume: Volume, name: str) -> int:
    """Number of slices of the volume in the named orientation."""
    return volume.dimensions[normal_axis(volume, name)]


def slice_plane(volume: Volume, name: str, index: int) -> Plane:
    """The volume's own slice with voxel index `index`, in the orientation nearest to `name`.

    :raises InputError: unknown orientation or index out of range.
    """
    layout = _layout(name)
    axes, signs = patient_axes(volume.ijk_to_ras)
    dimensions = volume.dimensions
    to_ijk = np.zeros((4, 4))
    to_ijk[3, 3] = 1.0
    shape = [0, 0]
    for column, (patient_axis, direction) in enumerate(layout[:2]):
        axis = axes[patient_axis]
        step = direction * signs[patient_axis]
        to_ijk[axis, column] = step
        to_ijk[axis, 3] = 0 if step > 0 else dimensions[axis] - 1
        shape[1 - column] = dimensions[axis]
    patient_axis, direction = layout[2]
    axis = axes[patient_axis]
    if not 0 <= index < dimensions[axis]:
        raise InputError(f"'{volume.name}' has {name} slices 0 to {dimensions[axis] - 1}; there is no slice {index}.")
    to_ijk[axis, 2] = direction * signs[patient_axis]
    to_ijk[axis, 3] = index
    return Plane(name, to_ijk, volume.ijk_to_ras @ to_ijk, (shape[0], shape[1]), axis, int(index))


def slice_at(volume: Volume, name: str, point_ras: np.ndarray) -> Plane:
    """The volume's slice nearest to a world point (mm).

    :raises PromptError: the point lies outside the volume.
    """
    axis = normal_axis(volume, name)
    position, last = float(apply_affine(volume.ras_to_ijk, point_ras)[0, axis]), volume.dimensions[axis] - 1
    if not -0.5 - 1e-6 <= position <= last + 0.5 + 1e-6:
        raise PromptError(f"Point {_text(point_ras)} lies outside '{volume.name}'; no {name} slice passes through it.")
    for index in nearest_slices(position):
        if 0 <= index <= last:
            plane = slice_plane(volume, name, index)
            if within_step(plane.from_ras(point_ras)[0, 2]):
                return plane
    # on the border that a plane's step does not include
    return slice_plane(volume, name, 0 if position < 0 else last)


def nearest_slices(position: float) -> tuple[int, ...]:
    """Voxel indices nearest to a continuous one: two where it lies halfway between them, else one."""
    return tuple(sorted({math.floor(position + 0.5 - _TIE), math.floor(position + 0.5 + _TIE)}))


def within_step(w: np.ndarray) -> np.ndarray:
    """Whether heights above a plane, in its steps, are nearer to it than to its neighbors.

    Halfway counts for the neighbor along the normal, so that every height belongs to exactly one plane.
    """
    return (w >= -0.5 - _TIE) & (w < 0.5 - _TIE)


def oblique_plane(volume: Volume, slice_to_ras: np.ndarray) -> Plane:
    """The plane of a slice view, in any direction, as large as the volume's section needs.

    Pixels are square with the volume's finest spacing; the step along the normal is the distance
    between voxel layers in that direction, so that a mask one step thick leaves no hole.

    :param slice_to_ras: 4x4; columns 0 and 1 point to the right and up on the screen, column 2 is the
        normal, column 3 a world point (mm) on the plane, as in vtkMRMLSliceNode::GetSliceToRAS.
    :raises PromptError: the plane does not cut the volume.
    """
    right, up = slice_to_ras[:3, 0], slice_to_ras[:3, 1]
    column = right / np.linalg.norm(right)
    row = -(up - column * (up @ column))
    row /= np.linalg.norm(row)
    normal = np.cross(column, row)
    if normal @ slice_to_ras[:3, 2] < 0:
        normal = -normal
    pixel = min(volume.spacing)
    # A unit of w has to be one voxel layer thick: of all voxel axes the plane's normal crosses, the
    # widest step it takes between neighboring voxel centers.
    thickness = max(abs(normal @ volume.ijk_to_ras[:3, axis]) for axis in range(3))
    frame = np.eye(4)
    frame[:3, :3] = np.column_stack([column * pixel, row * pixel, normal * thickness])
    frame[:3, 3] = slice_to_ras[:3, 3]
    corners = np.array(list(product(*((-0.5, size - 0.5) for size in volume.dimensions))))
    section = _section(apply_affine(np.linalg.inv(frame) @ volume.ijk_to_ras, corners), 0.0)
    if section is None:
        raise PromptError(f"The slice through {_text(slice_to_ras[:3, 3])} does not cut '{volume.name}'.")
    low = np.floor(section.min(axis=0))
    high = np.ceil(section.max(axis=0))
    frame[:3, 3] += frame[:3, 0] * low[0] + frame[:3, 1] * low[1]
    columns, rows = (int(x) + 1 for x in high - low)
    return Plane("oblique", volume.ras_to_ijk @ frame, frame, (rows, columns))


def box_section(corners: np.ndarray, w: float) -> tuple[float, float, float, float] | None:
    """Bounding rectangle (u0, v0, u1, v1) of a convex box cut at height w; None if it is not cut.

    :param corners: (8, 3) plane coordinates of a box's corners, in the order of
        `itertools.product` over the three axes.
    """
    section = _section(corners, w)
    if section is None:
        return None
    (u0, v0), (u1, v1) = section.min(axis=0), section.max(axis=0)
    return float(u0), float(v0), float(u1), float(v1)


def _section(corners: np.ndarray, w: float) -> np.ndarray | None:
    """Points (n, 2) where the 12 edges of a box (corners in product order) cross height w."""
    points = []
    for a, b in _EDGES:
        (ua, va, wa), (ub, vb, wb) = corners[a], corners[b]
        if min(wa, wb) - _TIE <= w <= max(wa, wb) + _TIE:
            level = abs(wb - wa) < _TIE
            t = 0.0 if level else min(max((w - wa) / (wb - wa), 0.0), 1.0)
            points.append((ua + t * (ub - ua), va + t * (vb - va)))
            if level:
                points.append((ub, vb))
    return np.array(points) if points else None


_EDGES = [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit]


def _layout(name: str) -> tuple[tuple[int, int], ...]:
    if name not in _LAYOUT:
        raise InputError(f"Unknown orientation '{name}'; choose one of {', '.join(ORIENTATIONS)}.")
    return _LAYOUT[name]


def _text(point: np.ndarray) -> str:
    r, a, s = np.asarray(point, dtype=float).reshape(3)
    return f"R {r:.1f}, A {a:.1f}, S {s:.1f} mm"
