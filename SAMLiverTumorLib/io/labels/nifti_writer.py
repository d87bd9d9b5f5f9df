"""Label maps as NIfTI files that lie over their source to the last bit of its affine."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.formats.content import open_unzipped
from SAMLiverTumorLib.io.nifti.header import version_of
from SAMLiverTumorLib.io.write_image import write_image

_HEADER = 348
_OFFSET = 352
# NIfTI's codes of unsigned 8 and 16 bits; that values are labels; where the text of a header begins.
_TYPES = {1: 2, 2: 512}
_INTENT_LABEL, _DESCRIPTION = 1002, 148

# Fields of the header that say where voxels lie, kept bit for bit: (first byte, past the last).
_GEOMETRY = ((76, 108), (123, 124), (252, 328))


def write_label_nifti(array: np.ndarray, ijk_to_ras: np.ndarray, path: Path, source: Path | None = None) -> None:
    """Write a label map on the grid of a volume.

    Where the volume is a NIfTI file, pixdim, units, qform and sform are its own bit for bit: software that compares
    headers takes the two for one grid. Texts of its header, which may name the patient, are left out.

    :param array: labels (k, j, i), not negative.
    :param ijk_to_ras: the volume's 4x4 affine (mm, world RAS); for sources that are no NIfTI file.
    :param path: ends in .nii or .nii.gz; an existing file is replaced. Give one of `atomic_path` for all or nothing.
    :param source: the volume's file; anything but a NIfTI file, or None, is told only by the affine.
    :raises InputError: the voxels are sheared; the source has another size.
    :raises OutputError: it cannot be written.
    """
    array = array.astype(np.uint8 if array.max(initial=0) < 256 else np.uint16)
    if source is None or not is_nifti(source):
        write_image(array, ijk_to_ras, path)
        return
    header, order = _read_header(source)
    sizes = struct.unpack_from(order + "3h", header, 42)
    if sizes != array.shape[::-1]:
        raise InputError(f"'{source}' has {sizes} voxels, the labels {array.shape[::-1]}; name the volume they are of.")
    stored = array.astype(array.dtype.newbyteorder("<" if order == "<" else ">"))
    data = _label_header(header, order, array) + stored.tobytes()
    try:
        if path.name.lower().endswith(".gz"):
            # no time and no name of its own: the same labels give the same file
            with path.open("wb") as stream, gzip.GzipFile("", "wb", 6, stream, mtime=0) as compressed:
                compressed.write(data)
        else:
            path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI-1 in one part, by name and content."""
    if not path.is_file() or not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    try:
        with open_unzipped(path) as stream:
            return version_of(stream.read(4))[0] == 1
    except (OSError, EOFError, zlib.error):
        return False


def _read_header(path: Path) -> tuple[bytes, str]:
    """(the header, byte order) of a file that was read before and so is one."""
    try:
        with open_unzipped(path) as stream:
            header = stream.read(_HEADER)
    except (OSError, EOFError) as error:
        raise InputError(f"'{path}' cannot be read: {error}.") from error
    version, order = version_of(header)
    if version == 1 and len(header) == _HEADER:
        return header, order
    raise InputError(f"'{path}' is not a NIfTI-1 file; save it as one, as NRRD or as MHA.")


def _label_header(source: bytes, order: str, array: np.ndarray) -> bytes:
    """A label map's header with the geometry of another, and four bytes for no extensions."""
    header = bytearray(_OFFSET)
    for first, last in _GEOMETRY:
        header[first:last] = source[first:last]
    struct.pack_into(order + "i", header, 0, _HEADER)
    header[38] = ord("r")
    struct.pack_into(order + "8h", header, 40, 3, *array.shape[::-1], 1, 1, 1, 1)
    struct.pack_into(order + "3h", header, 68, _INTENT_LABEL, _TYPES[array.itemsize], 8 * array.itemsize)
    struct.pack_into(order + "3f", header, 108, _OFFSET, 1.0, 0.0)
    header[_DESCRIPTION : _DESCRIPTION + 15] = b"sam-liver-tumor"
    header[344:348] = b"n+1\0"
    return bytes(header)
