"""File names of any bytes: C++ libraries get another name for the file, and a way round for its folder.

Python holds names that are no UTF-8 (of a zip packed on Windows, say) with surrogates. SimpleITK ends the process over
them, and with it Slicer's unsaved scene; VTK raises errors of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SAMLiverTumorLib.errors import InputError, OutputError


def is_plain(text: str | Path) -> bool:
    """Whether C++ libraries can be given a name.

    >>> is_plain("Müller"), is_plain("M\\udcfcller")
    (True, False)
    """
    try:
        str(text).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def readable_name(path: Path) -> Iterator[Path]:
    """A name for an existing file that C++ libraries can be given: its own, or that of a link to it.

    :raises InputError: there is no way to link it.
    """
    if is_plain(path):
        yield path
        return
    folder = Path(tempfile.mkdtemp())
    try:
        try:
            (folder / "files").symlink_to(path.resolve().parent, target_is_directory=True)
            link = folder / "files" / path.name
            if not is_plain(path.name):
                link = folder / _plain_name(path.name)
                link.symlink_to(path.resolve())
        except OSError as error:
            raise InputError(f"'{path}' has a name that is not UTF-8; rename the file or its folder.") from error
        yield link
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writable_name(path: Path) -> Iterator[Path]:
    """A name to write a file under that C++ libraries can be given; the file is at `path` in the end.

    :param path: in a folder that exists.
    :raises OutputError: there is no way to link the folder, or to rename the file.
    """
    if is_plain(path):
        yield path
        return
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "files").symlink_to(path.resolve().parent, target_is_directory=True)
        written = folder / "files" / _plain_name(path.name)
        yield written
        if written.name != path.name and written.exists():
            written.replace(folder / "files" / path.name)
    except OSError as error:
        raise OutputError(f"'{path}' has a name that is not UTF-8, and cannot be written; choose another.") from error
    finally:
        # the link goes, never what it leads to
        (folder / "files").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _plain_name(name: str) -> str:
    """The ASCII part of a name, its endings included.

    >>> _plain_name("M\\udcfcller.seg.nrrd")
    'Mller.seg.nrrd'
    """
    plain = name.encode("ascii", "ignore").decode()
    return plain if plain.strip(".") and not plain.startswith(".") else f"file{plain}"
