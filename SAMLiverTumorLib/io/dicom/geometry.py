"""Images of one series in order, on one regular grid: or why they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.slices.frames import Frame
from SAMLiverTumorLib.io.dicom.slices.resampling import Placement, place
from SAMLiverTumorLib.io.dicom.slices.steps import (
    ROUNDING,
    SAME_PLACE,
    even_step,
    missing_after,
    position_along,
    regular_step,
)
from SAMLiverTumorLib.io.dicom.stacks import Stack

# How far, in pixels, the stack may lean from its first slice to its last before its grid is called sheared: headers
# round cosines to six decimals, and to three at worst.
_LEAN = 0.25

_COSINE = 2e-3

# Two slices farther apart than this (mm, thicknesses) are no volume; slices so many times thinner than they are apart
# leave something out.
_MOST_APART_MM, _MOST_APART = 20.0, 3.0
_THIN = 1.5

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Arranged:
    """Images of a series and the regular grid of their volume.

    :param frames: from the first slice to the last.
    :param ijk_to_ras: the grid, 4x4, mm.
    :param dimensions: its voxels along (i, j, k).
    :param placement: where the slices lie on it; None where they are its slices.
    :param notes: for the reader.
    """

    frames: tuple[Frame, ...]
    ijk_to_ras: np.ndarray
    dimensions: tuple[int, int, int]
    placement: Placement | None
    notes: tuple[str, ...]


def arrange(stack: Stack, same_pixels: Callable[[Frame, Frame], bool], folder: str) -> Arranged:
    """Put a stack's images in order and find their grid.

    Slices that are shifted against each other (gantry tilt) or at uneven distances lie on no regular grid; they get one
    to be resampled to, along their rows, columns and normal.

    :param same_pixels: whether two images at one place have the same values; asked for duplicates alone.
    :raises InputError: no position, size or grey values; slices missing, or doubled with other content.
    """
    for frame in stack.frames:
        _check(frame)
    ordered = sorted(stack.frames, key=position_along)
    ordered, notes = _without_duplicates(ordered, same_pixels, folder)
    first = ordered[0]
    assert first.orientation is not None and first.spacing is not None, "all images have been checked"
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    across = across / np.linalg.norm(across)
    # headers round cosines: made exactly perpendicular
    down = down - across * (across @ down)
    down = down / np.linalg.norm(down)
    normal = np.cross(across, down)
    axes = np.stack([across, down, normal])
    if len(ordered) == 1:
        step, placement, low = _thickness(first), None, np.zeros(2)
        notes = (*notes, *_tilt_notes(first))
    else:
        step, placement, low, more = _placed(ordered, axes, folder)
        notes = (*notes, *more)
    if first.one_spacing:
        notes = (*notes, f"The headers name one pixel spacing, {first.spacing[0]:g} mm; pixels were taken as square.")
    scale = np.array([first.spacing[1], first.spacing[0], step])
    affine = np.eye(4)
    affine[:3, :3] = axes.T * scale
    affine[:3, 3] = first.position + axes[:2].T @ (low * scale[:2])
    dimensions = placement.dimensions if placement else (first.columns, first.rows, len(ordered))
    return Arranged(tuple(ordered), _LPS_TO_RAS @ affine, dimensions, placement, notes)


def _check(frame: Frame) -> None:
    """Refuse an image that cannot be part of a CT or MR volume.

    :raises InputError: naming it and the reason.
    """
    if frame.is_color:
        raise InputError(f"'{frame.name}' is a color image ({frame.photometric}); a grey CT or MR image is needed.")
    if frame.rows < 1 or frame.columns < 1:
        raise InputError(f"'{frame.name}' is empty: {frame.columns} x {frame.rows} pixels.")
    if frame.position is None or frame.orientation is None:
        several = f", one of {frame.frames} frames in a file," if frame.frames > 1 else ""
        said = _said(frame, "ImagePositionPatient", "ImageOrientationPatient")
        raise InputError(
            f"'{frame.name}'{several} has no position in the patient{said}; it cannot be placed in a volume. Export "
            "the series from the scanner or archive as single slices."
        )
    if frame.spacing is None or min(frame.spacing) <= 0:
        said = _said(frame, "PixelSpacing")
        raise InputError(f"'{frame.name}' has no pixel spacing in mm{said}; lesions in it cannot be measured.")
    if said := _said(frame, "RescaleSlope", "RescaleIntercept"):
        raise InputError(f"'{frame.name}' has no rescale in numbers{said}; its values mean nothing without.")
    across, down = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    odd = max(abs(np.linalg.norm(across) - 1), abs(np.linalg.norm(down) - 1), abs(across @ down))
    if odd > _COSINE:
        raise InputError(f"'{frame.name}' has an orientation {frame.orientation} whose axes are not at right angles.")


def _without_duplicates(
    ordered: list[Frame], same_pixels: Callable[[Frame, Frame], bool], folder: str
) -> tuple[list[Frame], tuple[str, ...]]:
    """Each place once, from images sorted along the normal.

    :raises InputError: images that differ at one place, or lie beside each other in one plane.
    """
    kept, dropped = [ordered[0]], []
    for frame in ordered[1:]:
        last = kept[-1]
        if position_along(frame) - position_along(last) > SAME_PLACE:
            kept.append(frame)
            continue
        apart = np.linalg.norm(np.array(frame.position) - np.array(last.position)) > 10 * SAME_PLACE
        if apart or not same_pixels(last, frame):
            if position_along(ordered[-1]) - position_along(ordered[0]) <= SAME_PLACE:
                raise InputError(
                    f"The {len(ordered)} slices of the DICOM series in '{folder}' all lie at one position; a series "
                    "of neighboring slices is needed."
                )
            raise InputError(
                f"The DICOM series in '{folder}' has two different images at one position, '{last.name}' and "
                f"'{frame.name}'; leave the one that belongs to the volume in the folder."
            )
        dropped.append(frame)
    if not dropped:
        return kept, ()
    told = f"{len(dropped)} image{'s' if len(dropped) > 1 else ''} held twice, '{dropped[0].name}' for one"
    return kept, (f"{told}: read once.",)


def _placed(
    ordered: Sequence[Frame], axes: np.ndarray, folder: str
) -> tuple[float, Placement | None, np.ndarray, tuple[str, ...]]:
    """(step of the grid in mm; where slices lie on it, None for on it; its corner in pixels of the first slice; notes).

    :param axes: (3, 3), rows: directions (LPS) of columns, rows and slices.
    :raises InputError: slices missing.
    """
    first = ordered[0]
    assert first.spacing is not None, "all images have been checked"
    moved = np.array([frame.position for frame in ordered]) @ axes.T
    moved -= moved[0]
    heights = moved[:, 2]
    aside = moved[:, :2] / (first.spacing[1], first.spacing[0])
    step = regular_step(heights, (first.between, first.thickness))
    lean = np.linalg.norm(moved[:, :2], axis=1).max()
    sheared = lean > max(_LEAN * min(first.spacing), ROUNDING)
    sparse = _sparse(ordered, float(np.diff(heights).max()), folder)
    if step is not None and not sheared:
        return step, None, np.zeros(2), (*sparse, *_tilt_notes(first))
    if step is None:
        gap = missing_after(heights, [frame.instance_number for frame in ordered])
        steps = np.diff(heights)
        usual = float(np.median(steps))
        if gap is not None:
            raise InputError(
                f"The DICOM series in '{folder}' has slices missing: the step is {usual:.2f} mm, but {steps[gap]:.2f} "
                f"mm between '{ordered[gap].name}' and '{ordered[gap + 1].name}'; copy the series again, or leave only "
                "the slices on one side of the gap in the folder."
            )
    notes = list(sparse)
    if sheared:
        if not np.allclose(aside, aside[-1:] * (heights / heights[-1])[:, None], atol=_LEAN):
            notes.append("Slices are shifted unevenly against each other, more than a tilt of the gantry does.")
        degrees = np.degrees(np.arctan2(lean, heights[-1]))
        notes.append(
            f"The slices are shifted against each other as by a gantry tilt of {degrees:.1f} degrees: each was moved "
            "to its place by linear interpolation, onto a straight grid."
        )
    if step is None:
        step = even_step(heights)
        notes.append(
            f"The slices lie at uneven distances, {steps.min():.2f} to {steps.max():.2f} mm: resampled to one every "
            f"{step:.2f} mm by linear interpolation."
        )
    placement, low = place(aside if sheared else np.zeros_like(aside), heights, step, (first.columns, first.rows))
    return step, placement, low, tuple(notes)


def _sparse(ordered: Sequence[Frame], step: float, folder: str) -> tuple[str, ...]:
    """Said where slices are much thinner than they are apart: a lesion between them is not seen.

    :raises InputError: they are so far apart that they are no volume.
    """
    thickness = max((frame.thickness or 0.0 for frame in ordered), default=0.0)
    if step > max(_MOST_APART_MM, _MOST_APART * thickness) and len(ordered) == 2:
        raise InputError(
            f"The DICOM series in '{folder}' has slices missing: '{ordered[0].name}' and '{ordered[1].name}' are all "
            f"of it, {step:.2f} mm apart; copy the series again."
        )
    if 0 < _THIN * thickness < step:
        return (f"Slices are {thickness:g} mm thick, but up to {step:.2f} mm apart: what lies between is not seen.",)
    return ()


def _said(frame: Frame, *keywords: str) -> str:
    """What the header says in place of numbers, for the reader."""
    found = [f"{keyword} '{frame.unreadable[keyword][:40]}'" for keyword in keywords if keyword in frame.unreadable]
    return f" (its header says {', '.join(found)})" if found else ""


def _thickness(frame: Frame) -> float:
    """What one slice alone is taken as thick as, in mm.

    :raises InputError: the header does not say.
    """
    if not frame.thickness or frame.thickness < 0:
        raise InputError(
            f"'{frame.name}' is one slice alone and names no slice thickness; name the folder of its whole series."
        )
    return frame.thickness


def _tilt_notes(first: Frame) -> tuple[str, ...]:
    """Said where the header names a tilt of the gantry and axial images that show nothing of it."""
    axial = first.orientation is not None and max(abs(first.orientation[2]), abs(first.orientation[5])) < _COSINE
    if abs(first.tilt) < 0.5 or not axial:
        return ()
    return (f"The header names a gantry tilt of {first.tilt:g} degrees, but images and positions are straight.",)
