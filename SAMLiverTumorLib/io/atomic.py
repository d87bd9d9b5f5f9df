"""Outputs appear whole or not at all, and an old file stays intact until the new one is complete."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from SAMLiverTumorLib.errors import InputError, OutputError

TEMPORARY_PREFIX = ".sam-liver-tumor-"
"""What names of temporary folders begin with."""

_STALE_SECONDS = 86_400

_ADVICE = {
    errno.ENOSPC: "free some space on that disk, or choose another",
    errno.EDQUOT: "your disk quota is used up; free some space, or choose another folder",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "the disk is read-only; choose another folder",
}


def check_output(path: Path | str, overwrite: bool = False) -> Path:
    """Refuse, before any work is done for it, a file that could not be written.

    :return: the file itself where `path` is a symbolic link to it.
    :raises OutputError: the file exists and `overwrite` is False, it is a folder or device, or its folder
        does not exist.
    """
    path = Path(path)
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise OutputError(f"'{path}' exists and is not a file; choose another name.")
        if target.exists() and not overwrite:
            raise OutputError(f"'{path}' exists already; choose another name, or add --overwrite to replace it.")
        if not target.parent.is_dir():
            raise OutputError(f"Folder '{target.parent}' does not exist; create it first, or choose another.")
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, in Python before 3.13
        raise OutputError(f"'{path}' cannot be written ({error}); choose another name.") from error
    return target


@contextmanager
def atomic_path(path: Path | str, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes `path` when the block ends without an error.

    The temporary file has the very name of the output, in a hidden folder beside it: writers that choose
    the format by the suffix (`.seg.nrrd`), or put the name into the file (`.mrb`, gzip), work as if they
    wrote the output itself, and the final move stays on one disk. The folder is removed in any case.

    :param path: the output file; its folder has to exist.
    :param overwrite: replace an existing file.
    :raises OutputError: as `check_output`; or the block, or the final move, raised an OSError (disk full,
        no permission), or the block wrote nothing, or an image or scene not whole. An existing file is then as it was.

    >>> with atomic_path("report.json", overwrite=True) as temporary:
    ...     _ = temporary.write_text("{}")
    """
    target = check_output(path, overwrite)
    _sweep(target.parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=target.parent))
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        temporary = folder / target.name
        yield temporary
        if not temporary.is_file():
            raise OutputError(f"'{path}' was not written: nothing came out of the writer.")
        _flush(temporary)
        _check_whole(temporary, path)
        check_output(path, overwrite)
        temporary.replace(target)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder to fill, which becomes the folder `path` when the block ends without an error.

    It lies beside `path`, with a name that begins with `TEMPORARY_PREFIX`, and is readable by the user alone, as is
    what becomes of it. It is removed in any case; only a process that is killed leaves it behind.

    :param path: the folder to make; the one that it lies in has to exist.
    :raises OutputError: `path` exists; or the block, or the final move, raised an OSError (disk full, no permission).

    >>> with atomic_folder("case-1") as temporary:                                         # doctest: +SKIP
    ...     _ = (temporary / "case.json").write_text("{}")
    """
    target = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=target.parent))
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        yield folder
        for file in folder.rglob("*"):
            if file.is_file():
                _flush(file)
        if target.exists():
            raise OutputError(f"'{path}' exists already; choose another name.")
        folder.rename(target)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder a day ago or before, or in the future."""
    now = time.time()
    with suppress(OSError):
        for left in folder.glob(f"{TEMPORARY_PREFIX}*"):
            if abs(now - left.stat().st_mtime) > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until the file is on the disk: network disks tell only then that they are full."""
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _check_whole(temporary: Path, path: Path | str) -> None:
    """Writers of Slicer and ITK say that all is well where the disk took a part of an image, or nothing of it."""
    from SAMLiverTumorLib.io.headers import check_header  # with NumPy, which the model store has to do without

    try:
        check_header(temporary)
        if temporary.suffix.lower() == ".mrb" and (not zipfile.is_zipfile(temporary) or _first_damaged(temporary)):
            raise InputError("it is no whole archive")
    except InputError as error:
        raise OutputError(
            f"'{path}' was not written whole ({str(error).replace(str(temporary), str(path))}); if the disk is full, "
            "free some space, or choose another."
        ) from error


def _first_damaged(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _output_error(path: Path | str, error: OSError) -> OutputError:
    advice = _ADVICE.get(error.errno or 0, "check the disk, or choose another folder")
    return OutputError(f"'{path}' cannot be written ({error.strerror or error}): {advice}.")
