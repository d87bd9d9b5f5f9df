"""CT volumes from files: NIfTI, NRRD, MetaImage, or a DICOM series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.formats.raw_image import image_affine, read_raw, set_image_affine
from SAMLiverTumorLib.io.scan_values import scan_values
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.volume import Volume

__all__ = ["image_affine", "read_volume", "set_image_affine"]


def read_volume(path: str | Path, series: str | int | None = None, note: Callable[[str], None] | None = None) -> Volume:
    """Read a scalar volume.

    Files are known by what is in them, not by their names. Voxels are cast once, where neither Slicer nor PyTorch has
    their type: see `scan_values`.

    :param path: a NIfTI, NRRD or MetaImage file, a DICOM file, or a folder holding a DICOM series.
    :param series: which DICOM series of several; see `dicom.series.read_dicom`.
    :param note: told what there is to know about it: which of two readings was taken, images that a DICOM series holds
        twice, a spacing that was lost.
    :raises InputError: missing, truncated or unreadable file; not one three-dimensional scalar volume; unusable
        spacing, or two that can both be true; infinite voxels, or NaN within the body; a DICOM series that is not one
        regular grid.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist; check the path.")
    if path.is_dir() or is_dicom(path):
        read = read_dicom(path, series)
        volume, notes = read.volume, read.notes
    elif series is not None:
        raise InputError(f"'{path}' is no DICOM file or folder, so there is no series '{series}' in it.")
    else:
        volume, notes = _read_file(path)
    if note is not None:
        for text in filter(None, (*notes, doubtful_spacing(volume.dimensions, volume.ijk_to_ras, volume.name))):
            note(text)
    return volume


def _read_file(path: Path) -> tuple[Volume, tuple[str, ...]]:
    image = read_raw(path)
    if image.components > 1:
        raise InputError(
            f"'{path}' has {image.components} values per voxel (a color or vector image, or several time points); "
            "a scalar CT volume is needed."
        )
    name = printable(path.name)
    array, notes = scan_values(image.array, name)
    return Volume(array, image.ijk_to_ras, name), (*image.notes, *notes)
