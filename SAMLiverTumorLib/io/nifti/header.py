"""The fields of a NIfTI header, whichever version and byte order it is of."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError

HEADER_BYTES = {348: 1, 540: 2}
"""Length of a header, which is its first field, by version."""

# NumPy's types by NIfTI's codes. Floats of 128 bits are read where the machine has them.
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_OTHER_TYPES = {
    1: "single bits",
    32: "complex numbers",
    1536: "floats of 128 bits",
    1792: "complex numbers",
    2048: "complex numbers",
}
_COLORS = {128: 3, 2304: 4}

# Where the fields of versions 1 and 2 stand, and what struct calls them.
_FIELDS = {
    1: {
        "dim": (40, "8h"),
        "datatype": (70, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "scaling": (112, "2f"),
        "xyzt_units": (123, "B"),
        "codes": (252, "2h"),
        "quaternion": (256, "6f"),
        "sform": (280, "12f"),
        "magic": (344, "4s"),
    },
    2: {
        "dim": (16, "8q"),
        "datatype": (12, "h"),
        "pixdim": (104, "8d"),
        "vox_offset": (168, "q"),
        "scaling": (176, "2d"),
        "xyzt_units": (500, "i"),
        "codes": (344, "2i"),
        "quaternion": (352, "6d"),
        "sform": (400, "12d"),
        "magic": (4, "4s"),
    },
}
_MOST_ALONG_AN_AXIS = 1 << 20


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What a header says, as it says it.

    :param sizes: voxels along each of its dimensions, three at least; those behind the third are all 1.
    :param dtype: of the voxels as they are stored, byte order included.
    :param offset: byte at which the voxels begin, as the header has it; 0 where it has none.
    :param slope, inter: value = stored value * slope + inter; 1 and 0 where the header scales nothing.
    :param pixdim: spacing along i, j, k in the header's unit; may be negative, zero or NaN.
    :param qfac: -1 where the third axis of the qform is turned round, else 1.
    :param qform_code, sform_code: above 0 where the header has that way to say where the voxels lie.
    :param quaternion, shift: of the qform: (b, c, d) and the first voxel's center.
    :param sform: 3x4.
    :param unit: 1 for meters, 3 for microns, else millimeters.
    :param has_own_voxels: whether they follow in the same file.
    :param is_analyze: of Analyze 7.5, which says nothing of place.
    """

    sizes: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    pixdim: tuple[float, float, float]
    qfac: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, float, float]
    shift: tuple[float, float, float]
    sform: np.ndarray
    unit: int
    has_own_voxels: bool
    is_analyze: bool


def version_of(head: bytes) -> tuple[int, str]:
    """(version, byte order) by the first four bytes of a file; (0, "") where it is no NIfTI file."""
    for order in "<>" if len(head) >= 4 else "":
        if version := HEADER_BYTES.get(struct.unpack_from(order + "i", head)[0], 0):
            return version, order
    return 0, ""


def parse_header(head: bytes, path: Path) -> NiftiHeader:
    """Read the fields.

    :param head: the first 540 bytes of the file, or as many as there are.
    :param path: what messages call it.
    :raises InputError: not a NIfTI header; not one three-dimensional image of one number per voxel.
    """
    version, order = version_of(head)
    if not version or len(head) < {1: 348, 2: 540}[version]:
        raise InputError(f"'{path}' is not a NIfTI file; check that it is what its name says.")

    def field(name: str) -> tuple:
        at, kind = _FIELDS[version][name]
        return struct.unpack_from(order + kind, head, at)

    magic = field("magic")[0]
    is_analyze = version == 1 and magic[:2] not in (b"n+", b"ni")
    sizes = _sizes(field("dim"), path)
    dtype = _dtype(field("datatype")[0], order, path)
    _refuse_frames(sizes, path)
    offset = field("vox_offset")[0]
    slope, inter = (1.0, 0.0) if is_analyze else _scaling(*field("scaling"))
    qform_code, sform_code = (0, 0) if is_analyze else field("codes")
    qfac, *pixdim = field("pixdim")[:4]
    quaternion = field("quaternion")
    return NiftiHeader(
        sizes,
        dtype,
        int(offset) if 0 <= offset < 1 << 30 else 0,
        slope,
        inter,
        (pixdim[0], pixdim[1], pixdim[2]),
        -1 if qfac < 0 else 1,
        qform_code,
        sform_code,
        quaternion[:3],
        quaternion[3:],
        np.array(field("sform"), float).reshape(3, 4),
        0 if is_analyze else field("xyzt_units")[0] & 7,
        magic[:2] == b"n+",
        is_analyze,
    )


def _sizes(dim: tuple[int, ...], path: Path) -> tuple[int, ...]:
    rank, *sizes = dim
    if not 1 <= rank <= 7:
        raise InputError(f"'{path}' has no usable size in its header ({rank} dimensions); copy it again.")
    if rank < 3:
        raise InputError(f"'{path}' is a two-dimensional image; a whole volume is needed.")
    # writers leave 0 in dimensions that they do not use
    sizes = [*sizes[:3], *(max(size, 1) for size in sizes[3:rank])]
    if not all(0 < size <= _MOST_ALONG_AN_AXIS for size in sizes):
        raise InputError(f"'{path}' has no usable size in its header {tuple(sizes)}; copy it again.")
    return tuple(sizes)


def _dtype(code: int, order: str, path: Path) -> np.dtype:
    if code in _TYPES:
        return np.dtype(order + _TYPES[code])
    if code in _COLORS:
        raise InputError(
            f"'{path}' has {_COLORS[code]} values per voxel (a color or vector image); one number per voxel is needed."
        )
    what = _OTHER_TYPES.get(code, f"type {code}, which is not known")
    raise InputError(f"'{path}' has voxels of {what}; save it with whole numbers of 16 bits, or floats of 32.")


def _refuse_frames(sizes: tuple[int, ...], path: Path) -> None:
    further = sizes[3:]
    if all(size == 1 for size in further):
        return
    if further[0] == 1 and len(further) > 1:
        raise InputError(
            f"'{path}' has {further[1]} values per voxel (a color or vector image); one number per voxel is needed."
        )
    raise InputError(f"'{path}' has {len(sizes)} dimensions {sizes}; save the one volume to use as a file of its own.")


def _scaling(slope: float, inter: float) -> tuple[float, float]:
    """A slope of 0, and one that is no number, stand for none: the standard and nibabel."""
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    return slope, inter if np.isfinite(inter) else 0.0
