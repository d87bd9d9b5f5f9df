"""Embeddings in memory, so that a plane is encoded once however often it is prompted."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache

T = TypeVar("T")

_BEFORE_DISK_BYTES, _WITHOUT_DISK_BYTES = 1 << 26, 1 << 29


class EmbeddingCache:
    """Least-recently-used cache bounded in bytes; safe to use from several threads.

    The newest entry stays even if it alone is larger than the bound, because it is being prompted.

    Keys are hashes of content (pixels, spacing, model hash), so no entry becomes invalid when a volume, window or model
    changes.

    :param capacity_bytes: an embedding takes 5 MiB, or 2 MiB without finer features. The default is 64 MiB with a disk
        cache, so that memory does not grow with the volume; 512 MiB without one.
    :param disk: second level, which predictors read and write.
    """

    def __init__(self, capacity_bytes: int | None = None, disk: DiskCache | None = None) -> None:
        if capacity_bytes is None:
            capacity_bytes = _WITHOUT_DISK_BYTES if disk is None else _BEFORE_DISK_BYTES
        self.capacity_bytes, self.disk = capacity_bytes, disk
        self._entries: OrderedDict[str, tuple[object, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get_or_make(self, key: str, make: Callable[[], T], size_of: Callable[[T], int]) -> T:
        """The entry of `key`, made by `make()` if there is none; the least recently used entries are removed."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][0]
        value = make()  # outside the lock: encoding takes seconds
        size = size_of(value)
        with self._lock:
            if key not in self._entries:
                self._entries[key] = (value, size)
                self._bytes += size
            while self._bytes > self.capacity_bytes and len(self._entries) > 1:
                _, (_, freed) = self._entries.popitem(last=False)
                self._bytes -= freed
        return value

    def clear(self) -> None:
        """Remove every entry."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Size of all entries in bytes."""
        return self._bytes


def image_key(rgb: np.ndarray, spacing: tuple[float, float], model_sha256: str) -> str:
    """Key of an embedding: SHA-256 over the slice image, its pixel spacing (mm) and the model's hash."""
    digest = hashlib.sha256(f"{model_sha256} {rgb.shape} {spacing[0]:.6g} {spacing[1]:.6g}".encode())
    digest.update(np.ascontiguousarray(rgb))
    return digest.hexdigest()
