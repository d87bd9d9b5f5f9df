"""CT volumes from files: NIfTI, NRRD, MetaImage, or a DICOM series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import is_dicom
from SAMLiverTumorLib.io.dicom.series import read_dicom, without_itk_warnings
from SAMLiverTumorLib.io.headers import check_header
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.volume import Volume

# ITK and DICOM count x toward patient left and y toward posterior; Slicer's RAS is the opposite.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_volume(path: str | Path, series: str | int | None = None, note: Callable[[str], None] | None = None) -> Volume:
    """Read a scalar volume.

    :param path: a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, a DICOM file, or a folder holding a DICOM series.
    :param series: which DICOM series of several; see `dicom.series.read_dicom`.
    :param note: told what there is to know about it: images that a DICOM series holds twice, a spacing that was lost.
    :raises InputError: missing, truncated or unreadable file; not one three-dimensional scalar volume;
        unusable spacing; NaN or infinite voxels; a DICOM series that is not one regular grid.
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
        with without_itk_warnings():
            image = _read_file(path)
        volume, notes = _to_volume(image, path.name), ()
    if note is not None:
        for text in filter(None, (*notes, doubtful_spacing(volume.dimensions, volume.ijk_to_ras, volume.name))):
            note(text)
    return volume


def image_affine(image: sitk.Image) -> np.ndarray:
    """4x4 affine from voxel indices (i, j, k) to world RAS in mm of a SimpleITK image."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return _LPS_TO_RAS @ affine


def set_image_affine(image: sitk.Image, ijk_to_ras: np.ndarray) -> None:
    """Place a SimpleITK image by a 4x4 affine from voxel indices (i, j, k) to world RAS in mm."""
    affine = _LPS_TO_RAS @ ijk_to_ras
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())


def _read_file(path: Path) -> sitk.Image:
    check_header(path)
    try:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) > 3 and any(n > 1 for n in size[3:]):
            raise InputError(
                f"'{path}' has {len(size)} dimensions {size}; save the one volume to segment as a file of its own."
            )
        if len(size) < 3:
            raise InputError(f"'{path}' is a two-dimensional image; a CT volume is needed.")
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(_unreadable(path, error)) from error


def _to_volume(image: sitk.Image, name: str) -> Volume:
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    components = image.GetNumberOfComponentsPerPixel()
    if components > 1:
        raise InputError(
            f"'{name}' has {components} values per voxel (a color or vector image, or several time points); "
            "a scalar CT volume is needed."
        )
    # a copy: SimpleITK's array view does not keep its image alive
    return Volume(sitk.GetArrayFromImage(image), image_affine(image), name)


def _unreadable(path: Path, error: RuntimeError) -> str:
    """What ITK's error means and what to do about it."""
    text = str(error)
    if "orthonormal direction cosines" in text:
        return f"'{path}' has axes that are not at right angles (gantry tilt); resample it to a straight grid first."
    if "Refusing to change spacing" in text:
        return f"'{path}' has a spacing of zero; correct its header."
    if "Unable to determine ImageIO" in text:
        return f"'{path}' is not an image file; a NIfTI, NRRD or MHA file or a DICOM folder is needed."
    return f"'{path}' cannot be read as an image ({_last_line(error)}); copy or save it again."


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else str(error)
