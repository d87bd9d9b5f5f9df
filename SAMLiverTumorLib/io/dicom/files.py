"""Which DICOM images a folder holds: one `Frame` for each two-dimensional image, read from headers alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.parse import read_dataset
from SAMLiverTumorLib.io.dicom.slices.frames import TAGS, Frame, frame_of
from SAMLiverTumorLib.io.dicom.slices.header_values import number_of

_Parsed = TypeVar("_Parsed")

# Of the files in a DICOM folder that are no images, those that belong there.
_NO_IMAGES = ("DICOMDIR", "VERSION", "LOCKFILE")

# Objects with pixels that are no images of a scanner, though they lie beside them.
_DERIVED = ("Segmentation Storage", "Label Map Segmentation Storage", "RT Dose Storage", "Parametric Map Storage")

# No scanner makes more; damaged headers name billions.
_MOST_FRAMES = 1 << 16


@dataclass(frozen=True)
class Found:
    """What a folder, or a file, holds: the images, and how many other DICOM objects by kind."""

    frames: tuple[Frame, ...]
    others: tuple[str, ...]


def is_dicom(file: Path) -> bool:
    """Whether a file begins as DICOM files do, or as those do that were saved without their preamble."""
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise InputError(f"'{file}' cannot be read: {error.strerror or error}.") from error
    if start[128:] == b"DICM" or file.suffix.lower() in (".dcm", ".ima"):
        return True
    # without the preamble a file begins with group 2 or 8 in either byte order, and an element below 0x100
    return len(start) == 132 and start[:4] in _FIRST_TAGS


_FIRST_TAGS = {
    bytes(tag)
    for group in (2, 8)
    for element in range(0x20)
    for tag in ((group, 0, element, 0), (0, group, 0, element))
}


def find_frames(path: Path) -> Found:
    """The images of one file, or of a folder and the folders in it.

    :raises InputError: a file that is damaged; what it should hold cannot be known, so nothing is read without it.
    """
    files = sorted(_files(path)) if path.is_dir() else [path]
    frames: list[Frame] = []
    others: list[str] = []
    for file in files:
        if path.is_dir() and (file.name.upper() in _NO_IMAGES or not is_dicom(file)):
            continue
        found = _parsed(file, _frames_of)
        if isinstance(found, str):
            others.append(found)
        else:
            frames.extend(found)
    return Found(tuple(frames), tuple(others))


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            if (file := Path(where, name)).is_file():
                yield file


def _parsed(file: Path, take: Callable[[Path, Any], _Parsed]) -> _Parsed:
    """What `take` makes of a file's header.

    :raises InputError: whatever goes wrong in it: pydicom answers damaged bytes with any kind of exception, and reads
        values only when they are asked for.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # force: GDCM, and so Slicer, also reads files without the preamble
            return take(file, read_dataset(file, stop_before_pixels=True, force=True, specific_tags=TAGS))
    except InputError:
        raise
    except Exception as error:  # MemoryError too: headers are small, but what damage takes for a length is not
        raise InputError(f"'{file}' is damaged: {_one_line(error)}; copy it again.") from error


def _frames_of(file: Path, header) -> list[Frame] | str:
    """The images in a file, or what kind of other object it is."""
    # a DICOMDIR names its kind in the meta information alone
    kind = header.get("SOPClassUID") or getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", "")
    name = getattr(kind, "name", "") or str(kind)
    if header.get("Rows") is None or header.get("Columns") is None:
        # reports and presentation states may lie beside the images
        if not name or "Image" in name:
            raise InputError(f"'{file}' is damaged or holds no image; copy it again, or remove it from the folder.")
        return name
    if name in _DERIVED:
        return name
    count = int(number_of(header, "NumberOfFrames")[0] or 1)
    if count > _MOST_FRAMES:
        raise InputError(f"'{file}' is damaged: it names {count:,} frames; copy it again.")
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    if count < 1 or (per_frame and len(per_frame) != count):
        raise InputError(f"'{file}' is damaged: it names {count} frames and describes {len(per_frame)}; copy it again.")
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), None)
    return [frame_of(file, header, n, count, per_frame[n] if per_frame else None, shared) for n in range(count)]


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
