"""Size and SHA-256 of weight files, and disk errors in plain words."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import ModelError, OutputError
from SAMLiverTumorLib.models.registry import ModelInfo

BLOCK = 1 << 20

# SHA-256 by (path, size, mtime in ns), for this process: hashing SAM ViT-H takes seconds and need not be repeated
# each time a model is loaded. Nothing is written to disk, where it could outlive a change it did not see.
_known: dict[tuple[str, int, int], str] = {}


def file_sha256(path: Path, cancel: Callable[[], bool] | None = None, fresh: bool = False) -> str:
    """SHA-256 of a file as hexadecimal digits; computed once while the file stays as it is.

    :param fresh: compute it in any case: for a file just rewritten, whose mtime may not have moved (a tick of the
        file system's clock lasts 4 ms to 2 s).
    :raises OSError: the file cannot be read.
    :raises Cancelled: `cancel` answers true.
    """
    key = _key(path)
    if fresh or key not in _known:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                raise_if_cancelled(cancel)
                digest.update(block)
        _known[key] = digest.hexdigest()
    return _known[key]


def check_file(path: Path, info: ModelInfo, cancel: Callable[[], bool] | None = None) -> None:
    """Make sure that a file is the model's published weight file, byte for byte.

    :raises ModelError: it is missing, unreadable, or of another size or SHA-256.
    :raises Cancelled: `cancel` answers true.
    """
    try:
        size = path.stat().st_size
        if size != info.size:
            raise ModelError(
                f"{path} is not the weight file of {info.title}: it has {size:,} bytes, not {info.size:,}."
            )
        digest = file_sha256(path, cancel)
    except OSError as error:
        raise ModelError(f"The weight file {path} of {info.title} cannot be read: {error.strerror}.") from error
    if digest != info.sha256:
        raise ModelError(
            f"{path} is not the weight file of {info.title}: its SHA-256 is {digest}, the published one {info.sha256}."
        )


def move_into_place(source: Path, target: Path) -> None:
    """Rename a checked file; what is known of its contents goes with it."""
    known = _known.pop(_key(source), None)
    source.replace(target)
    if known is not None:
        _known[_key(target)] = known


def human_size(size: int) -> str:
    """Bytes as people read them: "39.4 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Report disk errors in plain words.

    :raises OutputError: instead of any OSError inside the block.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
        cause = "the disk is full" if full else error.strerror or str(error)
        raise OutputError(
            f"The model store {folder} cannot be written: {cause}. "
            "Free some space there or name another folder in the environment variable SAM_LIVER_TUMOR_MODELS."
        ) from error


def _key(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns
