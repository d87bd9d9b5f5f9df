"""A training run in its own process, which the panel and the console watch through files, and which outlives both.

All of its state is in the run's folder: `settings.json`, `progress.jsonl` with its events, `output.txt` with its other
output, `running.lock` while it runs, and `cancel`, a file that anyone may create to end it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import Cancelled, OutputError
from SAMLiverTumorLib.models.download.lock import is_held, locked
from SAMLiverTumorLib.resources import LIBRARY_PARENT
from SAMLiverTumorLib.training.progress_events import NAME as PROGRESS
from SAMLiverTumorLib.training.progress_events import events_in
from SAMLiverTumorLib.training.settings import TrainSettings

SETTINGS, OUTPUT, LOCK, CANCEL = "settings.json", "output.txt", "running.lock", "cancel"
RESULTS = ("model.safetensors", "not-adopted.safetensors")
"""Name of a finished run's weight file: adopted or not."""

# Time when the process was launched: on a busy machine a user may cancel before it has even started.
_LAUNCHED = "SAM_LIVER_TUMOR_LAUNCHED"
_STARTED = float(os.environ.pop(_LAUNCHED, time.time()))
_CLOCK_SLACK_S = 3.0


class JobProcess:
    """A command of the console program that works in a run's folder, watched through files.

    :param folder: of the run.
    :param python: the interpreter; by default the current one. Inside Slicer, use `slicer_python`.
    """

    progress, output_name, lock, cancel_name = PROGRESS, OUTPUT, LOCK, CANCEL
    """Names of its files in the folder."""
    running_already = "A training run is already active in '{folder}'; wait for it, or cancel it."

    def __init__(self, folder: Path, python: Sequence[str] = (sys.executable,)) -> None:
        self.folder, self._python = Path(folder), list(python)
        self._read = 0
        self._started: subprocess.Popen | None = None

    @property
    def running(self) -> bool:
        """Whether it is running in the folder, whoever started it."""
        # a process that was just started takes seconds to acquire the lock
        is_starting = self._started is not None and self._started.poll() is None
        return is_starting or is_held(self.folder / self.lock)

    def cancel(self) -> None:
        """Ask it to end."""
        (self.folder / self.cancel_name).touch()

    def new_events(self) -> list[dict[str, Any]]:
        """The events since the last call; a half-written line is returned next time."""
        path = self.folder / self.progress
        if not path.is_file():
            return []
        with path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return events_in(whole)

    def output(self) -> str:
        """What it wrote to standard error, such as why it could not start."""
        path = self.folder / self.output_name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def _launch(self, arguments: Sequence[str], prepare: Callable[[], None]) -> None:
        """Start the console program with these arguments; it continues when this process ends.

        :param prepare: writes what it needs into the folder.
        :raises OutputError: the folder cannot be written, or such a job is running in it.
        """
        if self.running:
            raise OutputError(self.running_already.format(folder=self.folder))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / self.cancel_name).unlink(missing_ok=True)
            prepare()
            output = (self.folder / self.output_name).open("ab")
        except OSError as error:
            raise OutputError(
                f"'{self.folder}' cannot be written ({error.strerror}); choose another folder."
            ) from error
        with output:
            self._started = subprocess.Popen(
                [*self._python, "-m", "SAMLiverTumorLib", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(LIBRARY_PARENT), os.environ.get("PYTHONPATH", "")]),
                    _LAUNCHED: str(time.time()),
                },
                **_detached(),
            )


class TrainingProcess(JobProcess):
    """Starts, watches and ends the training run of one folder.

    >>> process = TrainingProcess(Path("run"))                                  # doctest: +SKIP
    >>> process.start(TrainSettings(images=("ct",), labels=("label",)))         # doctest: +SKIP
    >>> for event in process.new_events(): print(event["event"])                # doctest: +SKIP
    """

    def start(self, settings: TrainSettings, resume: bool = False) -> None:
        """Start the command `sam-liver-tumor train`; it continues when this process ends.

        :raises OutputError: the folder cannot be written, or a training run is active in it.
        """

        def prepare() -> None:
            values = {**settings.as_dict(), "out": str(self.folder.resolve())}
            (self.folder / SETTINGS).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

        arguments = ["train", "--config", str(self.folder / SETTINGS), "--json"]
        self._launch(arguments + (["--resume"] if resume else []), prepare)


class ComparisonProcess(JobProcess):
    """Starts, watches and ends the comparison of a finished run with its base model."""

    progress, output_name = "comparison.jsonl", "comparison-output.txt"
    lock, cancel_name = "comparing.lock", "cancel-comparison"
    running_already = "A comparison is already active in '{folder}'; wait for it, or cancel it."

    def start(self, device: str = "auto") -> None:
        """Start the command `sam-liver-tumor compare --run`, which replaces an earlier report.

        :raises OutputError: the folder cannot be written, or a comparison is running in it.
        """

        def prepare() -> None:
            (self.folder / self.progress).unlink(missing_ok=True)
            (self.folder / self.output_name).unlink(missing_ok=True)
            self._read = 0

        self._launch(["compare", "--run", str(self.folder.resolve()), "--device", device, "--overwrite"], prepare)


@contextmanager
def job_lock(folder: Path, job: type[JobProcess]) -> Iterator[None]:
    """Hold a job's lock in a run's folder.

    :raises OutputError: another such job is running there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / job.lock, cancel=lambda: True))
        except Cancelled as error:
            raise OutputError(job.running_already.format(folder=folder)) from error
        except OSError as error:
            raise OutputError(f"'{folder}' cannot be written ({error.strerror}); choose another folder.") from error
        yield


def cancel_requested(path: Path) -> bool:
    """Whether the cancel file was created for this process, not left over from an earlier one."""
    try:
        # nor from the future: the clock may have been set back since
        return _STARTED - _CLOCK_SLACK_S < path.stat().st_mtime <= time.time() + _CLOCK_SLACK_S
    except OSError:
        return False


def slicer_python() -> list[str]:
    """The command of Slicer's Python, or of the current interpreter outside Slicer.

    In Slicer, sys.executable does not find Slicer's libraries by itself. PythonSlicer is the launcher that sets them
    up; it is on the path of Slicer's processes.
    """
    return [shutil.which("PythonSlicer") or sys.executable]


def _detached() -> dict[str, Any]:
    """Options of Popen that keep a process alive when its parent ends, and shield it from its parent's Ctrl+C."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
