"""What an image file's header promises, checked because ITK reads past it in silence.

Seen with SimpleITK 2.5: damaged compressed NRRD and MetaImage files give garbage, and a spacing of NaN (and in most
formats of zero or below) becomes 1 mm. Each would put a wrong tumor volume into a report.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.formats.content import METAIMAGE, NIFTI, NRRD, image_kind
from SAMLiverTumorLib.io.header_fields import METAIMAGE_BYTES, metaimage_voxel_bytes, nrrd_voxel_bytes
from SAMLiverTumorLib.io.nifti.reader import check_nifti

_CHUNK = 1 << 22
_HEADER_LIMIT = 1 << 20


def check_header(path: Path) -> None:
    """Refuse an image file whose spacing is unusable or whose voxels are not all there, undamaged.

    NIfTI, NRRD and MetaImage are told by their content; anything else is left to its reader.

    :raises InputError: the file cannot be opened, or naming the file and what is wrong with it.
    """
    try:
        kind = image_kind(path)
        if kind == NIFTI:
            check_nifti(path)
        elif kind == METAIMAGE:
            _check_metaimage(path)
        elif kind == NRRD:
            _check_nrrd(path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"'{path}' is truncated or damaged ({error}); copy it again.") from error
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened: {error.strerror or error}.") from error


def _check_metaimage(path: Path) -> None:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for line in _header_lines(stream):
            key, _, value = (part.strip() for part in line.partition("="))
            fields[key] = value
            if key == "ElementDataFile":
                break
        else:
            raise InputError(f"'{path}' is not a MetaImage file, or its header is cut off; copy it again.")
        expected = metaimage_voxel_bytes(path, fields)
        for key in ("ElementSpacing", "ElementSize"):
            for step in fields.get(key, "").split():
                _check_spacing(path, step, f"in {key}; correct its header")
        data_file = fields["ElementDataFile"]
        if data_file.upper() == "LOCAL":
            _check_metaimage_voxels(path, fields, stream, expected)
            return
    if "%" in data_file or data_file.upper().startswith("LIST"):
        return  # a file per slice, which MetaIO itself asks for
    voxels = path.parent / data_file
    if not voxels.is_file():
        raise InputError(f"'{path}' keeps its voxels in '{data_file}', which is not there; copy both files.")
    with voxels.open("rb") as stream:
        stream.seek(max(int(fields.get("HeaderSize", "0") or 0), 0))
        _check_metaimage_voxels(voxels, fields, stream, expected)


def _check_metaimage_voxels(path: Path, fields: dict[str, str], stream: BinaryIO, expected: int) -> None:
    if fields.get("BinaryData", "True").lower() in ("false", "0"):
        # voxels as text: a digit and a blank each, at least
        voxels = expected // METAIMAGE_BYTES[fields["ElementType"]]
        _check_length(path, path.stat().st_size - stream.tell(), 2 * voxels - 1)
    elif fields.get("CompressedData", "False").lower() in ("true", "1"):
        _check_length(path, _inflated_length(stream), expected)
    else:
        _check_length(path, path.stat().st_size - stream.tell(), expected)


def _check_nrrd(path: Path) -> None:
    """Fields, spacing and the length of the voxels."""
    with path.open("rb") as stream:
        fields: dict[str, str] = {}
        for number, line in enumerate(_header_lines(stream)):
            if number == 0 and not line.startswith("NRRD"):
                raise InputError(f"'{path}' is not an NRRD file; check that it is what its name says.")
            if not line:
                break
            key, separator, value = line.partition(":")
            # NRRD's own reader ends a line here as well, and crashes over a long rest that is no field
            if "\r" in line or (number and not separator and not line.startswith("#")):
                raise InputError(f"'{path}' has a damaged header ({line[:40]!r}); copy it again.")
            if separator and not value.startswith("="):  # which are values of programs, as long as they like
                fields[key.strip().lower()] = value.strip()
        if not fields:
            raise InputError(f"'{path}' is not an NRRD file; check that it is what its name says.")
        expected = nrrd_voxel_bytes(path, fields)
        kinds = fields.get("kinds", "").split()
        for axis, step in enumerate(fields.get("spacings", "").split()):
            # axes that are not in space, as the values of a vector, have no spacing
            if axis >= len(kinds) or kinds[axis] in ("domain", "space"):
                _check_spacing(path, step, "in spacings; correct its header")
        for vector in re.findall(r"\(([^)]*)\)", fields.get("space directions", "")):
            try:
                steps = [float(step) for step in vector.split(",")]
            except ValueError:
                raise InputError(f"'{path}' has unusable space directions; correct its header.") from None
            if not all(map(math.isnan, steps)):  # which stands for an axis that is not in space
                _check_spacing(path, math.hypot(*steps), "in space directions; correct its header")
        elsewhere = {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & fields.keys()
        if elsewhere:
            return
        if fields["encoding"].lower() in ("gzip", "gz"):
            _check_length(path, _inflated_length(stream), expected)
        elif fields["encoding"].lower() == "raw":
            _check_length(path, path.stat().st_size - stream.tell(), expected)


def _header_lines(stream: BinaryIO) -> Iterator[str]:
    """Lines of a text header from the start of a file, which is left behind the last one taken."""
    read = 0
    while read < _HEADER_LIMIT and (line := stream.readline(_HEADER_LIMIT)):
        read += len(line)
        yield line.decode("latin-1").strip()


def _inflated_length(stream: BinaryIO) -> int:
    """Bytes that the zlib or gzip data to the end of a file holds; its checksum is verified on the way."""
    inflate = zlib.decompressobj(wbits=47)  # 32 for either kind, 15 for the largest window
    length = 0
    while not inflate.eof and (chunk := stream.read(_CHUNK)):
        length += len(inflate.decompress(chunk))
    if not inflate.eof:
        raise EOFError("the compressed voxels end too early")
    return length


def _check_spacing(path: Path, step: str | float, where: str) -> None:
    try:
        usable = math.isfinite(float(step)) and float(step) > 0
    except ValueError:
        usable = False
    if not usable:
        step = step if isinstance(step, str) else f"{step:g}"
        raise InputError(f"'{path}' has a spacing of {step} mm {where}.")


def _check_length(path: Path, length: int, expected: int) -> None:
    if length < expected:
        raise InputError(f"'{path}' is truncated: {length:,} of {expected:,} bytes are there; copy it again.")
