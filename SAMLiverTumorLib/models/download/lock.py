"""A lock file that the operating system releases even when its holder is killed."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.models.download.background import POLL_SECONDS

# Some network drives know no locks. Two fetches at once are rare there and the hash is checked in any case.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, getattr(errno, "ENOTSUP", errno.ENOSYS))


@contextmanager
def locked(path: Path, cancel: Callable[[], bool] | None = None) -> Iterator[None]:
    """Hold the lock file `path`; wait while another thread or process holds it.

    :raises Cancelled: `cancel` answers true while waiting.
    :raises OSError: the file cannot be made.
    """
    file = _take(path)
    while file is None:
        raise_if_cancelled(cancel)
        time.sleep(POLL_SECONDS)
        file = _take(path)
    try:
        yield
    finally:
        if sys.platform == "win32":
            file.close()
            with suppress(OSError):  # the next holder has it open already
                path.unlink()
        else:
            # Before the release: who was waiting for this file sees that it is gone and makes a new one.
            path.unlink(missing_ok=True)
            file.close()


def is_held(path: Path) -> bool:
    """Whether a living process or thread holds the lock file."""
    if not path.exists():
        return False
    file = _take(path)
    if file is None:
        return path.exists()
    file.close()
    return False


def _take(path: Path) -> IO[bytes] | None:
    try:
        file = path.open("ab")
    except PermissionError:
        if sys.platform == "win32" and path.exists():  # being deleted by the last holder
            return None
        raise
    try:
        _lock(file)
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return file
        file.close()
        raise
    file.close()
    return None


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
