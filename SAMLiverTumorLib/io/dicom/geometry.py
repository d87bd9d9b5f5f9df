"""Images of one series in order, on one regular grid: or why they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import Frame
from SAMLiverTumorLib.io.dicom.stacks import Stack, position_along

# Slices whose distance differs by more than this share of the usual one are missing or doubled; nor may a slice lie
# farther than this from its place on the grid. Headers round positions to 0.001 to 0.01 mm.
_SLICE_TOLERANCE = 0.05
_SAME_PLACE = 0.01

# How far, in pixels, the stack may lean from its first slice to its last before its grid is called sheared: headers
# round cosines to six decimals, and to three at worst.
_LEAN = 0.25

_COSINE = 2e-3

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Arranged:
    """The images from the first slice to the last, their grid (4x4, ijk to RAS, mm), and notes for the reader."""

    frames: tuple[Frame, ...]
    ijk_to_ras: np.ndarray
    notes: tuple[str, ...]


def arrange(stack: Stack, same_pixels: Callable[[Frame, Frame], bool], folder: str) -> Arranged:
    """Put a stack's images in order and find their grid.

    :param same_pixels: whether two images at one place have the same values; asked for duplicates alone.
    :raises InputError: no position, size or grey values; slices missing, doubled with other content, at uneven
        distances, or shifted against each other (gantry tilt).
    """
    for frame in stack.frames:
        _check(frame)
    ordered = sorted(stack.frames, key=position_along)
    ordered, notes = _without_duplicates(ordered, same_pixels, folder)
    first = ordered[0]
    assert first.orientation is not None, "all images have been checked"
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    across = across / np.linalg.norm(across)
    # headers round cosines: made exactly perpendicular
    down = down - across * (across @ down)
    down = down / np.linalg.norm(down)
    normal = np.cross(across, down)
    step = _thickness(first) if len(ordered) == 1 else _step(ordered, normal, folder)
    affine = np.eye(4)
    affine[:3, 0] = across * _spacing(first)[1]
    affine[:3, 1] = down * _spacing(first)[0]
    affine[:3, 2] = normal * step
    affine[:3, 3] = first.position
    return Arranged(tuple(ordered), _LPS_TO_RAS @ affine, (*notes, *_tilt_notes(first)))


def _check(frame: Frame) -> None:
    """Refuse an image that cannot be part of a CT or MR volume.

    :raises InputError: naming it and the reason.
    """
    if frame.samples > 1 or "PALETTE" in frame.photometric:
        raise InputError(f"'{frame.name}' is a color image ({frame.photometric}); a grey CT or MR image is needed.")
    if frame.rows < 1 or frame.columns < 1:
        raise InputError(f"'{frame.name}' is empty: {frame.columns} x {frame.rows} pixels.")
    if frame.position is None or frame.orientation is None:
        several = f", one of {frame.frames} frames in a file," if frame.frames > 1 else ""
        raise InputError(f"'{frame.name}'{several} has no position in the patient; it cannot be placed in a volume.")
    if frame.spacing is None or min(frame.spacing) <= 0:
        raise InputError(f"'{frame.name}' has no pixel spacing in mm; lesions in it cannot be measured.")
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
        if position_along(frame) - position_along(last) > _SAME_PLACE:
            kept.append(frame)
            continue
        apart = np.linalg.norm(np.subtract(_position(frame), _position(last))) > 10 * _SAME_PLACE
        if apart or not same_pixels(last, frame):
            if position_along(ordered[-1]) - position_along(ordered[0]) <= _SAME_PLACE:
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


def _step(ordered: Sequence[Frame], normal: np.ndarray, folder: str) -> float:
    """Distance between slices in mm, the same throughout.

    :raises InputError: naming the slices between which it is another one, or the shear.
    """
    positions = np.array([_position(frame) for frame in ordered])
    moved = positions - positions[0]
    along = moved @ normal
    steps = np.diff(along)
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > max(usual * _SLICE_TOLERANCE, _SAME_PLACE))
    if len(odd):
        raise InputError(
            f"The DICOM series in '{folder}' has slices missing or at uneven distances: the step is {usual:.2f} mm, "
            f"but {steps[odd[0]]:.2f} mm between '{ordered[odd[0]].name}' and '{ordered[odd[0] + 1].name}'; copy the "
            "series again, or export it with one slice distance."
        )
    step = float(along[-1] / (len(ordered) - 1))
    grid = np.arange(len(ordered)) * step
    off = np.abs(along - grid)
    if off.max() > max(step * _SLICE_TOLERANCE, 2 * _SAME_PLACE):
        worst = int(off.argmax())
        raise InputError(
            f"The DICOM series in '{folder}' has slices at uneven distances: '{ordered[worst].name}' lies "
            f"{off[worst]:.2f} mm beside its place on a regular grid; export it with one slice distance."
        )
    lean = np.linalg.norm(moved - along[:, None] * normal, axis=1)
    if lean.max() > _LEAN * min(_spacing(ordered[0])):
        sideways = np.linalg.norm(np.diff(moved - along[:, None] * normal, axis=0), axis=1).max()
        raise InputError(
            f"The DICOM series in '{folder}' is sheared by {sideways:.2f} mm per slice (gantry tilt); "
            "load it in Slicer, harden the transform it makes, and save the volume as NRRD."
        )
    return step


def _position(frame: Frame) -> tuple[float, float, float]:
    assert frame.position is not None, "all images have been checked"
    return frame.position


def _spacing(frame: Frame) -> tuple[float, float]:
    assert frame.spacing is not None, "all images have been checked"
    return frame.spacing


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
