"""What a file is by its bytes, since names lie: compressed or not, NIfTI, NRRD, MetaImage, or something else."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from SAMLiverTumorLib.errors import InputError

NIFTI, NRRD, METAIMAGE = "NIfTI", "NRRD", "MetaImage"

_ENDINGS = {
    NIFTI: (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"),
    NRRD: (".nrrd", ".nhdr"),
    METAIMAGE: (".mha", ".mhd"),
}
_GZIP = b"\x1f\x8b"

# Deflate makes no more of a byte.
_MOST_INFLATED = 1032

# What people have under the name of an image, by the first bytes, and what to do about it.
_OTHERS = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; get it with `git lfs pull`",
    b"<!DOCTYPE": "a web page; download the file again",
    b"<html": "a web page; download the file again",
    b"%PDF": "a PDF",
}


@contextmanager
def open_unzipped(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, unzipped where they are gzip's, once or twice, whatever its name says.

    :raises OSError, EOFError, zlib.error: it cannot be opened, or is damaged.
    """
    with path.open("rb") as file:
        stream: BinaryIO = file
        for _ in range(2):
            head = stream.read(2)
            stream.seek(0)
            if head != _GZIP:
                break
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb"))
        yield stream


def most_bytes(path: Path) -> int:
    """More bytes than these `open_unzipped` cannot give, whatever a header says of them."""
    with path.open("rb") as file:
        layers, stream = 0, cast(BinaryIO, file)
        while layers < 2 and stream.read(2) == _GZIP:
            stream.seek(0)
            stream, layers = cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb")), layers + 1
    return path.stat().st_size * _MOST_INFLATED**layers


def is_gzipped(path: Path) -> bool:
    """Whether the file's bytes are gzip's."""
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def image_kind(path: Path) -> str:
    """`NIFTI`, `NRRD` or `METAIMAGE` by content, else by ending; empty for what is none of them.

    :raises InputError: it is an archive, a web page or the like, naming it.
    :raises OSError, EOFError, zlib.error: it cannot be opened, or is damaged.
    """
    by_name = next((kind for kind, endings in _ENDINGS.items() if path.name.lower().endswith(endings)), "")
    with open_unzipped(path) as stream:
        head = stream.read(1024)
    if head[:4] == b"NRRD":
        return NRRD
    if re.match(rb"\s*(ObjectType|NDims|Comment)\s*=", head):
        return METAIMAGE
    if len(head) >= 348 and {struct.unpack("<i", head[:4])[0], struct.unpack(">i", head[:4])[0]} & {348, 540}:
        return NIFTI
    if by_name:
        for begin, what in _OTHERS.items():
            if head[: len(begin)].lower() == begin.lower():
                raise InputError(f"'{path}' is not a {by_name} file: it is {what}.")
        if not head:
            raise InputError(f"'{path}' is not a {by_name} file: it is empty; copy it again.")
    return by_name
