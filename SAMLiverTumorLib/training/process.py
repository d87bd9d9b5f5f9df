"""A training in a process of its own: the panel and the console watch the same files, and it outlives both.

All that is known of it lies in the run's folder: `settings.json`, the lines of `progress.jsonl`, `output.txt` for what
else it says, `running.lock` while it runs, and `cancel`, which whoever wants it to end puts there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.models.lock import is_held
from SAMLiverTumorLib.training.progress import NAME as PROGRESS
from SAMLiverTumorLib.training.progress import events_in
from SAMLiverTumorLib.training.settings import TrainSettings

SETTINGS, OUTPUT, LOCK, CANCEL = "settings.json", "output.txt", "running.lock", "cancel"


class TrainingProcess:
    """Starts, watches and ends the training of one folder.

    >>> process = TrainingProcess(Path("run"))                                  # doctest: +SKIP
    >>> process.start(TrainSettings(images=("ct",), labels=("label",)))         # doctest: +SKIP
    >>> for event in process.new_events(): print(event["event"])                # doctest: +SKIP

    :param folder: the run's.
    :param python: the interpreter; by default the present one, in Slicer its own PythonSlicer.
    """

    def __init__(self, folder: Path, python: Sequence[str] = (sys.executable,)) -> None:
        self.folder, self._python = Path(folder), list(python)
        self._read = 0
        self._started: subprocess.Popen | None = None

    @property
    def running(self) -> bool:
        """Whether a training works in the folder, whoever started it."""
        # it takes seconds before one that was just started holds the lock
        is_starting = self._started is not None and self._started.poll() is None
        return is_starting or is_held(self.folder / LOCK)

    def start(self, settings: TrainSettings, resume: bool = False) -> None:
        """Start the command `sam-liver-tumor train`; it goes on when this process ends.

        :raises OutputError: the folder cannot be written, or a training runs in it.
        """
        if self.running:
            raise OutputError(f"A training runs in '{self.folder}' already; wait for it, or cancel it.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / CANCEL).unlink(missing_ok=True)
            values = {**settings.as_dict(), "out": str(self.folder.resolve())}
            (self.folder / SETTINGS).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            output = (self.folder / OUTPUT).open("ab")
        except OSError as error:
            raise OutputError(
                f"'{self.folder}' cannot be written ({error.strerror}); choose another folder."
            ) from error
        library = Path(__file__).resolve().parents[2]
        command = [*self._python, "-m", "SAMLiverTumorLib", "train", "--config", str(self.folder / SETTINGS), "--json"]
        with output:
            self._started = subprocess.Popen(
                command + (["--resume"] if resume else []),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(library), os.environ.get("PYTHONPATH", "")])},
                **_apart(),
            )

    def cancel(self) -> None:
        """Ask the training to save and end, which it does after the step it is in."""
        (self.folder / CANCEL).touch()

    def new_events(self) -> list[dict[str, Any]]:
        """What it has reported since the last call; a line that is half written comes the next time."""
        path = self.folder / PROGRESS
        if not path.is_file():
            return []
        with path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return events_in(whole)

    def output(self) -> str:
        """What it wrote to standard error: why it could not start, say."""
        path = self.folder / OUTPUT
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def slicer_python() -> list[str]:
    """The interpreter that has Slicer's packages, or the present one outside Slicer.

    In Slicer, sys.executable does not find Slicer's libraries by itself; PythonSlicer is the launcher that sets them
    up, and lies on the path of Slicer's processes.
    """
    return [shutil.which("PythonSlicer") or sys.executable]


def _apart() -> dict[str, Any]:
    """What keeps a process alive when its parent ends, and keeps its parent's Ctrl+C from it."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
