"""`CaseStore`: the folder of scans with accepted outlines, kept to train on.

    >>> store = CaseStore()                                                                 # doctest: +SKIP
    >>> store.add(TrainingCase(volume, labels)).case.name                                   # doctest: +SKIP
    'case-6f0c2b1d94e37a58'
    >>> run_training(TrainSettings(images=(str(store.root),), labels=(str(store.root),)))   # doctest: +SKIP

A case is a folder of its own, `ID.VERSION`, that appears whole: an interrupted program leaves no half of one. A scan is
recognized by its voxels; outlined anew, its next version is in place before the last one goes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.datasets.store.anonymous_case import TrainingCase, case_id, content_of, plain_voxels
from SAMLiverTumorLib.datasets.store.case_record import IMAGE, LABEL, RECORD, KeptCase, read_kept, record_of
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import TEMPORARY_PREFIX, atomic_folder, atomic_path
from SAMLiverTumorLib.models.download.lock import locked
from SAMLiverTumorLib.volume import Volume

ROOT_VARIABLE = "SAM_LIVER_TUMOR_CASES"
MARKER = "sam-liver-tumor-cases.json"
NEW, REPLACED, UNCHANGED = "new", "replaced", "unchanged"

_LOCK = ".lock"
_FOLDER = re.compile(r"(case-[0-9a-f]{16})\.([1-9][0-9]{0,8})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_root() -> Path:
    """Folder named by SAM_LIVER_TUMOR_CASES, else `sam-liver-tumor/cases` in the user's data folder."""
    if named := os.environ.get(ROOT_VARIABLE):
        return Path(named).expanduser().absolute()
    return user_data_folder() / "cases"


