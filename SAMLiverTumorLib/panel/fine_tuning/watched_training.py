"""`Training`: a training run in a separate process, as watched by the panel; without Qt and without the scene."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.models.download.lock import is_held
from SAMLiverTumorLib.models.download.store import user_cache_folder
from SAMLiverTumorLib.training.runs.progress_record import NEW, TrainingRecord

# File names as in `training/`, whose modules would import PyTorch.
STATE, SETTINGS, LOCK = "last.pt", "settings.json", "running.lock"
RESULTS = ("model.safetensors", "not-adopted.safetensors")


class Process(Protocol):
    """A training run in one folder; `training.runs.process.TrainingProcess` is one."""

    folder: Path

    @property
    def running(self) -> bool:
        """Whether a training run is in progress in the folder, whoever started it."""

    def start(self, settings: Any, resume: bool = False) -> None:
        """Start it; it continues when this process ends."""

    def cancel(self) -> None:
        """Request it to save and stop."""

    def new_events(self) -> list[dict[str, Any]]:
        """The events reported since the last call."""

    def output(self) -> str:
        """Its standard error output."""


class Training:
    """The training run of one folder: none, a running one, or one that has ended.

    :param make: creates a process for a folder.
    """

    def __init__(self, make: Callable[[Path], Process] | None = None) -> None:
        self._make = make or _process
        self._process: Process | None = None
        self._isWatched = self._isCancelled = False
        self.record = TrainingRecord()

    @property
    def folder(self) -> Path | None:
        """The run's folder; None until one is opened."""
        return self._process.folder if self._process is not None else None

    @property
    def isWatched(self) -> bool:
        """Whether a training run is in progress whose end has not been reported; poll meanwhile."""
        return self._isWatched

    @property
    def isCancelled(self) -> bool:
        """Whether the running training run was requested to stop."""
        return self._isWatched and self._isCancelled

    @property
    def canResume(self) -> bool:
        """Whether the folder has an interrupted training run."""
        return self.folder is not None and not self._isWatched and isInterrupted(self.folder)

    def open(self, folder: Path) -> None:
        """Open a folder: attach to a training run in progress, or read the outcome of one."""
        self._process = self._make(folder)
        self._isCancelled = False
        self.record = TrainingRecord().after(self._process.new_events())
        self._isWatched = self._process.running
        if not self._isWatched and self.record.phase != NEW and not self.record.is_ended:
            self.record = self.record.ended(self._process.output())

    def start(self, settings: Any, resume: bool = False) -> None:
        """Start or resume a training run in `settings.out`.

        :raises OutputError: the folder cannot be written, or a training run is in progress in it.
        """
        process = self._make(Path(settings.out))
        record = TrainingRecord().after(process.new_events()) if resume else TrainingRecord()
        process.start(settings, resume)
        self._process, self.record = process, record.resumed()
        self._isWatched, self._isCancelled = True, False

    def resumedSettings(self) -> Any:
        """The settings that the folder's training run was started with.

        :raises InputError: they cannot be read.
        """
        from SAMLiverTumorLib.training.settings import read_settings

        if self.folder is None:
            raise InputError("There is no training run to resume.")
        # the folder may have been moved
        return replace(read_settings(self.folder / SETTINGS), out=str(self.folder))

    def cancel(self) -> None:
        """Request the running training run to save and stop."""
        if self._isWatched:
            self._process.cancel()
            self._isCancelled = True

    def poll(self) -> bool:
        """Process reported events; returns whether there was anything new."""
        if not self._isWatched:
            return False
        # read first, so that everything it reports before its end is seen
        isRunning = self._process.running
        events = self._process.new_events()
        self.record = self.record.after(events)
        if not isRunning:
            self._isWatched = False
            if not self.record.is_ended:
                self.record = self.record.ended(self._process.output())
        return bool(events) or not isRunning


def isInterrupted(folder: Path) -> bool:
    """Whether a folder has a training run that can be resumed."""
    return (folder / STATE).is_file() and (folder / SETTINGS).is_file() and not _results(folder)


def isUsed(folder: Path) -> bool:
    """Whether a folder holds a started or finished training run, so that a new one needs another folder."""
    return (folder / STATE).exists() or bool(_results(folder))


def hasResult(folder: Path) -> bool:
    """Whether a folder has a finished training run."""
    return bool(_results(folder))


def resultFile(folder: Path) -> Path | None:
    """The weight file of a finished training run; None if there is none."""
    return next(iter(_results(folder)), None)


def trainingRoot() -> Path:
    """The default folder for training runs."""
    return user_cache_folder() / "training"


def datedFolder(root: Path | None = None) -> Path:
    """A folder for a new run, named by the current time."""
    return (root or trainingRoot()) / time.strftime("%Y-%m-%d_%H-%M-%S")


def runningFolder(root: Path | None = None) -> Path | None:
    """The newest folder with a training run in progress, such as one that continued while Slicer was closed.

    Checks only the lock: `TrainingProcess` would import SimpleITK when the panel is opened.
    """
    root = root or trainingRoot()
    folders = sorted((each for each in root.iterdir() if each.is_dir()), reverse=True) if root.is_dir() else []
    return next((folder for folder in folders if is_held(folder / LOCK)), None)


def _results(folder: Path) -> list[Path]:
    return [folder / name for name in RESULTS if (folder / name).is_file()]


def _process(folder: Path) -> Process:
    from SAMLiverTumorLib.training.runs.process import TrainingProcess, slicer_python

    return TrainingProcess(folder, slicer_python())
