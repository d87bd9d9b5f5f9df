"""Embeddings on disk, so that nothing is encoded again after a scene is reopened.

An embedding has no name or number of a patient, but it derives from a patient's pixels. So only the user can read the
folder, it stays on this computer, and SAM_LIVER_TUMOR_CACHE=off keeps it empty.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.models.download.store import user_cache_folder

VARIABLE = "SAM_LIVER_TUMOR_CACHE"
_OFF = ("off", "no", "0")
_MAGIC = b"SAM-LT embedding 1\n"
_SUFFIX = ".embedding"
_CAPACITY_BYTES = 4 << 30
# Greatest share of the free disk space, where the cache's own files count as free.
_SHARE_OF_DISK = 0.1
# Temporary files of killed writers are removed when they are older than this, or dated as far in the future.
_STALE_SECONDS = 3600
# The folder is swept once per so many new entries.
_SWEEP_EVERY = 16


class DiskCache:
    """A least-recently-used cache of arrays in a folder, which several processes may share.

    Files are put in place only when complete, and checked against their SHA-256 when read. Damaged ones are removed and
    count as absent. No error here makes a segmentation fail: a folder that cannot be written stays empty.

    :param root: the folder; made with the first entry.
    :param capacity_bytes: bound on the size of all files; a tenth of the free disk space if that is less.
    """

    def __init__(self, root: Path, capacity_bytes: int = _CAPACITY_BYTES) -> None:
        self.root, self.capacity_bytes = Path(root), capacity_bytes
        self._written = 0

    def get(self, key: str) -> np.ndarray | None:
        """The array of a key, or None; marks it as used now."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        array = _parse(data, key)
        with suppress(OSError):
            if array is None:
                path.unlink()
            else:
                os.utime(path)
        return array

    def put(self, key: str, array: np.ndarray) -> bool:
        """Store an array; whether that succeeded."""
        temporary = None
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            # readable by its user only
            handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.root)
            with os.fdopen(handle, "wb") as stream:
                stream.writelines(_pack(key, array))
            Path(temporary).replace(self._path(key))
        except OSError:
            if temporary is not None:
                with suppress(OSError):
                    Path(temporary).unlink()
            return False
        if self._written % _SWEEP_EVERY == 0:
            self.sweep()
        self._written += 1
        return True

    def sweep(self) -> None:
        """Remove the oldest entries beyond the bound, and temporary files of killed writers."""
        entries = []
        now = time.time()
        with suppress(OSError):
            for entry in os.scandir(self.root):
                with suppress(OSError):  # another process removed it
                    status = entry.stat()
                    if entry.name.endswith(_SUFFIX):
                        entries.append((status.st_mtime, status.st_size, entry.path))
                    elif entry.name.endswith(".tmp") and abs(now - status.st_mtime) > _STALE_SECONDS:
                        Path(entry.path).unlink()
        total = sum(size for _, size, _ in entries)
        bound = self.capacity_bytes
        with suppress(OSError):
            bound = min(bound, int(_SHARE_OF_DISK * (shutil.disk_usage(self.root).free + total)))
        for _, size, path in sorted(entries):
            if total <= bound:
                break
            with suppress(OSError):
                Path(path).unlink()
            total -= size

    def clear(self) -> None:
        """Remove every entry."""
        for path in self.root.glob(f"*{_SUFFIX}"):
            with suppress(OSError):
                path.unlink()

    def _path(self, key: str) -> Path:
        return self.root / f"{hashlib.sha256(key.encode()).hexdigest()}{_SUFFIX}"


def default_disk_cache() -> DiskCache | None:
    """The user's cache, in the folder of SAM_LIVER_TUMOR_CACHE or the user's cache folder; None if switched off."""
    named = os.environ.get(VARIABLE, "")
    if named.lower() in _OFF:
        return None
    return DiskCache(Path(named).expanduser().absolute() if named else user_cache_folder() / "embeddings")


def _pack(key: str, array: np.ndarray) -> list[bytes]:
    payload = np.ascontiguousarray(array).tobytes()
    header = {
        "key": key,
        "dtype": array.dtype.str,
        "shape": array.shape,
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    return [_MAGIC, json.dumps(header).encode() + b"\n", payload]


def _parse(data: bytes, key: str) -> np.ndarray | None:
    """The array in a file's bytes; None unless it is complete and of this key."""
    try:
        if not data.startswith(_MAGIC):
            return None
        end = data.index(b"\n", len(_MAGIC))
        header = parse_json(data[len(_MAGIC) : end])
        payload = memoryview(data)[end + 1 :]
        if header["key"] != key or hashlib.sha256(payload).hexdigest() != header["sha256"]:
            return None
        return np.frombuffer(payload, np.dtype(header["dtype"])).reshape(header["shape"])
    except (ValueError, KeyError, TypeError):
        return None
