"""Standard streams and a working folder that no text, name, full disk or closed pipe can end the program over."""

from __future__ import annotations

import errno
import io
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAMES = ("stdin", "stdout", "stderr")
PIPE_CLOSED, OUTPUT_LOST = 141, 74
"""Exit status where nobody reads the output any more (as the shell says), and where it cannot be written."""


@dataclass
class Console:
    """What became of the streams and the working folder.

    :param failures: "stdout" or "stderr" -> why it cannot be written.
    :param folder_lost: the folder that the program was started in does not exist any more.
    """

    failures: dict[str, OSError] = field(default_factory=dict)
    folder_lost: bool = False

    def status(self, status: int) -> int:
        """A command's exit status, changed where it ended well but its output went nowhere."""
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        failure = self.failures.get("stdout")
        if status or failure is None:
            return status
        if failure.errno in (errno.EPIPE, errno.ECONNRESET, errno.EINVAL):  # Windows calls a closed pipe invalid
            return PIPE_CLOSED
        print(
            f"sam-liver-tumor: error: standard output cannot be written ({failure.strerror}); files named in the "
            "command are complete",
            file=sys.stderr,
        )
        return OUTPUT_LOST


@contextmanager
def any_console() -> Iterator[Console]:
    """Within the block nothing that is printed fails.

    What a console's code page lacks is printed as an escape, such as \\u809d. What a full or closed output does not
    take is dropped, so that the work is done whoever reads along. Missing streams are empty ones, and a working folder
    that is gone is an empty one.
    """
    console = Console()
    before = {name: getattr(sys, name) for name in _NAMES}
    _fill_descriptors()
    folder = _leave_lost_folder()
    console.folder_lost = folder is not None
    try:
        for name in _NAMES:
            setattr(sys, name, _safe(before[name], name, console))
        yield console
    finally:
        for name in _NAMES:
            stream = getattr(sys, name)
            if stream is not before[name]:
                with suppress(OSError, ValueError):
                    stream.flush()
            setattr(sys, name, before[name])
        if folder is not None:
            with suppress(OSError):
                os.chdir(tempfile.gettempdir())
            shutil.rmtree(folder, ignore_errors=True)


def _fill_descriptors() -> None:
    """Occupy closed standard descriptors: the next file to be opened would get their number, and messages with it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)


def _leave_lost_folder() -> str | None:
    """An empty folder that is the working folder now, if that is gone: libraries ask for it."""
    try:
        Path.cwd()
    except OSError:
        folder = tempfile.mkdtemp(prefix="sam-liver-tumor-")
        os.chdir(folder)
        return folder
    return None


def _safe(stream: Any, name: str, console: Console) -> Any:
    if name == "stdin":
        if stream is None or getattr(stream, "closed", False):
            return Path(os.devnull).open(encoding="utf-8")
        _reconfigure(stream, "replace")
        return stream
    if stream is None or getattr(stream, "closed", False):
        return Path(os.devnull).open("w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves the raw stream alone
    if not isinstance(raw, io.RawIOBase) or not hasattr(stream, "line_buffering"):
        _reconfigure(stream, "backslashreplace")  # of a test or another program
        return stream
    with suppress(OSError, ValueError):
        stream.flush()
    safe = _Surviving(raw, name, console)
    return io.TextIOWrapper(
        safe if buffer is raw else io.BufferedWriter(safe),
        encoding=stream.encoding,
        errors="backslashreplace",
        newline=None,
        line_buffering=stream.line_buffering or name == "stderr",
        write_through=buffer is raw,
    )


def _reconfigure(stream: Any, errors: str) -> None:
    if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors=errors)


class _Surviving(io.RawIOBase):
    """A raw stream that drops what cannot be written, from the first failure on."""

    def __init__(self, raw: io.RawIOBase, name: str, console: Console):
        self._raw, self._name, self._console = raw, name, console

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self._name not in self._console.failures:
            try:
                written = self._raw.write(view[done:])
                if written is None:  # somebody else has made the terminal non-blocking
                    select.select([], [self._raw], [], 1.0)
                done += written or 0
            except OSError as error:
                self._console.failures[self._name] = error
            except ValueError:  # closed meanwhile
                self._console.failures[self._name] = OSError(errno.EBADF, os.strerror(errno.EBADF))
        return len(view)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        try:
            return self._raw.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        return self._raw.fileno()
