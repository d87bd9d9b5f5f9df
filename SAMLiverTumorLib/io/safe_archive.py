"""Zip files as folders, nested ones too, read in memory only.

Nothing is ever unpacked onto the disk. An archive is refused as a whole if an entry has an absolute path or one with
"..", is a link, is there twice, or if the archive promises more than it could honestly hold.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from SAMLiverTumorLib.errors import InputError

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.folder_types import File, Folder

MAX_ENTRIES = 100_000
MAX_TOTAL = 16 << 30
"""Bytes that one archive may promise; the masks of a scan of 260 slices are some 3 GiB."""
MAX_FILE = 64 << 20
"""Bytes of one file: a slice of 512 x 512 voxels takes half a MiB."""
MAX_NESTED = 1 << 30
"""Bytes of a zip file within a zip file."""
MAX_RATIO = 200
"""Bytes out of one byte, above `_SMALL` bytes: an empty mask of 256 KiB shrinks a thousandfold, which is no harm."""

_SMALL = 2 << 20
_MAX_DEPTH = 3
_JUNK = {
    *("__macosx", "icon\r", "icon\uf00d", "network trash folder", "temporary items"),  # macOS
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "recycled", "system volume information"),
    *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),  # network disks
    *("lost+found", "__pycache__"),
}
_JUNK_ENDINGS = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".lnk", ".url", ".webloc", ".swp", ".lock")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)


def is_zip(name: str) -> bool:
    """Whether a file name is that of a zip file."""
    return name.lower().endswith(".zip")


@dataclass(frozen=True, eq=False)
class ZipEntry:
    """A file in an archive."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    name: str
    shown: str

    def read(self, limit: int = MAX_FILE) -> bytes:
        """See `folders.File`.

        :param limit: refuse more bytes than that.
        """
        size, packed = self.info.file_size, self.info.compress_size
        if size > limit:
            raise InputError(f"'{self.shown}' would unpack to {size >> 20} MB, more than {limit >> 20}: refused.")
        if size > _SMALL and size > MAX_RATIO * max(packed, 1):
            raise InputError(f"'{self.shown}' unpacks to {size // max(packed, 1)} times its size, a zip bomb: refused.")
        if self.info.flag_bits & 1:
            raise InputError(f"'{self.shown}' is encrypted; unpack the archive yourself and name the folder.")
        with _damage_told(self.shown), self.archive.open(self.info) as stream:
            return stream.read(limit)


@dataclass(frozen=True, eq=False)
class ZipFolder:
    """A folder in an archive; filled while the archive is looked through, and read-only afterwards."""

    name: str
    shown: str
    folders: dict[str, Folder]
    files: dict[str, File]


@dataclass(frozen=True, eq=False)
class LazyArchive:
    """A zip file as a folder, opened when it is first looked into."""

    name: str
    shown: str
    path: Path | None
    entry: ZipEntry | None
    depth: int

    @cached_property
    def _root(self) -> ZipFolder:
        if self.path is not None:
            return archive_on_disk(self.path)
        if self.depth > _MAX_DEPTH:
            raise InputError(f"'{self.shown}' is a zip file in a zip file, {self.depth} deep: refused.")
        assert self.entry is not None, "without a path it lies in another archive"
        return _archive(io.BytesIO(self.entry.read(MAX_NESTED)), self.name, self.shown, self.depth)

    @property
    def folders(self) -> dict[str, Folder]:
        """See `folders.Folder`."""
        return self._root.folders

    @property
    def files(self) -> dict[str, File]:
        """See `folders.Folder`."""
        return self._root.files


def archive_on_disk(path: Path) -> ZipFolder:
    """The folder that a zip file is.

    :raises InputError: it is damaged or refused.
    """
    return _archive(path, path.name[:-4], str(path), 1)


def _archive(source: Path | BinaryIO, name: str, shown: str, depth: int) -> ZipFolder:
    """The tree of folders in an archive, which is closed when nothing of it is in use any more."""
    with _damage_told(shown):
        archive = zipfile.ZipFile(source)
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise InputError(f"'{shown}' has {len(infos)} entries, more than {MAX_ENTRIES}: refused.")
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL:
        raise InputError(f"'{shown}' would unpack to {total >> 30} GB, more than {MAX_TOTAL >> 30}: refused.")
    root = ZipFolder(name, shown, {}, {})
    nested: list[tuple[Folder, ZipEntry]] = []
    for info in infos:
        parts = _safe_parts(info, shown)
        if not parts or any(is_junk(part) for part in parts):
            continue
        folder: Folder = root
        for part in parts if info.is_dir() else parts[:-1]:
            if part in folder.files:
                raise InputError(f"'{shown}' has '{info.filename}' as a file and as a folder: refused.")
            place = f"{folder.shown}/{part}"
            folder = folder.folders.setdefault(part, ZipFolder(part, place, {}, {}))
        if info.is_dir():
            continue
        entry = ZipEntry(archive, info, parts[-1], f"{folder.shown}/{parts[-1]}")
        if entry.name in folder.files or entry.name in folder.folders:
            raise InputError(f"'{shown}' has '{info.filename}' twice: refused.")
        if is_zip(entry.name):
            nested.append((folder, entry))
        else:
            folder.files[entry.name] = entry
    for folder, entry in nested:
        add_archive(folder.folders, entry.name, LazyArchive(entry.name[:-4], entry.shown, None, entry, depth + 1))
    return root


def add_archive(folders: dict[str, Folder], name: str, archive: LazyArchive) -> None:
    """Put a zip file beside the folders, unless it has been unpacked already."""
    there = folders.get(name[:-4])
    if there is None or not (there.folders or there.files):
        folders[name[:-4]] = archive


def _safe_parts(info: zipfile.ZipInfo, shown: str) -> list[str]:
    """The parts of an entry's path.

    :raises InputError: it leads out of the archive, or it is a link or device.
    """
    # what zipfile cut off or replaced counts as well
    name = (getattr(info, "orig_filename", None) or info.filename).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or ":" in name.split("/")[0] or "\0" in name:
        raise InputError(f"'{shown}' has an entry that leads out of it ({info.filename!r}): refused.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise InputError(f"'{shown}' has an entry that is a link or a device ({info.filename!r}): refused.")
    return parts


def is_junk(name: str) -> bool:
    """Whether an entry is hidden, or what an operating system leaves behind."""
    plain = name.lower()
    return (
        name.startswith((".", "~"))
        or plain in _JUNK
        or plain.endswith(_JUNK_ENDINGS)
        # streams and attributes that a file system could not keep
        or re.search(r"[:_\uf03a](zone\.identifier|encryptable)$|@syno(eastream|resource)$", plain) is not None
    )


@contextmanager
def _damage_told(shown: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (NotImplementedError, RuntimeError) as error:  # encrypted, or packed in a way that Python cannot unpack
        raise InputError(f"'{shown}' cannot be unpacked ({error}); unpack it yourself and name the folder.") from error
    except _DAMAGED as error:
        raise InputError(f"'{shown}' is damaged ({error}); copy it again.") from error
