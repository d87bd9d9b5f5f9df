"""Where the frames of a DICOM segmentation lie, and the one regular grid that they are slices of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.slices.steps import ROUNDING, SAME_PLACE, even_step

if TYPE_CHECKING:
    import pydicom

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Headers of scanners round positions: this share of a slice's distance counts as the same place.
_TOLERANCE = 0.05

# No more of a slice's distance than this is rounding.
_MOST_ROUNDED = 0.2

# Of direction cosines, and of spacings in mm: rounding.
_SAME = 1e-3

MOST_VOXELS = 1 << 29
"""Of one grid; damaged headers claim more."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of a DICOM object, in the order they are stored in.

    :param positions: (n, 3), centers of the first pixels, in mm, LPS.
    :param orientation: row direction, then column direction, as DICOM has them; unit vectors, LPS.
    :param spacing: between rows, then between columns, in mm.
    :param size: rows, columns.
    :param step: distance between slices (mm) as the header says it; 0 where it does not.
    :param thickness: of a slice (mm), which may overlap others or leave gaps; 0 where the header does not say.
    :param uneven: each frame says its own thickness, and they differ: all slices are there, at uneven distances.
    """

    positions: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    size: tuple[int, int]
    step: float
    thickness: float
    uneven: bool = False


@dataclass(frozen=True, eq=False)
class FrameGrid:
    """The grid of frames.

    :param ijk_to_ras: 4x4 affine from voxel indices (column, row, slice) to world RAS, mm.
    :param dimensions: voxels along (i, j, k).
    :param slices: which slice each frame is: index k where `taken` is None.
    :param taken: for each k the slice nearest to it, of slices at uneven distances.
    """

    ijk_to_ras: np.ndarray
    dimensions: tuple[int, int, int]
    slices: np.ndarray
    taken: np.ndarray | None = None

    @property
    def count(self) -> int:
        """How many slices there are."""
        return self.dimensions[2] if self.taken is None else int(self.slices.max()) + 1


def frames_of(data: pydicom.Dataset, name: str) -> Frames:
    """Where the frames of a segmentation lie.

    :param name: what messages call it.
    :raises InputError: a frame has no place in the patient, or frames are turned against each other.
    """
    shared = (data.get("SharedFunctionalGroupsSequence") or [{}])[0]
    own = data.get("PerFrameFunctionalGroupsSequence") or []
    if len(own) != int(data.NumberOfFrames):
        raise InputError(f"'{name}' does not say where its frames lie in the patient; it cannot be placed in a volume.")

    def find(group: pydicom.Dataset, macro: str, attribute: str) -> Any:
        for holder in (group, shared):
            items = holder.get(macro)
            if items and attribute in items[0]:
                return items[0].get(attribute)
        raise InputError(f"'{name}' has no {attribute}; it cannot be placed in a volume.")

    positions = [find(group, "PlanePositionSequence", "ImagePositionPatient") for group in own]
    orientations = [find(group, "PlaneOrientationSequence", "ImageOrientationPatient") for group in own]
    measures = [find(group, "PixelMeasuresSequence", "PixelSpacing") for group in own]
    steps = []
    for attribute in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            steps.append(float(find(own[0], "PixelMeasuresSequence", attribute) or 0))
        except InputError:
            steps.append(0.0)
    step, thickness = steps
    frames = _frames(positions, orientations, measures, data, step, thickness, name)
    own_thickness = [items[0].get("SliceThickness") for group in own if (items := group.get("PixelMeasuresSequence"))]
    if len(own_thickness) == len(own) and None not in own_thickness:
        return replace(frames, uneven=bool(np.ptp(np.array(own_thickness, float)) > _SAME))
    return frames


def grid_of_frames(frames: Frames, name: str) -> FrameGrid:
    """The regular grid that frames are slices of; frames may be missing, stored in any order, and share a slice.

    :raises InputError: they are slices of no regular grid, or of an impossibly large one.
    """
    row, column = frames.orientation[:3], frames.orientation[3:]
    normal = np.cross(row, column)
    along = frames.positions @ normal
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    if frames.uneven:
        return _uneven_grid(frames, along, order, name)
    gaps = gaps[gaps > SAME_PLACE]
    step = _slice_step(gaps, frames, name)
    slices = np.rint((along - along[order[0]]) / step).astype(np.int64)
    last = order[-1]
    vector = step * normal
    if slices[last]:
        # measured over the whole stack, so that its rounding does not add up; oblique to the slices where these
        # are shifted against each other (gantry tilt)
        vector = (frames.positions[last] - frames.positions[order[0]]) / slices[last]
    off = frames.positions - frames.positions[order[0]] - slices[:, None] * vector
    if np.linalg.norm(off, axis=1).max() > max(_TOLERANCE * step, 2 * ROUNDING):
        raise InputError(
            f"The slices of '{name}' are at uneven distances or shifted against each other; no volume can hold them."
        )
    rows, columns = frames.size
    dimensions = (columns, rows, int(slices.max()) + 1)
    return FrameGrid(_affine(frames, vector, frames.positions[order[0]]), _checked(dimensions, name), slices)


def _uneven_grid(frames: Frames, along: np.ndarray, order: np.ndarray, name: str) -> FrameGrid:
    """The regular grid that slices at uneven distances are resampled to, as the CT's are; each k is the nearest one's.

    :param along, order: positions of frames along the normal, mm, and their order.
    """
    heights = along[order][np.append(True, np.diff(along[order]) > SAME_PLACE)]
    if len(heights) < 2:
        raise InputError(f"The slices of '{name}' all lie at one place; no volume can hold them.")
    slices = np.abs(along[:, None] - heights).argmin(axis=1)
    step = even_step(heights)
    count = int(np.ceil((heights[-1] - heights[0]) / step - 1e-3)) + 1
    rows, columns = frames.size
    dimensions = _checked((columns, rows, count), name)
    taken = np.abs(heights[0] + np.arange(count)[:, None] * step - heights).argmin(axis=1)
    first, last = frames.positions[order[0]], frames.positions[order[-1]]
    vector = (last - first) / (heights[-1] - heights[0]) * step
    return FrameGrid(_affine(frames, vector, first), dimensions, slices, taken)


def _checked(dimensions: tuple[int, int, int], name: str) -> tuple[int, int, int]:
    if np.prod(dimensions, dtype=float) > MOST_VOXELS:
        raise InputError(f"'{name}' claims {' x '.join(map(str, dimensions))} voxels; its header is damaged.")
    return dimensions


def _affine(frames: Frames, vector: np.ndarray, origin: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 0] = frames.orientation[:3] * frames.spacing[1]
    affine[:3, 1] = frames.orientation[3:] * frames.spacing[0]
    affine[:3, 2] = vector
    affine[:3, 3] = origin
    return _LPS_TO_RAS @ affine


def _slice_step(gaps: np.ndarray, frames: Frames, name: str) -> float:
    """Distance between slices (mm): the header's where the gaps are multiples of it, else the smallest gap."""
    if not len(gaps):
        step = frames.step or frames.thickness
        if step <= 0:
            raise InputError(f"'{name}' has one slice of unknown thickness; its voxels have no volume.")
        return step
    smallest = float(gaps.min())
    for step in (frames.step, smallest):
        tolerance = min(max(_TOLERANCE, 2 * ROUNDING / step), _MOST_ROUNDED) if step > 0 else 0.0
        if 0 < step < 2 * smallest and np.abs(gaps / step - np.rint(gaps / step)).max() <= tolerance:
            # the header rounds it
            return float(gaps.sum() / np.rint(gaps / step).sum())
    raise InputError(f"The slices of '{name}' are at uneven distances; no volume can hold them.")