def user_data_folder() -> Path:
    """Folder `sam-liver-tumor` among what the user's programs keep and could not make again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or "")
        base = base if base.is_absolute() else Path.home() / ".local" / "share"
    return base / "sam-liver-tumor"


def is_store(folder: Path | str) -> bool:
    """Whether a folder is a store of cases."""
    return (Path(folder) / MARKER).is_file()


@dataclass(frozen=True)
class Added:
    """What `CaseStore.add` did.

    :param case: the case as it is kept now.
    :param state: "new"; "replaced", where the scan was there with other outlines or another name; or "unchanged".
    """

    case: KeptCase
    state: str


class CaseStore:
    """Training cases in one folder, which several processes may share.

    :param root: the folder, made with the first case; None for `default_root()`.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root).expanduser().absolute() if root is not None else default_root()

    def add(self, case: TrainingCase, name: str | None = None, cancel: Callable[[], bool] | None = None) -> Added:
        """Keep a case, or the newer outlines of one that is there.

        :param name: what to call it instead of its number, such as "study-017"; it is stored, so no patient's name.
        :param cancel: asked while another process works on the folder.
        :raises InputError: sheared voxels; a name that is another case's, or has other characters than letters,
            digits, ".", "_" and "-".
        :raises OutputError: the folder holds something else, or cannot be written; nothing has changed then.
        :raises Cancelled: while waiting.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise InputError(f"'{name}' cannot name a case; use up to 64 letters, digits, '.', '_' and '-'.")
        self._prepare()
        with self._locked(cancel):
            if not is_store(self.root):
                with atomic_path(self.root / MARKER, overwrite=True) as path:
                    path.write_text('{"format": 1}\n', encoding="utf-8")
            kept = {each.id: each for each in self.list()}
            before = kept.get(case.id)
            wanted = name or (before.name if before is not None else case.id)
            if other := next((each for each in kept.values() if each.id != case.id and each.name == wanted), None):
                raise InputError(f"Another scan is kept as '{wanted}' ({other.id}); choose another name, or remove it.")
            version = self._last_version(case.id) + 1
            record = record_of(case, wanted, version, date.today())
            if before is not None and before.tells_the_same(record):
                return Added(before, UNCHANGED)
            folder = self.root / f"{case.id}.{version}"
            with atomic_folder(folder) as temporary:
                _write(case, record, temporary)
            return Added(read_kept(folder), NEW if before is None else REPLACED)

    def list(self) -> list[KeptCase]:
        """The cases, in order of their names; folders that are damaged are passed over, see `damaged`.

        :raises InputError: the folder is there and is no store.
        """
        newest = {}
        for folder, identity, version in self._folders():
            if version > newest.get(identity, (0, None))[0] and (kept := read_kept(folder)) is not None:
                newest[identity] = version, kept
        return sorted((kept for _, kept in newest.values()), key=lambda kept: (kept.name, kept.id))

    def count(self) -> int:
        """Number of cases, by the names of their folders alone: quick enough for a window's thread.

        :raises InputError: the folder is there and is no store.
        """
        return len({identity for _, identity, _ in self._folders()})

    def damaged(self) -> list[str]:
        """Folders of cases that cannot be read, by name; `remove` takes them."""
        return sorted(folder.name for folder, _, _ in self._folders() if read_kept(folder) is None)

    def find(self, name: str) -> KeptCase:
        """The case of a name, a number, or the beginning of a number that no other has.

        :raises InputError: there is none, or more than one.
        """
        cases = self.list()
        found = [case for case in cases if name in (case.name, case.id)]
        digits = name.removeprefix("case-")
        found = found or [case for case in cases if digits and case.id.startswith(f"case-{digits}")]
        if len(found) != 1:
            what = "no case" if not found else f"{len(found)} cases"
            raise InputError(f"There is {what} '{name}' in '{self.root}'; `sam-liver-tumor cases list` names them.")
        return found[0]

    def remove(self, name: str, cancel: Callable[[], bool] | None = None) -> str:
        """Delete a case for good: its files, whatever version.

        :param name: see `find`; or a damaged folder's, see `damaged`.
        :return: its number.
        :raises InputError: there is none, or more than one.
        :raises OutputError: the folder refuses.
        """
        match = _FOLDER.fullmatch(name)
        identity = match[1] if match is not None and name in self.damaged() else self.find(name).id
        with self._locked(cancel):
            for folder, each, _ in list(self._folders()):
                if each == identity:
                    try:
                        _discard(folder)
                    except OSError as error:
                        raise OutputError(f"'{folder}' cannot be removed ({error.strerror}).") from error
        return identity

    def holds(self, volume: Volume) -> bool:
        """Whether the volume's scan is kept, whatever its file is called and wherever it lies."""
        # numbers first: most folders need no look at the voxels
        ids = {identity for _, identity, _ in self._folders()}
        return bool(ids) and case_id(content_of(plain_voxels(volume))) in ids

    def _prepare(self) -> None:
        """Make the folder, readable by the user alone, or refuse one that holds something else."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if strangers := self._strangers():
                raise OutputError(
                    f"'{self.root}' holds other files ('{strangers[0]}'); name an empty or a new folder for the cases."
                )
        except OSError as error:
            raise OutputError(f"'{self.root}' cannot be written ({error.strerror}); choose another folder.") from error

    def _strangers(self) -> list[str]:
        """What lies in a folder that is no store."""
        names = sorted(each.name for each in self.root.iterdir() if not each.name.startswith("."))
        return [] if MARKER in names else names

    @contextmanager
    def _locked(self, cancel: Callable[[], bool] | None) -> Iterator[None]:
        """One writer at a time; what killed ones have left is swept away."""
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.root / _LOCK, cancel))
            except OSError as error:
                raise OutputError(f"'{self.root}' cannot be written ({error.strerror}); choose another.") from error
            self._sweep()
            yield
            self._sweep()

    def _sweep(self) -> None:
        """Remove what is half written or half removed, and versions that have a newer one; only under the lock."""
        for leftover in self.root.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        current = {each.id: each.version for each in self.list()}
        for folder, identity, version in list(self._folders()):
            if version < current.get(identity, 0):
                with suppress(OSError):  # somebody reads it on Windows; the next one sweeps again
                    _discard(folder)

    def _folders(self) -> Iterator[tuple[Path, str, int]]:
        """Folder, number and version of all that is named as a case."""
        if not self.root.is_dir():
            return
        if self._strangers():
            raise InputError(f"'{self.root}' is no store of training cases; name the folder that `cases add` wrote to.")
        for folder in sorted(self.root.iterdir()):
            if match := _FOLDER.fullmatch(folder.name):
                yield folder, match[1], int(match[2])

    def _last_version(self, identity: str) -> int:
        return max((version for _, each, version in self._folders() if each == identity), default=0)


def _discard(folder: Path) -> None:
    """Delete a case's folder; it goes out of sight by one rename, so that no half of it is ever seen."""
    hidden = folder.with_name(f"{TEMPORARY_PREFIX}{folder.name}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _write(case: TrainingCase, record: dict, folder: Path) -> None:
    """Write a case's files, and read the images back: a full disk is not always told when writing.

    :raises OutputError: they cannot be written.
    """
    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.io.write_image import write_image

    for name, array in ((IMAGE, case.voxels), (LABEL, case.labels.astype(np.uint8, copy=False))):
        write_image(array, case.ijk_to_ras, folder / name)
        try:
            is_whole = np.array_equal(read_volume(folder / name).array, array)
        except InputError:
            is_whole = False
        if not is_whole:
            raise OutputError(f"The case was not written whole; free some space on the disk of '{folder.parent}'.")
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o600)
