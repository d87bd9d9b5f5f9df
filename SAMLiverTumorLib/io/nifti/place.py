"""Where the voxels of a NIfTI file lie: sform, qform, pixdim and unit, which may contradict each other.

Each is a different program's favorite: nibabel takes the sform whole, ITK and so Slicer its directions with the spacing
of pixdim. Where both agree nothing is said. Where one of them was plainly lost, as 1 x 1 x 1 mm is, the other is
taken and a note says so; where either can be true the file is refused, since volumes in ml would be a guess.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.nifti.header import NiftiHeader

# Spacings that differ by less are one number that was rounded.
_ROUNDING = 5e-3

# Of the axes' directions; more is shear.
_SQUARE = 1e-3

# Of a CT; numbers outside are of another unit.
_THINNEST_MM, _THICKEST_MM = 0.02, 50.0

_UNITS = {1: ("meters", 1000.0), 3: ("microns", 0.001)}


def place_of(header: NiftiHeader, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine of a file, and what there is to say about it.

    :return: (4x4 affine from voxel indices (i, j, k) to world RAS in mm, notes for the reader).
    :raises InputError: no usable spacing or position; sheared axes; two spacings that can both be true.
    """
    notes: list[str] = []
    given = (header.sform_code > 0, header.sform), (header.qform_code > 0, (*header.quaternion, *header.shift))
    if any(used and not np.isfinite(values).all() for used, values in given):
        raise InputError(f"'{path}' has no usable position in its header; correct it, or save the file anew.")
    spacing = np.abs(header.pixdim)
    known = bool(np.isfinite(spacing).all() and (spacing > 0).all())
    qform = _qform(header, spacing) if known and header.qform_code > 0 else None
    sform = _sform(header)
    if sform is not None and _sheared(sform):
        if qform is None:
            raise InputError(
                f"'{path}' has axes that are not at right angles (gantry tilt); resample it to a straight grid first."
            )
        notes.append(f"The sform of '{path.name}' has axes that are not at right angles; its qform is taken.")
        sform = None
    elif sform is None and header.sform_code > 0 and qform is not None:
        notes.append(f"The sform of '{path.name}' says nothing; its qform is taken.")
    if sform is not None:
        affine = _with_spacing(sform, header, known, path, notes)
        if qform is not None:
            notes += _apart(affine, qform, header, path)
    elif qform is not None:
        affine = qform
    else:
        affine = _without_place(header, spacing, known, path, notes)
    if known and min(header.pixdim) < 0 and sform is None:
        notes.append(f"'{path.name}' has a negative spacing in its header; its size is taken, as nibabel does.")
    return _in_mm(affine, header.unit, path, notes), tuple(notes)


def _sform(header: NiftiHeader) -> np.ndarray | None:
    """The sform as 4x4, None where there is none or it spans no space."""
    if header.sform_code <= 0:
        return None
    steps = np.linalg.norm(header.sform[:, :3], axis=0)
    if steps.min() <= 0 or abs(np.linalg.det(header.sform[:, :3] / steps)) < 1e-3:
        return None
    return np.vstack([header.sform, (0, 0, 0, 1)])


def _qform(header: NiftiHeader, spacing: np.ndarray) -> np.ndarray:
    """The qform as 4x4."""
    b, c, d = header.quaternion
    length = b * b + c * c + d * d
    if length > 1:  # by rounding: half a turn
        b, c, d = np.array((b, c, d)) / np.sqrt(length)
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing * (1, 1, header.qfac)
    affine[:3, 3] = header.shift
    return affine


def _sheared(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SQUARE)


