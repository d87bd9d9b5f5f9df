"""`Training`: a training in a process of its own, as the panel watches it; without Qt and without the scene."""

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

# As the training names them, whose modules bring PyTorch.
STATE, SETTINGS, LOCK = "last.pt", "settings.json", "running.lock"
RESULTS = ("model.safetensors", "not-adopted.safetensors")


class Process(Protocol):
    """A training of one folder; `training.runs.process.TrainingProcess` is one."""

    folder: Path

    @property
    def running(self) -> bool:
        """Whether a training works in the folder, whoever started it."""

    def start(self, settings: Any, resume: bool = False) -> None:
        """Start it; it goes on when this process ends."""

    def cancel(self) -> None:
        """Ask it to save and end."""

    def new_events(self) -> list[dict[str, Any]]:
        """What it has reported since the last call."""

    def output(self) -> str:
        """What it wrote to standard error."""


class Training:
    """The training of one folder: none, one that runs, or one that has ended.

    :param make: a process for a folder.
    """

    def __init__(self, make: Callable[[Path], Process] | None = None) -> None:
        self._make = make or _process
        self._process: Process | None = None
        self._isWatched = self._isCancelled = False
        self.record = TrainingRecord()

    @property
    def folder(self) -> Path | None:
        """The run's folder; None before one was opened."""
        return self._process.folder if self._process is not None else None

    @property
    def isWatched(self) -> bool:
        """Whether a training runs of which the end has not been heard; poll while it is so."""
        return self._isWatched

    @property
    def isCancelled(self) -> bool:
        """Whether the running training was asked to end."""
        return self._isWatched and self._isCancelled

    @property
    def canResume(self) -> bool:
        """Whether the folder has a training that was interrupted."""
        return self.folder is not None and not self._isWatched and isInterrupted(self.folder)

    def open(self, folder: Path) -> None:
        """Look at a folder: take up a training that runs in it, or read what came of one."""
        self._process = self._make(folder)
        self._isCancelled = False
        self.record = TrainingRecord().after(self._process.new_events())
        self._isWatched = self._process.running
        if not self._isWatched and self.record.phase != NEW and not self.record.is_ended:
            self.record = self.record.ended(self._process.output())

    def start(self, settings: Any, resume: bool = False) -> None:
        """Start a training in `settings.out`, or go on with it.

        :raises OutputError: the folder cannot be written, or a training runs in it.
        """
        process = self._make(Path(settings.out))
        record = TrainingRecord().after(process.new_events()) if resume else TrainingRecord()
        process.start(settings, resume)
        self._process, self.record = process, record.resumed()
        self._isWatched, self._isCancelled = True, False

    def resumedSettings(self) -> Any:
        """The settings that the folder's training was started with.

        :raises InputError: they cannot be read.
        """
        from SAMLiverTumorLib.training.settings import read_settings

        if self.folder is None:
            raise InputError("There is no training to go on with.")
        # the folder may have been moved
        return replace(read_settings(self.folder / SETTINGS), out=str(self.folder))

    def cancel(self) -> None:
        """Ask the running training to save and end."""
        if self._isWatched:
            self._process.cancel()
            self._isCancelled = True

    def poll(self) -> bool:
        """Take in what was reported; whether there was anything new."""
        if not self._isWatched:
            return False
        # asked first: what it reports before it ends is then there
        isRunning = self._process.running
        events = self._process.new_events()
        self.record = self.record.after(events)
        if not isRunning:
            self._isWatched = False
            if not self.record.is_ended:
                self.record = self.record.ended(self._process.output())
        return bool(events) or not isRunning


def isInterrupted(folder: Path) -> bool:
    """Whether a folder has a training that can be gone on with."""
    return (folder / STATE).is_file() and (folder / SETTINGS).is_file() and not _results(folder)


def isUsed(folder: Path) -> bool:
    """Whether a training was begun or ended in a folder, so that a new one needs another."""
    return (folder / STATE).exists() or bool(_results(folder))


def hasResult(folder: Path) -> bool:
    """Whether a training was finished in a folder."""
    return bool(_results(folder))


def trainingRoot() -> Path:
    """Where runs go by default."""
    return user_cache_folder() / "training"


def datedFolder(root: Path | None = None) -> Path:
    """A folder for a new run, named by the present time."""
    return (root or trainingRoot()) / time.strftime("%Y-%m-%d_%H-%M-%S")


def runningFolder(root: Path | None = None) -> Path | None:
    """The newest folder in which a training runs, such as one that went on while Slicer was closed.

    Asks the lock alone: `TrainingProcess` would bring SimpleITK when the panel is opened.
    """
    root = root or trainingRoot()
    folders = sorted((each for each in root.iterdir() if each.is_dir()), reverse=True) if root.is_dir() else []
    return next((folder for folder in folders if is_held(folder / LOCK)), None)


def _results(folder: Path) -> list[Path]:
    return [folder / name for name in RESULTS if (folder / name).is_file()]


def _process(folder: Path) -> Process:
    from SAMLiverTumorLib.training.runs.process import TrainingProcess, slicer_python

    return TrainingProcess(folder, slicer_python())
