"""The sandbox of a fuzzed reader: its own home, a watched folder tree, limited memory, no network, no programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 4 << 30
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "urllib.Request", "os.fork")


class Escape(Exception):
    """A reader did something that no file may cause."""


def prepare(root: Path) -> None:
    """Point home, temporary folder and caches into a folder; call it before the product is imported."""
    for name in ("home", "tmp", "in", "out", "work"):
        (root / name).mkdir(parents=True, exist_ok=True)
    os.environ.update(
        HOME=str(root / "home"),
        XDG_CACHE_HOME=str(root / "home" / "cache"),
        TMPDIR=str(root / "tmp"),
        SAM_LIVER_TUMOR_CACHE="off",
        SAM_LIVER_TUMOR_MODELS=str(root / "home" / "models"),
    )
    os.chdir(root / "work")


def limit_memory() -> int:
    """Limit this process to 4 GB plus what is mapped but unused; the limit of its address space in bytes."""
    import resource

    pages = Path("/proc/self/statm").read_text().split()
    unused = (int(pages[0]) - int(pages[1])) * resource.getpagesize()
    most = MOST_BYTES + unused
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return most


class Watch:
    """Detects files that appear outside `out`, and programs and connections that are started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: set[str] = set()
        self._seen: list[str] = []
        self._active = False
        self._mine = os.getpid()
        sys.addaudithook(self._audit)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is done in the block.

        :raises Escape: naming what was done.
        """
        self._before, self._seen, self._active = self._tree(), [], True
        try:
            yield
        finally:
            self._active = False
        new = sorted(self._tree() ^ self._before)
        if new or self._seen:
            raise Escape("; ".join([*self._seen, *(f"appeared or vanished: {name}" for name in new)]))

    def _tree(self) -> set[str]:
        found = set()
        for folder, folders, files in os.walk(self.root):
            if Path(folder) == self.root and "out" in folders:
                folders.remove("out")
            found.update(str((Path(folder) / name).relative_to(self.root)) for name in (*folders, *files))
        return found

    def _audit(self, event: str, arguments: tuple) -> None:
        if not self._active or os.getpid() != self._mine:
            return
        if event in _NEVER:
            self._seen.append(f"{event} {arguments!r}"[:200])
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            flags = arguments[2] or 0
            if flags & _WRITING and not self._allowed(arguments[0]):
                self._seen.append(f"opened for writing: {arguments[0]!r}")
        elif event in _CHANGES and not self._allowed(_in_folder(event, arguments)):
            self._seen.append(f"{event} {arguments!r}"[:200])

    def _allowed(self, path) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True
        full = str(Path(os.fsdecode(path)).absolute())
        inside = (self.root / name for name in ("out", "tmp", "in"))
        return full == os.devnull or any(
            full.startswith(f"{folder}{os.sep}") or full == str(folder) for folder in inside
        )


def _in_folder(event: str, arguments: tuple) -> object:
    """The path of a change; shutil removes folders by names relative to an open folder."""
    path, folder = arguments[0], arguments[-1]
    if event in ("os.remove", "os.rmdir", "os.mkdir") and isinstance(folder, int) and folder >= 0:
        return Path(f"/proc/self/fd/{folder}").readlink() / os.fsdecode(path)
    return path