def _with_spacing(sform: np.ndarray, header: NiftiHeader, known: bool, path: Path, notes: list[str]) -> np.ndarray:
    """The sform, with the spacing of pixdim where its own was lost."""
    own, other = np.linalg.norm(sform[:3, :3], axis=0), np.abs(header.pixdim)
    if not known:
        notes.append(f"'{path.name}' has no spacing in its pixdim; that of its sform is taken, {_mm(own)}.")
        return sform
    if (np.abs(own - other) <= _ROUNDING * np.maximum(own, other)).all():
        return sform
    if (other == 1).all():
        notes.append(
            f"'{path.name}' contradicts itself: its spacing is {_mm(own)} by its sform and {_mm(other)} by its pixdim, "
            "which programs write where they know none. Taken is the sform's, as nibabel does; Slicer takes the other, "
            "and shows other mm and ml."
        )
        return sform
    if np.allclose(own, 1, atol=1e-6):
        notes.append(
            f"'{path.name}' contradicts itself: its spacing is {_mm(own)} by its sform, whose directions were not "
            f"scaled, and {_mm(other)} by its pixdim. Taken is the pixdim's, as Slicer does; nibabel takes the other."
        )
        scaled = sform.copy()
        scaled[:3, :3] *= other
        return scaled
    raise InputError(
        f"'{path}' contradicts itself: its spacing is {_mm(own)} by its sform (nibabel takes that) and {_mm(other)} by "
        "its pixdim (Slicer takes that), and volumes in ml depend on it. Find out which is true; then load it in "
        "Slicer, correct the spacing in the Volumes module and save it as .nrrd."
    )


def _apart(affine: np.ndarray, qform: np.ndarray, header: NiftiHeader, path: Path) -> list[str]:
    """A note where the qform puts voxels elsewhere than what was taken."""
    # the qform has no spacing of its own, and that of pixdim was judged
    turned = qform.copy()
    turned[:3, :3] *= np.linalg.norm(affine[:3, :3], axis=0) / np.linalg.norm(qform[:3, :3], axis=0)
    corners = np.array([(*corner, 1.0) for corner in product(*((0, n - 1) for n in header.sizes[:3]))])
    apart = np.linalg.norm(((affine - turned) @ corners.T)[:3], axis=0).max()
    if apart <= np.linalg.norm(affine[:3, :3], axis=0).min() / 2:
        return []
    return [
        f"'{path.name}' contradicts itself: its sform and its qform lie up to {apart:.3g} mm apart. Taken is the "
        "sform, as Slicer and nibabel do."
    ]


def _without_place(header: NiftiHeader, spacing: np.ndarray, known: bool, path: Path, notes: list[str]) -> np.ndarray:
    for axis, step in zip("ijk", header.pixdim, strict=True):
        if not np.isfinite(step) or step == 0:
            raise InputError(f"'{path}' has a spacing of {step:g} mm along {axis}; correct its header.")
    kind = "an Analyze file, which does not say" if header.is_analyze else "a file that does not say"
    notes.append(
        f"'{path.name}' is {kind} where in the patient it lies, and which way round. As in Slicer it is taken to lie "
        "at the origin, with rows to the left, columns to the back and slices to the head: check left and right."
    )
    return np.diag((-spacing[0], -spacing[1], spacing[2], 1.0))


def _in_mm(affine: np.ndarray, unit: int, path: Path, notes: list[str]) -> np.ndarray:
    """The affine in millimeters, by the header's unit unless its numbers cannot be of that."""
    if unit not in _UNITS:
        return affine
    name, factor = _UNITS[unit]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if _possible(spacing) and not _possible(spacing * factor):
        notes.append(f"The header of '{path.name}' says {name}, but {_mm(spacing)} can only be true: taken as that.")
        return affine
    scaled = affine.copy()
    scaled[:3] *= factor
    notes.append(f"The header of '{path.name}' is in {name}: its spacing is {_mm(spacing * factor)}.")
    return scaled


def _possible(spacing: np.ndarray) -> bool:
    return bool(((spacing >= _THINNEST_MM) & (spacing <= _THICKEST_MM)).all())


def _mm(spacing: np.ndarray) -> str:
    return " x ".join(f"{step:.4g}" for step in spacing) + " mm"
