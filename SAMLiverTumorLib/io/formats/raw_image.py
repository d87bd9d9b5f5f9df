"""An image file as it is, scan or labels: voxels, place and the texts of its header."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.formats.content import METAIMAGE, NIFTI, NRRD, image_kind, is_gzipped, open_unzipped
from SAMLiverTumorLib.io.formats.list_axis import with_kinds, with_voxels_at
from SAMLiverTumorLib.io.headers import check_header
from SAMLiverTumorLib.io.nifti.reader import read_nifti
from SAMLiverTumorLib.io.safe_names import is_plain, readable_name

_ITK_READERS = {NRRD: "NrrdImageIO", METAIMAGE: "MetaImageIO"}
_ENDINGS = {NRRD: ".nrrd", METAIMAGE: ".mha"}

# ITK and DICOM count x toward patient left and y toward posterior; Slicer's RAS is the opposite.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class RawImage:
    """What a file holds.

    :param array: (k, j, i), or (k, j, i, values) of a file with several values per voxel.
    :param ijk_to_ras: 4x4 affine from voxel indices (i, j, k) to world RAS in mm.
    :param texts: the header's fields that are texts, such as those of Slicer's segments.
    :param notes: which of several readings was taken, for the reader.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def components(self) -> int:
        """Values per voxel."""
        return self.array.shape[3] if self.array.ndim == 4 else 1


def read_raw(path: Path, formats: tuple[str, ...] = ()) -> RawImage:
    """Read an image file by what is in it, whatever its name says.

    :param formats: the only ones to take (`NIFTI`, `NRRD`, `METAIMAGE`); all that ITK knows by default.
    :raises InputError: not an image of these, truncated or damaged; not three-dimensional; no usable place.
    """
    try:
        kind = image_kind(path)
        if formats and kind not in formats:
            raise InputError(f"'{path}' is not a {', '.join(formats[:-1])} or {formats[-1]} file.")
        if kind == NIFTI:
            image = read_nifti(path)
            return RawImage(image.array, image.ijk_to_ras, {}, image.notes)
        with _for_itk(path, kind) as (readable, check):
            if check:
                _check(readable, path)
            return _by_itk(readable, kind, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"'{path}' is truncated or damaged ({error}); copy it again.") from error
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened: {error.strerror or error}.") from error


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
def _for_itk(path: Path, kind: str) -> Iterator[tuple[Path, bool]]:
    """The file under a name, and with a header, that ITK reads; and whether its header can be checked there."""
    if kind not in _ITK_READERS:
        with readable_name(path) as readable:
            yield readable, False
        return
    with open_unzipped(path) as stream:
        head = stream.read(1 << 16)
    mended = with_kinds(head) if kind == NRRD else None
    if mended is None and not is_gzipped(path):
        with readable_name(path) as readable:
            yield readable, True
        return
    # a copy, as ITK neither unzips whole files nor takes a header from elsewhere
    copy = Path(tempfile.mkdtemp()) / f"image{_ENDINGS[kind]}"
    try:
        with open_unzipped(path) as stream, copy.open("wb") as out:
            if mended is not None:
                stream.read(len(head))
                out.write(with_voxels_at(mended, path.absolute().parent))
            shutil.copyfileobj(stream, out)
        yield copy, True
    finally:
        copy.unlink(missing_ok=True)
        copy.parent.rmdir()


def _check(readable: Path, path: Path) -> None:
    try:
        check_header(readable)
    except InputError as error:
        raise InputError(str(error).replace(str(readable), str(path))) from error


def _by_itk(readable: Path, kind: str, path: Path) -> RawImage:
    """Read a file whose header was checked.

    :param readable: the name to give to ITK.
    :param path: the name to give to the reader of messages.
    """
    try:
        reader = sitk.ImageFileReader()
        if kind in _ITK_READERS:
            reader.SetImageIO(_ITK_READERS[kind])
        reader.SetFileName(str(readable))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) > 3 and any(n > 1 for n in size[3:]):
            raise InputError(
                f"'{path}' has {len(size)} dimensions {size}; save the one volume to use as a file of its own."
            )
        if len(size) < 3:
            raise InputError(f"'{path}' is a two-dimensional image; a whole volume is needed.")
        with _quiet():
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError(_unreadable(path, str(error).replace(str(readable), path.name))) from error
    while image.GetDimension() > 3:
        image = sitk.Extract(image, [*image.GetSize()[:-1], 0])
    # SimpleITK hands out keys that are no UTF-8, and takes none
    texts = {key: printable(image.GetMetaData(key)) for key in image.GetMetaDataKeys() if is_plain(key)}
    # a copy: SimpleITK's array view does not keep its image alive
    return RawImage(sitk.GetArrayFromImage(image), image_affine(image), texts, _without_place(kind, texts, path))


def _without_place(kind: str, texts: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """A note on an NRRD file that says nothing of the patient, as pynrrd and others write when told nothing."""
    if kind != NRRD or "NRRD_space" in texts:
        return ()
    return (
        f"'{path.name}' does not say where in the patient it lies, and which way round. It is taken to lie at the "
        "origin, with rows to the left, columns to the back and slices to the head: check left and right.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """ITK writes warnings to standard error; what matters of them is in the errors raised here."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _unreadable(path: Path, text: str) -> str:
    """What ITK's error means and what to do about it."""
    if "orthonormal direction cosines" in text:
        return f"'{path}' has axes that are not at right angles (gantry tilt); resample it to a straight grid first."
    if "Refusing to change spacing" in text:
        return f"'{path}' has a spacing of zero; correct its header."
    if "Unable to determine ImageIO" in text:
        return f"'{path}' is not an image file; a NIfTI, NRRD or MHA file or a DICOM folder is needed."
    if "bzip2 encoding not available" in text:
        return f"'{path}' is compressed with bzip2, which Slicer does not read either; save it with gzip."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"'{path}' cannot be read as an image ({lines[-1] if lines else text}); copy or save it again."
