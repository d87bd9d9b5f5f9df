"""Folders on the disk and in zip files, nested ones too, under one interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io import safe_archive
from SAMLiverTumorLib.io.folder_types import File, Folder


def open_folder(path: str | Path) -> Folder:
    """A folder, a zip file, or a folder within one (`set.zip/3Dircadb1.1`).

    :raises InputError: there is no such thing, or the archive is refused.
    """
    path = Path(path)
    inner: list[str] = []
    place = path
    while not place.exists() and place != place.parent:
        inner.insert(0, place.name)
        place = place.parent
    try:
        if place.is_dir() and not inner:
            return DiskFolder(place)
        if not place.is_file() or not safe_archive.is_zip(place.name):
            raise InputError(f"'{path}' is neither a folder nor a zip file; check the path.")
        folder: Folder = safe_archive.archive_on_disk(place)
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened ({error.strerror or error}); check the path.") from error
    for name in inner:
        found = folder.folders.get(name) or folder.folders.get(name[:-4] if safe_archive.is_zip(name) else name)
        if found is None:
            raise InputError(f"There is no folder '{name}' in '{folder.shown}'; check the path.")
        folder = found
    return folder


@dataclass(frozen=True, eq=False)
class DiskFile:
    """A file on the disk."""

    path: Path

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.name

    @property
    def shown(self) -> str:
        """The path."""
        return str(self.path)

    def read(self) -> bytes:
        """See `File`."""
        try:
            with self.path.open("rb") as stream:
                content = stream.read(safe_archive.MAX_FILE + 1)
        except OSError as error:
            raise InputError(f"'{self.path}' cannot be read ({error.strerror or error}); copy it again.") from error
        if len(content) > safe_archive.MAX_FILE:
            raise InputError(f"'{self.path}' is larger than {safe_archive.MAX_FILE >> 20} MB, which no slice is.")
        return content


@dataclass(frozen=True, eq=False)
class DiskFolder:
    """A folder on the disk."""

    path: Path

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.resolve().name

    @property
    def shown(self) -> str:
        """The path."""
        return str(self.path)

    @cached_property
    def _entries(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if not safe_archive.is_junk(path.name))
        except OSError as error:
            raise InputError(f"Folder '{self.path}' cannot be read ({error.strerror or error}).") from error

    @cached_property
    def folders(self) -> dict[str, Folder]:
        """See `Folder`."""
        found: dict[str, Folder] = {path.name: DiskFolder(path) for path in self._entries if path.is_dir()}
        for path in self._entries:
            if safe_archive.is_zip(path.name) and path.is_file():
                safe_archive.add_archive(
                    found, path.name, safe_archive.LazyArchive(path.name[:-4], str(path), path, None, 0)
                )
        return found

    @cached_property
    def files(self) -> dict[str, File]:
        """See `Folder`."""
        return {
            path.name: DiskFile(path) for path in self._entries if path.is_file() and not safe_archive.is_zip(path.name)
        }
