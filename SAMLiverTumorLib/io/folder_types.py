"""`File` and `Folder`: what readers of public data sets ask of a folder on the disk or inside a zip archive."""

from __future__ import annotations

from typing import Protocol


class File(Protocol):
    """A file; `shown` is what messages call it."""

    @property
    def name(self) -> str: ...

    @property
    def shown(self) -> str: ...

    def read(self) -> bytes:
        """Its content.

        :raises InputError: damaged, encrypted, or larger than `safe_archive.MAX_FILE`.
        """
        ...


class Folder(Protocol):
    """A folder, or a zip file as a folder named without its ending; hidden entries are left out.

    :param shown: its path, which may lead into archives; `open_folder` takes it.
    :param folders: subfolders by name, zip files among them unless a folder of that name holds something.
    :param files: files by name.
    """

    @property
    def name(self) -> str: ...

    @property
    def shown(self) -> str: ...

    @property
    def folders(self) -> dict[str, Folder]: ...

    @property
    def files(self) -> dict[str, File]: ...
