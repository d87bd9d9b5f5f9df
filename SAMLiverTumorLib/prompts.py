"""`Prompts`: the user's points and box in world RAS, and the part of them that lies on one plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.plane import Plane, box_section, nearest_slices, normal_axis, slice_plane, within_step
from SAMLiverTumorLib.volume import Volume, apply_affine

# A click up to this far outside the volume is a slip of the hand and is moved to the border; farther out it is refused.
_SLIP_MM = 5.0

# A point nearer to the volume's border than this (mm or voxels) counts as on it.
_BORDER = 1e-4

_Edges = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Box:
    """A box in the patient, straight or rotated, as a markups ROI is.

    :param center: (3,) world RAS in mm.
    :param axes: (3, 3), columns are the box's unit axes in world RAS.
    :param size: (3,) full edge lengths in mm; 0 along an axis makes a flat box.
    """

    center: np.ndarray
    axes: np.ndarray
    size: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in (("center", (3,)), ("axes", (3, 3)), ("size", (3,))):
            value = np.array(getattr(self, name), dtype=float)
            if value.shape != shape or not np.isfinite(value).all():
                raise PromptError(f"The box's {name} is not {shape} finite numbers.")
            object.__setattr__(self, name, value)
        if (self.size < 0).any() or np.count_nonzero(self.size) < 2:
            size = " x ".join(f"{s:.1f}" for s in self.size)
            raise PromptError(f"The box measures {size} mm; it has to span at least two directions.")

    @classmethod
    def from_corners(cls, corner_ras: Sequence[float] | np.ndarray, opposite_ras: Sequence[float] | np.ndarray) -> Box:
        """A straight box between two opposite corners, world RAS in mm."""
        a, b = np.asarray(corner_ras, float), np.asarray(opposite_ras, float)
        return cls((a + b) / 2, np.eye(3), np.abs(b - a))

    @property
    def corners(self) -> np.ndarray:
        """The 8 corners (8, 3) in world RAS, in the order of `itertools.product` over the axes."""
        signs = np.array(list(product((-0.5, 0.5), repeat=3)))
        return self.center + (signs * self.size) @ self.axes.T

    def contains(self, points_ras: np.ndarray) -> np.ndarray:
        """Which of the points (n, 3) lie in the box, borders included; bool (n,)."""
        local = (np.asarray(points_ras, float).reshape(-1, 3) - self.center) @ self.axes
        return (np.abs(local) <= self.size / 2 + 1e-6).all(axis=1)


@dataclass(frozen=True, eq=False)
class Prompts:
    """Include and exclude points and at most one box, in world RAS (mm).

    >>> prompts = Prompts(include=[[10, -20, 35]], box=Box.from_corners([0, -30, 20], [25, 0, 50]))
    >>> sorted(prompts.kinds)
    ['box', 'points']
    """

    include: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    exclude: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    box: Box | None = None

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            points = np.array(getattr(self, name), dtype=float).reshape(-1, 3)
            if not np.isfinite(points).all():
                raise PromptError(f"An {name} point has a coordinate that is not a number.")
            object.__setattr__(self, name, points)

    @property
    def kinds(self) -> frozenset[str]:
        """Which of "points" and "box" are given."""
        points = {"points"} if len(self.include) + len(self.exclude) else set()
        return frozenset(points | ({"box"} if self.box is not None else set()))

    def as_dict(self) -> dict:
        """Plain numbers in world RAS (mm), rounded to a micrometer, for provenance and reports."""
        result: dict = {"include": _rounded(self.include), "exclude": _rounded(self.exclude)}
        if self.box is not None:
            result["box"] = {
                "center": _rounded(self.box.center),
                "axes": _rounded(self.box.axes.T),
                "size": _rounded(self.box.size),
            }
        return result


@dataclass(frozen=True, eq=False)
class PlanePrompts:
    """The prompts on one plane, in its pixels.

    :param points: (n, 2) as (u, v): column, row; integers are pixel centers.
    :param labels: (n,) 1 for include, 0 for exclude.
    :param box: (u0, v0, u1, v1) edges in the same coordinates, or None: a box around exactly pixels
        10 to 20 has edges 9.5 and 20.5.
    :param mask: low-resolution logits (1, m, m) of an earlier prediction on the same plane, or None.
    """

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", np.array(self.points, float).reshape(-1, 2))
        object.__setattr__(self, "labels", np.array(self.labels, int).reshape(-1))

    @property
    def kinds(self) -> frozenset[str]:
        """Which of "points", "box" and "mask" are given."""
        given = {"points": len(self.points) > 0, "box": self.box is not None, "mask": self.mask is not None}
        return frozenset(kind for kind, present in given.items() if present)

    @property
    def says_where(self) -> bool:
        """Whether the prompts name a structure, which exclude points alone do not."""
        return self.box is not None or self.mask is not None or bool((self.labels == 1).any())


def fit_to_volume(prompts: Prompts, volume: Volume) -> tuple[Prompts, tuple[str, ...]]:
    """Move points that lie slightly outside the volume back inside.

    :return: the prompts and one note for each change. The box itself stays as it is; its sections
        are clipped to the plane.
    :raises PromptError: no prompts at all, a point more than 5 mm outside the volume, or a box that
        does not overlap it.
    """
    if not prompts.kinds:
        raise PromptError("There are no prompts; place at least one include point or a box.")
    notes: list[str] = []
    moved = {}
    upper = np.array(volume.dimensions) - 1
    for kind in ("include", "exclude"):
        points = getattr(prompts, kind).copy()
        for n, point in enumerate(points):
            ijk = apply_affine(volume.ras_to_ijk, point)[0]
            # the outermost voxels reach half a voxel beyond their centers
            if ((ijk > -0.5 + _BORDER) & (ijk < upper + 0.5 - _BORDER)).all():
                continue
            border = apply_affine(volume.ijk_to_ras, np.clip(ijk, -0.5, upper + 0.5))[0]
            distance = float(np.linalg.norm(border - point))
            points[n] = apply_affine(volume.ijk_to_ras, np.clip(ijk, 0, upper))[0]
            if distance < _BORDER:
                continue  # on the border itself, where no slice is nearest
            where = f"{kind.capitalize()} point {n + 1} at R {point[0]:.1f}, A {point[1]:.1f}, S {point[2]:.1f} mm"
            if distance > _SLIP_MM:
                raise PromptError(f"{where} lies {distance:.0f} mm outside '{volume.name}'; move or delete it.")
            notes.append(f"{where} was {distance:.1f} mm outside the volume and was moved to its border.")
        moved[kind] = points
    if prompts.box is not None:
        corners = apply_affine(volume.ras_to_ijk, prompts.box.corners)
        if (corners.max(axis=0) < -0.5).any() or (corners.min(axis=0) > upper + 0.5).any():
            raise PromptError(f"The box lies outside '{volume.name}'; move it onto the tumor.")
        if (corners.min(axis=0) < -1.0).any() or (corners.max(axis=0) > upper + 1.0).any():
            notes.append("The box reaches beyond the volume and was clipped to it.")
    return replace(prompts, **moved), tuple(notes)


def on_plane(prompts: Prompts, plane: Plane) -> PlanePrompts:
    """The part of the prompts that lies on a plane: points within half a step of it, the box's section.

    A flat box, or one thinner than a step, counts when it lies within half a step of the plane. What lies
    halfway between two slices belongs to the superior, anterior or right one, however the volume is stored.
    """
    points, labels = [], []
    for kind, label in (("include", 1), ("exclude", 0)):
        uvw = plane.from_ras(getattr(prompts, kind))
        here = within_step(uvw[:, 2])
        points.append(uvw[here, :2])
        labels.append(np.full(int(here.sum()), label))
    return PlanePrompts(
        np.concatenate(points), np.concatenate(labels), _clip(_box_on_plane(prompts, plane), plane.shape)
    )


def prompts_by_slice(prompts: Prompts, volume: Volume, orientation: str) -> dict[int, PlanePrompts]:
    """The prompts on each slice that they name a structure on, by voxel index along the normal.

    :raises PromptError: there are only exclude points, or exclude points lie on slices where nothing
        is included.
    """
    axis = normal_axis(volume, orientation)
    indices: set[int] = set()
    for points in (prompts.include, prompts.exclude):
        ijk = apply_affine(volume.ras_to_ijk, points)
        indices.update(index for position in ijk[:, axis] for index in nearest_slices(float(position)))
    if prompts.box is not None:
        reach = apply_affine(volume.ras_to_ijk, prompts.box.corners)[:, axis]
        first, last = int(np.ceil(reach.min() - 1e-6)), int(np.floor(reach.max() + 1e-6))
        crossed = range(max(first, 0), min(last, volume.dimensions[axis] - 1) + 1)
        # a box between two slice centers means the slice it is nearest to
        indices.update(crossed or nearest_slices(float(reach.mean())))
    found = {}
    for index in sorted(indices):
        if 0 <= index < volume.dimensions[axis]:
            seen = on_plane(prompts, slice_plane(volume, orientation, index))
            if not seen.says_where and seen.kinds:
                raise PromptError(
                    f"On {orientation} slice {index} there are exclude points only; "
                    "add an include point or a box there, or delete them."
                )
            if seen.says_where:
                found[index] = seen
    if not found:
        flat = prompts.box is not None and (prompts.box.size == 0).any()
        remedy = ", or choose the orientation that the flat box was drawn in" if flat else ""
        raise PromptError(
            f"No {orientation} slice of '{volume.name}' has a prompt on it; move the prompts onto the volume{remedy}."
        )
    return found


def _box_on_plane(prompts: Prompts, plane: Plane) -> _Edges | None:
    if prompts.box is None:
        return None
    corners = plane.from_ras(prompts.box.corners)
    w = corners[:, 2]
    if w.max() - w.min() < 1.0 - 1e-6:
        # thinner than a slice: its whole outline, on the slice it is nearest to
        if not within_step(w.mean()):
            return None
        return (*corners[:, :2].min(axis=0).tolist(), *corners[:, :2].max(axis=0).tolist())
    return box_section(corners, 0.0)


def _clip(box: _Edges | None, shape: tuple[int, int]) -> _Edges | None:
    """Clip a box to the plane's pixels; None where nothing, or only an edge, is left."""
    if box is None:
        return None
    rows, columns = shape
    u0, u1 = np.clip((box[0], box[2]), -0.5, columns - 0.5)
    v0, v1 = np.clip((box[1], box[3]), -0.5, rows - 0.5)
    if u1 - u0 < 1e-6 or v1 - v0 < 1e-6:
        return None
    return float(u0), float(v0), float(u1), float(v1)


def _rounded(values: np.ndarray) -> list:
    return np.round(np.asarray(values, float), 3).tolist()
