"""`read_dataset`: pydicom's reader, kept from inflating what would fill the memory."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError

if TYPE_CHECKING:
    import pydicom

# Bytes that any deflated file may hold: a segmentation, nearly all zeros, shrinks a thousandfold, as a bomb does.
_SMALL = 256 << 20
# Above that: bytes out of one byte. CT images shrink to a half or a third.
_MAX_RATIO = 200
# Lengths in DICOM have 32 bits.
_MOST = 1 << 32

_BLOCK = 1 << 20

# Bytes of a value above which the file is asked whether it has as many.
_MUCH = 1 << 20


def read_dataset(source: Path | bytes, name: str = "", **options) -> pydicom.FileDataset:
    """A DICOM file, or its content, as pydicom reads it.

    :param name: what messages call it; the path by default.
    :param options: of `pydicom.dcmread`.
    :raises InputError: a deflated file that would unpack to more than an honest one; nothing of it is unpacked.
    :raises Exception: of any kind, as pydicom answers damage.
    """
    import pydicom

    stream = _Content(source) if isinstance(source, bytes) else _File(source.open("rb", buffering=0))
    stream.shown = name or str(source)
    with stream:
        return pydicom.dcmread(stream, **options)


class _Watched:
    """Gives its rest away only if that can be inflated: pydicom asks for a rest at once to do just that."""

    shown = ""

    def read(self, size: int | None = -1) -> bytes:
        content: bytes = super().read(size)  # type: ignore[misc]  # of the stream that it is mixed into
        if size is None or size < 0:
            _check_inflated(content, self.shown)
        return content


class _File(_Watched, io.BufferedReader):
    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MUCH:
            # memory is taken for all that is asked for, and damage asks for 4 GB
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


class _Content(_Watched, io.BytesIO):
    pass


def _check_inflated(content: bytes, shown: str) -> None:
    """Inflate block by block and keep none of it.

    :raises InputError: it becomes too large.
    """
    allowed = min(max(_SMALL, _MAX_RATIO * len(content)), _MOST)
    inflate, held, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, content
    try:
        while not inflate.eof and (block := inflate.decompress(rest, _BLOCK)):
            held, rest = held + len(block), inflate.unconsumed_tail
            if held > allowed:
                raise InputError(
                    f"'{shown}' has {len(content) / 2**20:.1f} MB and would unpack to more than {allowed >> 20} MB, as "
                    "no honest file does: refused."
                )
    except zlib.error:
        return  # pydicom meets it too, and says so
