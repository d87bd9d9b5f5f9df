"""The voxels of a NIfTI file, and where they lie."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.formats.content import most_bytes, open_unzipped
from SAMLiverTumorLib.io.nifti.header import NiftiHeader, parse_header, version_of
from SAMLiverTumorLib.io.nifti.place import place_of

_CHUNK = 1 << 22
_SINGLE_OFFSET = 352


@dataclass(frozen=True, eq=False)
class NiftiImage:
    """An image as its file has it.

    :param array: values (k, j, i) after the header's scaling, of the stored type where that changes nothing.
    :param ijk_to_ras: 4x4 affine to world RAS (mm).
    :param notes: which of several readings was taken, for the reader.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    notes: tuple[str, ...]


def read_nifti(path: Path) -> NiftiImage:
    """Read a NIfTI-1 or NIfTI-2 file, compressed or not whatever its name says, or a pair of .hdr and .img.

    :raises InputError: not such a file, cut off or damaged; several frames or values per voxel; no usable place.
    """
    header, voxels = _header_and_voxels(path)
    affine, notes = place_of(header, path)
    array = _stored(path, voxels, header)
    return NiftiImage(_scaled(array, header), affine, notes)


def check_nifti(path: Path) -> None:
    """Refuse what `read_nifti` would, without keeping the voxels.

    :raises InputError: see `read_nifti`.
    """
    header, voxels = _header_and_voxels(path)
    place_of(header, path)
    with open_unzipped(voxels) as stream:
        expected = _length(header)
        _skip(stream, _begin(header, voxels, path))
        read = 0
        while read < expected and (chunk := stream.read(min(_CHUNK, expected - read))):
            read += len(chunk)
        _refuse_short(voxels, read, expected)
        _to_end(stream)


def header_of(path: Path) -> NiftiHeader:
    """The header alone.

    :raises InputError: see `parse_header`.
    """
    return _header_and_voxels(path)[0]


def _header_and_voxels(path: Path) -> tuple[NiftiHeader, Path]:
    """The header, and the file that holds the voxels."""
    name = path.name.lower().removesuffix(".gz")
    of_header = _partner(path, ".hdr") if name.endswith(".img") and not _begins_as_nifti(path) else path
    with open_unzipped(of_header) as stream:
        header = parse_header(stream.read(540), path)
    if header.has_own_voxels or name.endswith(".nii"):
        return header, of_header
    return header, (path if name.endswith(".img") else _partner(path, ".img"))


def _begins_as_nifti(path: Path) -> bool:
    with open_unzipped(path) as stream:
        return version_of(stream.read(4)) != (0, "")


def _partner(path: Path, ending: str) -> Path:
    """The other file of a pair.

    :raises InputError: it is not there.
    """
    bare = path.name
    for known in (".gz", ".hdr", ".img"):
        bare = bare[: -len(known)] if bare.lower().endswith(known) else bare
    for candidate in (f"{bare}{e}{z}" for z in ("", ".gz") for e in (ending, ending.upper())):
        if (path.parent / candidate).is_file():
            return path.parent / candidate
    what = "voxels" if ending == ".img" else "header"
    raise InputError(f"'{path}' keeps its {what} in '{bare}{ending}', which is not there; copy both files.")


def _length(header: NiftiHeader) -> int:
    """Bytes of the voxels."""
    return math.prod(header.sizes) * header.dtype.itemsize


def _begin(header: NiftiHeader, voxels: Path, path: Path) -> int:
    """Byte at which the voxels begin.

    Tools that know no better write an offset of 0, or leave the four bytes between header and voxels out.
    """
    if not header.has_own_voxels and not path.name.lower().removesuffix(".gz").endswith(".nii"):
        return header.offset
    if header.offset >= 348:
        return header.offset
    bare = voxels.stat().st_size - _length(header)
    return 348 if bare == 348 else _SINGLE_OFFSET


def _stored(path: Path, voxels: Path, header: NiftiHeader) -> np.ndarray:
    """The voxels as they are stored (k, j, i), in the machine's byte order."""
    expected = _length(header)
    try:
        # a damaged header asks for more than there can be
        raw = np.empty(min(expected, most_bytes(voxels)), np.uint8)
    except MemoryError:
        raise InputError(f"'{path}' does not fit into memory: its voxels take {expected:,} bytes.") from None
    with open_unzipped(voxels) as stream:
        _skip(stream, _begin(header, voxels, path))
        read = 0
        while read < len(raw) and (chunk := stream.read(min(_CHUNK, len(raw) - read))):
            raw[read : read + len(chunk)] = np.frombuffer(chunk, np.uint8)
            read += len(chunk)
        _refuse_short(voxels, read, expected)
        _to_end(stream)
    array = raw.view(header.dtype).reshape(header.sizes[2::-1])
    return array if header.dtype.isnative else array.astype(header.dtype.newbyteorder("="))


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0 and (chunk := stream.read(min(count, _CHUNK))):
        count -= len(chunk)


def _to_end(stream: BinaryIO) -> None:
    """Read on, so that a checksum is verified; what else stands behind it is no part of the image."""
    try:
        while stream.read(_CHUNK):
            pass
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):
            raise


def _refuse_short(path: Path, length: int, expected: int) -> None:
    if length < expected:
        raise InputError(f"'{path}' is truncated: {length:,} of {expected:,} bytes are there; copy it again.")


def _scaled(array: np.ndarray, header: NiftiHeader) -> np.ndarray:
    """Values by the header's slope and intercept: whole numbers where both are, as CT numbers are, else floats."""
    slope, inter = header.slope, header.inter
    if slope == 1 and inter == 0:
        return array
    if array.dtype.kind in "iu" and slope == round(slope) and inter == round(inter):
        ends = [int(end) * int(slope) + int(inter) for end in (array.min(), array.max())]
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
                return (array.astype(np.int64) * int(slope) + int(inter)).astype(kind)
    return array * np.float64(slope) + np.float64(inter)
