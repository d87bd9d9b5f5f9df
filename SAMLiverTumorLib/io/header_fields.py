"""Fields of NRRD and MetaImage headers, checked before ITK sees them: damaged ones crash its readers.

Seen with SimpleITK 2.5: a number of dimensions that is no small number, a value of thousands of characters, a type or
size that is not there, or fewer numbers than there are axes, and the process is gone, with Slicer's unsaved scene.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from SAMLiverTumorLib.errors import InputError

_LONGEST = 1000
_MOST_AXES = {"NRRD": 16, "MetaImage": 10}
_WHOLE = re.compile(r"[+-]?\d{1,18}")

_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
    "float": 4,
}
_NRRD_ENCODINGS = ("raw", "gz", "gzip", "txt", "text", "ascii", "hex", "bz2", "bzip2")
_NRRD_PER_AXIS = ("spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs", "kinds", "centers")

METAIMAGE_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_METAIMAGE_VECTORS = ("Offset", "Position", "Origin", "ElementSpacing", "ElementSize", "CenterOfRotation")
_METAIMAGE_MATRICES = ("TransformMatrix", "Rotation", "Orientation")


def nrrd_voxel_bytes(path: Path, fields: Mapping[str, str]) -> int:
    """Check an NRRD file's fields, by lower-case name; the bytes that its voxels take.

    :raises InputError: naming the field that is unusable.
    """
    _check_lengths(path, fields)
    axes = _axes(path, "NRRD", "dimension", fields)
    sizes = _sizes(path, "sizes", fields, axes)
    size = _NRRD_BYTES.get(fields.get("type", "").lower())
    if size is None:
        raise _unusable(path, "type", fields)
    if fields.get("encoding", "").lower() not in _NRRD_ENCODINGS:
        raise _unusable(path, "encoding", fields)
    if "endian" in fields and fields["endian"].lower() not in ("little", "big"):
        raise _unusable(path, "endian", fields)
    for name in _NRRD_PER_AXIS:
        if name in fields and len(fields[name].split()) != axes:
            raise _unusable(path, name, fields)
    for name in ("line skip", "lineskip", "byte skip", "byteskip", "space dimension"):
        if name in fields and not _WHOLE.fullmatch(fields[name]):
            raise _unusable(path, name, fields)
    return size * math.prod(sizes)


def metaimage_voxel_bytes(path: Path, fields: Mapping[str, str]) -> int:
    """Check a MetaImage file's fields; the bytes that its voxels take.

    :raises InputError: naming the field that is unusable.
    """
    _check_lengths(path, fields)
    if fields.get("ObjectType", "Image") != "Image":
        raise _unusable(path, "ObjectType", fields)
    axes = _axes(path, "MetaImage", "NDims", fields)
    sizes = _sizes(path, "DimSize", fields, axes)
    size = METAIMAGE_BYTES.get(fields.get("ElementType", ""))
    if size is None:
        raise _unusable(path, "ElementType", fields)
    for names, count in ((_METAIMAGE_VECTORS, axes), (_METAIMAGE_MATRICES, axes * axes)):
        for name in names:
            if name in fields and not _are_numbers(fields[name], count):
                raise _unusable(path, name, fields)
    if "AnatomicalOrientation" in fields and len(fields["AnatomicalOrientation"]) not in (axes, 3):
        raise _unusable(path, "AnatomicalOrientation", fields)
    for name in ("HeaderSize", "CompressedDataSize", "ElementNumberOfChannels"):
        if name in fields and not _WHOLE.fullmatch(fields[name]):
            raise _unusable(path, name, fields)
    if int(fields.get("CompressedDataSize", "0")) > path.stat().st_size:
        raise _unusable(path, "CompressedDataSize", fields)
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    if not 0 < channels <= 1 << 16:
        raise _unusable(path, "ElementNumberOfChannels", fields)
    return size * math.prod(sizes) * channels


def _axes(path: Path, kind: str, name: str, fields: Mapping[str, str]) -> int:
    text = fields.get(name, "")
    if not re.fullmatch(r"\d{1,2}", text) or not 0 < int(text) <= _MOST_AXES[kind]:
        raise _unusable(path, name, fields)
    return int(text)


def _sizes(path: Path, name: str, fields: Mapping[str, str], axes: int) -> list[int]:
    words = fields.get(name, "").split()
    if len(words) != axes or not all(re.fullmatch(r"\d{1,9}", word) and int(word) > 0 for word in words):
        raise _unusable(path, name, fields)
    return [int(word) for word in words]


def _are_numbers(text: str, count: int) -> bool:
    try:
        return len([float(word) for word in text.split()]) == count
    except ValueError:
        return False


def _check_lengths(path: Path, fields: Mapping[str, str]) -> None:
    for name, value in fields.items():
        if len(name) > _LONGEST or len(value) > _LONGEST or "\0" in value:
            raise InputError(f"'{path}' has a damaged header ({name[:40]!r} is too long); copy it again.")


def _unusable(path: Path, name: str, fields: Mapping[str, str]) -> InputError:
    if name not in fields:
        return InputError(f"'{path}' has no {name} in its header; copy it again, or save it anew.")
    return InputError(f"'{path}' has no usable {name} in its header ({fields[name][:60]!r}); copy it again.")
