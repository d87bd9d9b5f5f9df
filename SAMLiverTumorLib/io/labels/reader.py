"""Label maps from files: NIfTI, NRRD, MetaImage, Slicer's segmentations (.seg.nrrd), and DICOM SEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.dicom.seg_reader import read_dicom_seg
from SAMLiverTumorLib.io.formats.content import METAIMAGE, NIFTI, NRRD
from SAMLiverTumorLib.io.formats.raw_image import RawImage, read_raw
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.label_values import label_values
from SAMLiverTumorLib.io.labels.slicer_segments import has_segments, slicer_segments
from SAMLiverTumorLib.volume import Volume

__all__ = ["LabelFile", "read_labels"]

# Labels that were saved with the scaled header of a CT come back as 1.00001526.
_WHOLE = 1e-3


def read_labels(path: str | Path, series: str | int | None = None) -> LabelFile:
    """Read a label map, a Slicer segmentation or a DICOM SEG.

    In a label map every nonzero value is a segment, named by its number. In a Slicer segmentation and a
    DICOM SEG segments have their own names (a second one of the same name gets " (2)") and may overlap.

    :param path: a NIfTI, NRRD (.seg.nrrd among them) or MetaImage file, known by its content; a DICOM SEG file, or a
        folder with one.
    :param series: which DICOM SEG of a folder with several, by series number or UID; files have no choice.
    :raises InputError: missing, truncated or unreadable file; not three-dimensional; a color or vector
        image; values that are not integers; an image instead of a label map.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist; check the path.")
    if path.is_dir() or is_dicom(path):
        return read_dicom_seg(path, series)
    image = _read(path)
    from_slicer = has_segments(image.texts)
    if image.components > 1 and not from_slicer:
        raise InputError(
            f"'{path}' has {image.components} values per voxel (a color or vector image); a label map with one integer "
            "per voxel is needed, or a segmentation saved by Slicer (.seg.nrrd)."
        )
    name = printable(path.name)
    array, notes = _as_integers(image.array, path, name)
    layers: tuple[np.ndarray, ...] = (array,)
    if image.components > 1:
        layers = tuple(np.ascontiguousarray(array[..., layer]) for layer in range(image.components))
    # Volume knows which affines are unusable and says what to do about them.
    affine = Volume(layers[0], image.ijk_to_ras, name).ijk_to_ras
    notes = (*image.notes, *notes)
    if from_slicer:
        found = slicer_segments(image.texts, layers, path)
        return LabelFile(name, layers, found.entries, affine, True, found.details, (*notes, *found.notes))
    entries = {str(value): (0, value) for value in label_values(array, str(path))}
    return LabelFile(name, layers, entries, affine, False, {}, notes)


def _read(path: Path) -> RawImage:
    try:
        return read_raw(path, (NIFTI, NRRD, METAIMAGE))
    except InputError as error:
        if not str(error).startswith(f"'{printable(str(path))}' is not a {NIFTI}, {NRRD} or"):
            raise
        raise InputError(
            f"'{path}' is not an image file that holds labels; save them as .nii.gz, .nrrd, .seg.nrrd or .mha, with "
            "Slicer say."
        ) from error


def _as_integers(array: np.ndarray, path: Path, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Voxels as integers; label maps saved as floats are common, others are no label maps.

    :return: (integers, notes): NaN, which resampling leaves outside the field of view, is no label.
    """
    if array.dtype.kind in "iu":
        return array, ()
    whole = np.zeros(array.shape, np.int32)
    missing = 0
    for part, out in zip(array, whole, strict=True):
        nothing = np.isnan(part)
        missing += int(np.count_nonzero(nothing))
        values = np.where(nothing, 0, part)
        rounded = np.rint(values)
        if not np.isfinite(values).all() or np.abs(values - rounded).max() > _WHOLE or np.abs(rounded).max() >= 2**31:
            raise InputError(f"'{path}' has voxels that are not integers; a label map is needed, not an image.")
        out[:] = rounded
    if missing == array.size:
        raise InputError(f"'{path}' has voxels that are not integers; a label map is needed, not an image.")
    return whole, (f"{missing:,} voxels of '{name}' have no value (NaN); they count as no label.",) * (missing > 0)