def _frames(positions, orientations, measures, data: pydicom.Dataset, step, thickness, name: str) -> Frames:
    positions, orientations = np.array(positions, float), np.array(orientations, float)
    measures = np.array(measures, float)
    if positions.shape[1:] != (3,) or orientations.shape[1:] != (6,) or measures.shape[1:] != (2,):
        raise InputError(f"'{name}' has an unusable spacing, position or orientation; its header is damaged.")
    if np.ptp(orientations, axis=0).max() > _SAME or np.ptp(measures, axis=0).max() > _SAME:
        raise InputError(f"The slices of '{name}' have different orientations or spacings; they are no one volume.")
    orientation, spacing = orientations[0], measures[0]
    step, thickness = float(step), float(thickness)
    numbers = np.concatenate([positions.ravel(), spacing, (step, thickness)])
    if not np.isfinite(numbers).all() or not (spacing > 0).all():
        raise InputError(f"'{name}' has an unusable spacing, position or orientation; its header is damaged.")
    row, column = orientation[:3], orientation[3:]
    if not np.allclose((row @ row, column @ column, row @ column), (1, 1, 0), rtol=0, atol=0.01):
        raise InputError(f"'{name}' has rows and columns that are not at right angles; its header is damaged.")
    size = int(data.Rows), int(data.Columns)
    return Frames(positions, orientation, tuple(spacing.tolist()), size, max(step, 0.0), max(thickness, 0.0))
