"""CT volumes from files: NIfTI, NRRD, MetaImage, or a folder with one DICOM series."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.headers import check_header
from SAMLiverTumorLib.volume import Volume

# ITK and DICOM count x toward patient left and y toward posterior; Slicer's RAS is the opposite.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Slices whose distance differs by more than this share of the usual one are missing or doubled.
_SLICE_TOLERANCE = 0.05

# Of the files in a DICOM folder that hold no image, those that belong there.
_NO_IMAGES = ("DICOMDIR", "VERSION", "LOCKFILE")


def read_volume(path: str | Path) -> Volume:
    """Read a scalar volume.

    :param path: a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, or a folder holding one DICOM series.
    :raises InputError: missing, truncated or unreadable file; not one three-dimensional scalar volume;
        unusable spacing; NaN or infinite voxels; a DICOM series with missing slices or gantry tilt.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist; check the path.")
    with _without_itk_warnings():
        image = _read_dicom_folder(path) if path.is_dir() else _read_file(path)
    return _to_volume(image, path.name)


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


@contextmanager
def _without_itk_warnings() -> Iterator[None]:
    """ITK writes warnings to standard error; what matters of them is in the errors raised here."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


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


def _read_dicom_folder(folder: Path) -> sitk.Image:
    series = {
        uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    if len(series) > 1:
        listed = ", ".join(f"{uid} ({len(files)} files)" for uid, files in series.items())
        raise InputError(
            f"Folder '{folder}' holds {len(series)} series; move the one wanted to its own folder: {listed}"
        )
    files = next(iter(series.values()), ())
    _check_nothing_left_out(folder, files)
    if not files:
        raise InputError(f"Folder '{folder}' holds no DICOM image series; name the folder with the slices themselves.")
    thickness = _check_dicom_geometry(folder, files)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"The DICOM series in '{folder}' cannot be read: {_last_line(error)}") from error
    if thickness is not None:
        image.SetSpacing((*image.GetSpacing()[:2], thickness))
    return image


def _check_nothing_left_out(folder: Path, files: tuple[str, ...]) -> None:
    """Refuse a folder with DICOM files that ITK could not parse: it passes over them without a word."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    read = {Path(file).name for file in files}
    for file in sorted(folder.iterdir()):
        if file.name in read or not file.is_file() or file.name.upper() in _NO_IMAGES:
            continue
        try:
            kind = pydicom.dcmread(file, stop_before_pixels=True).get("SOPClassUID", "")
        except InvalidDicomError:
            if file.suffix.lower() != ".dcm":
                continue
            kind = ""
        except (OSError, EOFError, ValueError):
            kind = ""
        # reports and presentation states may lie beside the images
        if not kind or "Image" in kind.name:
            raise InputError(f"'{file}' is damaged or holds no image; copy it again, or remove it from the folder.")


def _check_dicom_geometry(folder: Path, files: tuple[str, ...]) -> float | None:
    """Refuse a stack that is not a regular grid, which a volume's affine could not describe.

    :return: the slice thickness (mm) where there is one slice alone, for which ITK takes 1 mm; else None.
    """
    import pydicom

    positions, normal = [], None
    for file in files:
        try:
            # force: GDCM, and so Slicer, also reads files without the preamble
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"'{file}' is damaged: {error}; copy it again.") from error
        if len(files) == 1:
            single = int(header.get("NumberOfFrames") or 1) == 1
            return float(header.get("SliceThickness") or 0) or None if single else None
        if not header.get("ImagePositionPatient") or not header.get("ImageOrientationPatient"):
            raise InputError(f"'{file}' has no position in the patient; it cannot be placed in a volume.")
        positions.append([float(x) for x in header.ImagePositionPatient])
        orientation = [float(x) for x in header.ImageOrientationPatient]
        normal = np.cross(orientation[:3], orientation[3:])
    steps = np.diff(np.array(positions), axis=0)
    along = steps @ normal
    usual = float(np.median(along))
    odd = np.flatnonzero(np.abs(along - usual) > max(abs(usual) * _SLICE_TOLERANCE, 0.01))
    if len(odd):
        raise InputError(
            f"The DICOM series in '{folder}' has slices missing or doubled: the step is {usual:.2f} mm, but "
            f"{along[odd[0]]:.2f} mm between '{Path(files[odd[0]]).name}' and '{Path(files[odd[0] + 1]).name}'; "
            "copy the series again."
        )
    if abs(usual) < 0.01:
        raise InputError(
            f"The {len(files)} slices of the DICOM series in '{folder}' all lie at one position; "
            "a series of neighboring slices is needed."
        )
    tilt = np.linalg.norm(steps - along[:, None] * normal, axis=1).max()
    if tilt > 0.1:
        raise InputError(
            f"The DICOM series in '{folder}' is sheared by {tilt:.2f} mm per slice (gantry tilt); "
            "load it in Slicer, harden the transform it makes, and save the volume as NRRD."
        )
    return None


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
