"""Label maps from files: NIfTI, NRRD, MetaImage, Slicer's segmentations (.seg.nrrd), and DICOM SEG."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.dicom.seg_reader import read_dicom_seg
from SAMLiverTumorLib.io.headers import check_header
from SAMLiverTumorLib.io.images import image_affine
from SAMLiverTumorLib.io.labels.label_file import LabelFile, free_name
from SAMLiverTumorLib.io.labels.label_values import label_values
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails, details_of_fields
from SAMLiverTumorLib.volume import Volume

__all__ = ["LabelFile", "read_labels"]

_READERS = ("NiftiImageIO", "NrrdImageIO", "MetaImageIO")


def read_labels(path: str | Path, series: str | int | None = None) -> LabelFile:
    """Read a label map, a Slicer segmentation or a DICOM SEG.

    In a label map every nonzero value is a segment, named by its number. In a Slicer segmentation and a
    DICOM SEG segments have their own names (a second one of the same name gets " (2)") and may overlap.

    :param path: .nii, .nii.gz, .nrrd, .seg.nrrd, .nhdr, .mha, .mhd; a DICOM SEG file, or a folder with one.
    :param series: which DICOM SEG of a folder with several, by series number or UID; files have no choice.
    :raises InputError: missing, truncated or unreadable file; not three-dimensional; a color or vector
        image; values that are not integers; an image instead of a label map.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist; check the path.")
    if path.is_dir() or is_dicom(path):
        return read_dicom_seg(path, series)
    check_header(path)
    image = _read_image(path)
    keys = set(image.GetMetaDataKeys())
    from_slicer = any(re.fullmatch(r"Segmentation_.+|Segment\d+_ID", key) for key in keys)
    components = image.GetNumberOfComponentsPerPixel()
    if components > 1 and not from_slicer:
        raise InputError(
            f"'{path}' has {components} values per voxel (a color or vector image); a label map with one integer per "
            "voxel is needed, or a segmentation saved by Slicer (.seg.nrrd)."
        )
    array = _as_integers(sitk.GetArrayFromImage(image), path)
    layers = (
        (array,) if components == 1 else tuple(np.ascontiguousarray(array[..., layer]) for layer in range(components))
    )
    # Volume knows which affines are unusable and says what to do about them.
    affine = Volume(layers[0], image_affine(image), path.name).ijk_to_ras
    if from_slicer:
        entries, details = _slicer_entries(image, keys, components, path)
    else:
        entries, details = {str(value): (0, value) for value in label_values(array, str(path))}, {}
    return LabelFile(path.name, layers, entries, affine, from_slicer, details)


def _read_image(path: Path) -> sitk.Image:
    """The file as a three-dimensional SimpleITK image."""
    reader_name = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if reader_name not in _READERS:
        kind = "not an image file" if reader_name == "" else "not a medical label map"
        raise InputError(f"'{path}' is {kind}; save the labels as .nii.gz, .nrrd, .seg.nrrd or .mha, with Slicer say.")
    try:
        reader = sitk.ImageFileReader()
        reader.SetImageIO(reader_name)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) < 3:
            raise InputError(f"'{path}' is a two-dimensional image; a label map of the whole volume is needed.")
        if any(n > 1 for n in size[3:]):
            raise InputError(
                f"'{path}' has {len(size)} dimensions {size}; save the one label map to use as a file of its own."
            )
        image = reader.Execute()
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"'{path}' cannot be read ({lines[-1]}); copy or save it again.") from error
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def _as_integers(array: np.ndarray, path: Path) -> np.ndarray:
    """Voxels as integers; label maps saved as floats are common, others are no label maps."""
    if array.dtype.kind in "iu":
        return array
    whole = array.dtype.kind == "f"
    for part in array if whole else ():
        whole = bool(np.isfinite(part).all() and (part == np.rint(part)).all() and (np.abs(part) < 2**31).all())
        if not whole:
            break
    if not whole:
        raise InputError(f"'{path}' has voxels that are not integers; a label map is needed, not an image.")
    return array.astype(np.int32)


def _slicer_entries(
    image: sitk.Image, keys: set[str], components: int, path: Path
) -> tuple[dict[str, tuple[int, int]], dict[str, SegmentDetails]]:
    """Segments of a .seg.nrrd. Files of Slicer 4.10 and before have neither layer nor value: one layer each."""
    entries: dict[str, tuple[int, int]] = {}
    details: dict[str, SegmentDetails] = {}
    numbers = sorted(int(match[1]) for key in keys if (match := re.fullmatch(r"Segment(\d+)_ID", key)))
    for number in numbers:

        def field(name: str, default: str, prefix: str = f"Segment{number}_") -> str:
            return image.GetMetaData(prefix + name).strip() if prefix + name in keys else default

        try:
            value = int(field("LabelValue", "1"))
            layer = int(field("Layer", "0" if f"Segment{number}_LabelValue" in keys else str(number)))
        except ValueError as error:
            raise InputError(f"'{path}' has a damaged header (Segment{number}: {error}); save it again.") from error
        if not 0 <= layer < components:
            raise InputError(
                f"'{path}' has no layer {layer}, where Segment{number} should be; save it again in Slicer."
            )
        name = free_name(field("Name", "") or field("ID", "") or f"Segment {number}", entries)
        entries[name] = (layer, value)
        details[name] = details_of_fields(field("Tags", ""), field("Color", ""))
    return entries, details
