"""`ModelStore`: the folder of weight files on this machine.

    >>> store = ModelStore()
    >>> path = store.fetch(get_model("lite-medsam"), confirm=lambda question: input(question + " [y/N] ") == "y")

A weight file is in place only when its size and SHA-256 are right; from then on the network is not used.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from SAMLiverTumorLib.errors import ModelError, OutputError
from SAMLiverTumorLib.models.download.digest import check_file, disk_errors, human_size, move_into_place
from SAMLiverTumorLib.models.download.http import meta_path
from SAMLiverTumorLib.models.download.lock import locked
from SAMLiverTumorLib.models.download.sources import copy_checked, obtain, part_path, temporary_path
from SAMLiverTumorLib.models.registry import BundledSource, ModelInfo, PackageSource, Source, load_registry
from SAMLiverTumorLib.resources import LIBRARY_PARENT

ROOT_VARIABLE = "SAM_LIVER_TUMOR_MODELS"


def default_root() -> Path:
    """Folder named by SAM_LIVER_TUMOR_MODELS, else `sam-liver-tumor/models` in the user's cache folder."""
    if named := os.environ.get(ROOT_VARIABLE):
        return Path(named).expanduser().absolute()
    return user_cache_folder() / "models"


def user_cache_folder() -> Path:
    """Folder `sam-liver-tumor` among what the user's programs keep and could make again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "")
        base = base if base.is_absolute() else Path.home() / ".cache"
    return base / "sam-liver-tumor"


@dataclass(frozen=True)
class StoredModel:
    """A line of `ModelStore.list`.

    :param info: the model.
    :param state: "present" (size is right; the hash is checked at use), "damaged" (size is wrong), "incomplete" (the
        beginning of a download) or "absent".
    :param path: where the weight file lies, or would.
    :param bytes_on_disk: what it takes there.
    """

    info: ModelInfo
    state: str
    path: Path
    bytes_on_disk: int


class ModelStore:
    """Weight files in one folder, verified before use, fetched after asking.

    :param root: the folder; None for `default_root()`. Made when the first file comes.
    :param bundle: where the paths of bundled sources begin.
    """

    def __init__(self, root: Path | None = None, bundle: Path = LIBRARY_PARENT):
        self.root = Path(root).expanduser().absolute() if root is not None else default_root()
        self.bundle = bundle

    def path(self, info: ModelInfo) -> Path:
        """Where the weight file lies, or would: in the store, else in the extension where it is bundled."""
        own = self.root / info.file_name
        bundled = self._bundled(info)
        return bundled if bundled is not None and not own.exists() else own

    def is_present(self, info: ModelInfo) -> bool:
        """Is there a file of the right size? `verify` checks whether it is the right one."""
        return self._size(self.path(info)) == info.size

    def verify(self, info: ModelInfo) -> None:
        """Check size and SHA-256; repeated in one process, an unchanged file is not hashed again.

        :raises ModelError: the weights are absent, damaged or something else.
        """
        path = self.path(info)
        if not path.is_file():
            if not info.is_downloadable:
                raise ModelError(self._lost(info))
            raise ModelError(
                f"The weights of {info.title} ({human_size(info.size)}) are not on this machine yet. "
                f"Fetch them: sam-liver-tumor models fetch {info.id}"
            )
        try:
            check_file(path, info)
        except ModelError as error:
            again = f"Fetch it again: sam-liver-tumor models fetch {info.id}"
            raise ModelError(f"{error} {again if info.is_downloadable else self._lost(info)}") from error

    def fetch(
        self,
        info: ModelInfo,
        confirm: Callable[[str], bool],
        progress: Callable[[int, int | None], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Path:
        """The verified weight file; from the network only where it is not there yet and `confirm` says yes.

        :param confirm: gets a question that names size, licence, source and folder.
        :param progress: gets bytes done and bytes in all (None where unknown); from this thread.
        :param cancel: asked several times a second.
        :raises ModelError: declined, or no source has the right file; the text says why of each.
        :raises OutputError: the store's folder cannot be written.
        :raises Cancelled: `cancel` answered true. No file is in place.
        """
        path = self.path(info)
        reasons = []
        if path.is_file():
            try:
                check_file(path, info, cancel)
                return path
            except ModelError as error:
                reasons.append(str(error))
        sources = [source for source in info.sources if not isinstance(source, BundledSource)]
        if not sources:
            raise ModelError(" ".join([*reasons, self._lost(info)]))
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._check_space(info, packed=isinstance(sources[0], PackageSource))
        if not confirm(self._question(info, sources, replaces=bool(reasons))):
            raise ModelError(
                f"{info.title} was not downloaded, as you declined; without its weights it cannot be used. "
                "The model 'liver-tumor' comes with the extension and answers every kind of prompt."
            )
        reasons = []
        with self._locked(info, cancel):
            own = self.root / info.file_name
            if self._is_right(own, info):  # another process has fetched it meanwhile
                return own
            for source in sources:
                try:
                    arrived = obtain(source, info, self.root, progress, cancel)
                except ModelError as error:
                    reasons.append(str(error))
                    continue
                self._put_in_place(arrived, info)
                return own
        raise ModelError(" ".join(reasons))

    def adopt(self, path: Path, info: ModelInfo, cancel: Callable[[], bool] | None = None) -> Path:
        """Copy a weight file that the user has already into the store, if it is the right one.

        :return: the copy, or the file that was in place already.
        :raises ModelError: it is not the published file of this model.
        :raises OutputError: the store's folder cannot be written.
        """
        path = Path(path)
        check_file(path, info, cancel)
        if self._is_right(in_place := self.path(info), info):
            return in_place
        own = self.root / info.file_name
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._check_space(info, packed=False)
        with self._locked(info, cancel):
            copy = temporary_path(self.root, info)
            try:
                with disk_errors(self.root), path.open("rb") as stream:
                    copy_checked(stream, copy, info, cancel)
                self._put_in_place(copy, info)
            finally:
                copy.unlink(missing_ok=True)
        return own

    def remove(self, info: ModelInfo) -> bool:
        """Delete the weight file and any beginning of a download. Files bundled with the extension stay.

        :return: whether there was anything to delete.
        :raises OutputError: the folder refuses.
        """
        removed = False
        part = part_path(self.root, info)
        with disk_errors(self.root):
            for path in (self.root / info.file_name, part, meta_path(part)):
                if path.exists():
                    path.unlink()
                    removed = True
        return removed

    def list(self, registry: dict[str, ModelInfo] | None = None) -> list[StoredModel]:
        """The state of every model of the registry, in its order; by size, without hashing."""
        return [self._state(info) for info in (registry or load_registry()).values()]

    def _state(self, info: ModelInfo) -> StoredModel:
        path = self.path(info)
        size = self._size(path)
        if size is not None:
            return StoredModel(info, "present" if size == info.size else "damaged", path, size)
        part = self._size(part_path(self.root, info))
        return StoredModel(info, "absent" if part is None else "incomplete", path, part or 0)

    def _bundled(self, info: ModelInfo) -> Path | None:
        paths = [self.bundle / source.path for source in info.sources if isinstance(source, BundledSource)]
        return next((path for path in paths if path.is_file()), None)

    def _lost(self, info: ModelInfo) -> str:
        """What to do about missing weights that cannot be downloaded."""
        own = self.root / info.file_name
        first = f"Delete {own}, or install" if own.exists() else "Install"
        bundled = (source for source in info.sources if isinstance(source, BundledSource))
        sources = " or ".join(str(self.bundle / source.path) for source in bundled)
        return (
            f"The weights of {info.title} come with the extension alone, as {sources}. {first} the extension again, or "
            "work from a clone of the repository, or choose another model."
        )

    @contextmanager
    def _locked(self, info: ModelInfo, cancel: Callable[[], bool] | None) -> Iterator[None]:
        """One fetch of a model at a time; what killed ones have left is swept away."""
        with ExitStack() as held:
            with disk_errors(self.root):
                held.enter_context(locked(self.root / f".{info.file_name}.lock", cancel))
                for leftover in self.root.glob(f".{info.file_name}.*.tmp"):
                    leftover.unlink(missing_ok=True)
            yield

    def _put_in_place(self, arrived: Path, info: ModelInfo) -> None:
        with disk_errors(self.root):
            move_into_place(arrived, self.root / info.file_name)
            meta_path(part_path(self.root, info)).unlink(missing_ok=True)

    def _check_space(self, info: ModelInfo, packed: bool) -> None:
        """:raises OutputError: less is free than the file takes (twice where it comes packed in an archive)."""
        needed = info.size * (2 if packed else 1) - (self._size(part_path(self.root, info)) or 0)
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise OutputError(
                f"{info.title} needs {human_size(needed)} in {self.root}, where {human_size(free)} are free. "
                f"Free some space or name another folder in the environment variable {ROOT_VARIABLE}."
            )

    def _question(self, info: ModelInfo, sources: Sequence[Source], replaces: bool) -> str:
        places = ", or else ".join(str(source) for source in sources)
        again = " The damaged file there is replaced." if replaces else ""
        return (
            f"Download {info.title} ({human_size(info.size)}, licence {info.licence}) from {places}? "
            f"It will be stored in {self.root}.{again}"
        )

    @staticmethod
    def _is_right(path: Path, info: ModelInfo) -> bool:
        try:
            check_file(path, info)
        except ModelError:
            return False
        return True

    @staticmethod
    def _size(path: Path) -> int | None:
        with suppress(OSError):
            return path.stat().st_size
        return None
