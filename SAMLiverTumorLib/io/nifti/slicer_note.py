"""What Slicer does not say of a NIfTI file that it loaded: that its header contradicts itself, or says no place."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.formats.content import NIFTI, image_kind
from SAMLiverTumorLib.io.nifti.place import place_of
from SAMLiverTumorLib.io.nifti.reader import header_of


def slicer_note(path: Path) -> str:
    """What to tell the user of a volume in the scene, by the file that it was loaded from.

    Only the header is read, and once for each state of the file.

    :param path: the file, which may be gone or of any kind.
    :return: empty where nothing is to say.
    """
    try:
        state = path.stat()
    except (OSError, ValueError):
        return ""
    return _note(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _note(path: Path, changed: int, size: int) -> str:
    try:
        if image_kind(path) != NIFTI:
            return ""
        header = header_of(path)
    except (InputError, OSError, EOFError, zlib.error):
        return ""
    try:
        return " ".join(place_of(header, path)[1])
    except InputError as error:
        return str(error)
