"""What an image file's header promises, checked because ITK reads past it in silence.

Seen with SimpleITK 2.5: a truncated NIfTI file gives a full-size image with garbage in the missing part, and
a spacing of zero or NaN becomes 1 mm. Both would put a wrong tumor volume into a report.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

from SAMLiverTumorLib.errors import InputError

_CHUNK = 1 << 22


def check_header(path: Path) -> None:
    """Refuse an image file whose spacing is unusable or whose voxels are not all there.

    NIfTI and MetaImage are checked here; the NRRD reader itself refuses both.

    :raises InputError: naming the file and what is wrong with it.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
    elif name.endswith((".mha", ".mhd")):
        _check_metaimage(path)


def _check_nifti(path: Path) -> None:
    opener = gzip.open if path.name.lower().endswith(".gz") else Path.open
    try:
        with opener(path, "rb") as stream:
            header = stream.read(348)
            dimensions, spacing, voxel_bits, offset = _nifti_fields(path, header)
            length = len(header)
            while chunk := stream.read(_CHUNK):
                length += len(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"'{path}' is truncated or damaged ({error}); copy it again.") from error
    for axis, step in zip("ijk", spacing, strict=False):
        if not math.isfinite(step) or step <= 0:
            raise InputError(f"'{path}' has a spacing of {step:g} mm along {axis}; correct its header.")
    expected = offset + math.prod(max(d, 1) for d in dimensions) * voxel_bits // 8
    if length < expected:
        raise InputError(f"'{path}' is truncated: {length:,} of {expected:,} bytes are there; copy it again.")


def _nifti_fields(path: Path, header: bytes):
    """(dimensions, spacing of the first three, bits per voxel, offset of the voxels)."""
    if len(header) == 348:
        for order in "<>":
            if struct.unpack_from(order + "i", header, 0)[0] == 348:
                rank, *dimensions = struct.unpack_from(order + "8h", header, 40)
                rank = min(max(rank, 1), 7)
                spacing = struct.unpack_from(order + "8f", header, 76)[1 : min(rank, 3) + 1]
                bits = struct.unpack_from(order + "h", header, 72)[0]
                offset = struct.unpack_from(order + "f", header, 108)[0]
                return dimensions[:rank], spacing, bits, int(offset) if 0 <= offset < 1 << 30 else 352
        if struct.unpack_from("<i", header, 0)[0] == 540 or struct.unpack_from(">i", header, 0)[0] == 540:
            raise InputError(f"'{path}' is a NIfTI-2 file; save it as NIfTI-1, NRRD or MHA.")
    raise InputError(f"'{path}' is not a NIfTI file; check that it is what its name says.")


def _check_metaimage(path: Path) -> None:
    with path.open("rb") as stream:
        text = stream.read(1 << 14).decode("latin-1")
    for line in text.splitlines():
        key, _, value = line.partition("=")
        key = key.strip()
        if key in ("ElementSpacing", "ElementSize"):
            for step in value.split():
                try:
                    usable = math.isfinite(float(step)) and float(step) > 0
                except ValueError:
                    usable = False
                if not usable:
                    raise InputError(f"'{path}' has a spacing of {step} mm; correct {key} in its header.")
        if key == "ElementDataFile":
            return
