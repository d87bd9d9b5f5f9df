"""The files of a DICOM series that lies in a zip file, or in a case of 3D-IRCADb, as it is delivered."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.folder_types import File, Folder
from SAMLiverTumorLib.io.folders import open_folder
from SAMLiverTumorLib.io.safe_archive import is_zip

PATIENT = "PATIENT_DICOM"
"""The folder of a case of 3D-IRCADb with the CT; the others hold labels."""

_DEEPEST = 3


def is_place(path: Path) -> bool:
    """Whether there is such a file or folder, on the disk or in a zip file."""
    return path.exists() or any(is_zip(part.name) and part.is_file() for part in path.parents)


@contextmanager
def files_on_disk(path: Path) -> Iterator[Path]:
    """A folder or file on the disk with the series: `path` itself, or a temporary folder while it lies in a zip file.

    :param path: of a folder, DICOM file or zip file, or one that leads into a zip file.
    :raises InputError: the archive is refused.
    :raises OutputError: there is no room to unpack it.
    """
    if path.is_file() and not is_zip(path.name):
        yield path
        return
    folder = open_folder(path)
    patient = _patient(folder, _DEEPEST)
    if patient is None and path.is_dir():
        yield path
        return
    chosen = patient or folder
    if Path(chosen.shown).is_dir():
        yield Path(chosen.shown)
        return
    with tempfile.TemporaryDirectory(prefix="sam-liver-tumor-") as made:
        # numbers, since names in archives may be anything; and they say nothing about where a slice lies
        for number, file in enumerate(_files(chosen, _DEEPEST)):
            try:
                Path(made, f"{number:06}").write_bytes(file.read())
            except OSError as error:
                raise OutputError(f"'{path}' cannot be unpacked ({error.strerror}); free some space.") from error
        yield Path(made)


def _patient(folder: Folder, depth: int) -> Folder | None:
    """The CT of the one case of 3D-IRCADb that a folder is or holds.

    :raises InputError: it holds several.
    """
    for name, each in folder.folders.items():
        if name.upper() == PATIENT:
            return each
    if not depth or folder.files:
        return None
    # other people's archives are none of our business, unless one was named
    inside = (each for name, each in folder.folders.items() if not is_zip(each.shown) or "ircad" in name.lower())
    found = [patient for each in inside if (patient := _patient(each, depth - 1)) is not None]
    if len(found) > 1:
        raise InputError(f"'{folder.shown}' holds {len(found)} cases of 3D-IRCADb; name one of them.")
    return found[0] if found else None


def _files(folder: Folder, depth: int) -> Iterator[File]:
    yield from folder.files.values()
    for each in folder.folders.values() if depth else ():
        yield from _files(each, depth - 1)
