"""The button Compare: compares models before and after a training run in a separate process, and opens the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.panel.fine_tuning.watched_training import Training, hasResult, resultFile
from SAMLiverTumorLib.panel.panel_pool import aboutFile
from SAMLiverTumorLib.panel.section_context import Shared, enable

_POLL_MS = 1000


class Process(Protocol):
    """A comparison in one folder; `training.runs.process.ComparisonProcess` is one."""

    @property
    def running(self) -> bool:
        """Whether a comparison is running in the folder, whoever started it."""

    def start(self, device: str = "auto") -> None:
        """Start it; it continues when this process ends."""

    def cancel(self) -> None:
        """Request it to stop."""

    def new_events(self) -> list[dict[str, Any]]:
        """The events reported since the last call."""

    def output(self) -> str:
        """Its standard error output."""


class TrainCompare:
    """Starts a comparison, or cancels the running one; opens its report at the end.

    :param make: creates a process for a folder; a real one by default.
    :param open: opens a file in the user's browser; returns whether it did.
    """

    def __init__(
        self,
        shared: Shared,
        training: Training,
        make: Callable[[Path], Process] | None = None,
        open: Callable[[Path], bool] | None = None,
    ) -> None:
        self._shared, self._training = shared, training
        self.make, self.open = make or _process, open or _openFile
        self._process: Process | None = None
        self._folder: Path | None = None
        self._isCancelled = False
        self._last: dict[str, Any] = {}
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self.poll)
        shared.ui.trainCompareButton.connect("clicked(bool)", self.press)

    @property
    def isRunning(self) -> bool:
        """Whether a comparison is running whose end has not been reported."""
        return self._process is not None

    def update(self, training: Training | None = None) -> None:
        """Show what the button does now.

        :param training: the section's training run, if it has changed.
        """
        self._training = training or self._training
        button = self._shared.ui.trainCompareButton
        button.text = _("Cancel comparison") if self.isRunning else _("Compare")
        if self.isRunning:
            enable(
                button,
                _("The comparison is stopping.") if self._isCancelled else "",
                _("Stop it; no report is written."),
            )
            return
        missing = ""
        if self._training.folder is None or self._training.isWatched or not hasResult(self._training.folder):
            missing = _("There is no finished training run in the folder.")
        elif not _hasHeldOut(self._training.folder):
            missing = _("The model was trained on its only patient; nobody is left to compare on.")
        text = _("Compare the models before and after training, and a U-Net if there is one, on the held-out patients.")
        enable(button, missing, text)

    def press(self) -> None:
        """Start a comparison, or cancel the running one."""
        if self.isRunning:
            self._isCancelled = True
            self._process.cancel()
        elif self._training.folder is not None:
            self._start(self._training.folder)
        self.update()

    def poll(self) -> None:
        """Process what the comparison has reported."""
        if self._process is None:
            return
        # read first, so that everything it reports before its end is seen
        isRunning = self._process.running
        for event in self._process.new_events():
            self._last = event
            if event["event"] == "note":
                self._shared.session.say(str(event.get("text", "")))
            elif event["event"] == "compare":
                count = event.get("done", 0)
                self._shared.session.say(_("Comparing: {count} slice images.").format(count=count))
        if not isRunning:
            self._ended()
        self.update()

    def close(self) -> None:
        """Stop polling; the comparison continues."""
        self._timer.stop()

    def _start(self, folder: Path) -> None:
        process, parameters = self.make(folder), self._shared.parameters
        try:
            process.start(parameters.device if parameters is not None else "auto")
        except (SAMLiverTumorError, OSError) as error:
            self._shared.session.say(str(error))
            return
        self._process, self._folder, self._isCancelled, self._last = process, folder, False, {}
        self._timer.start()
        self._shared.session.say(_("The comparison runs in a separate process."))

    def _ended(self) -> None:
        process, self._process = self._process, None
        self._timer.stop()
        say, kind = self._shared.session.say, self._last.get("event")
        if kind == "done":
            report = self._folder / str(self._last.get("report", ""))
            isOpen = report.is_file() and self.open(report)
            say((_("Report: {path}.") if isOpen else _("The report is in {path}.")).format(path=report))
        elif kind == "cancelled":
            say(_("The comparison was cancelled; nothing was written."))
        elif kind == "failed":
            say(str(self._last.get("text", "")))
        else:
            lines = [line.strip() for line in process.output().splitlines() if line.strip()]
            say(lines[-1] if lines else _("The comparison ended without a report."))


def _hasHeldOut(folder: Path) -> bool:
    """Whether a finished training run left patients out, by its weight file; True if that does not say."""
    split = (aboutFile(str(resultFile(folder))).get("card") or {}).get("split") or {}
    compared = split.get("test") or split.get("validation") or []
    return not compared or not set(compared) & set(split.get("train") or [])


def _process(folder: Path) -> Process:
    from SAMLiverTumorLib.training.runs.process import ComparisonProcess, slicer_python

    return ComparisonProcess(folder, slicer_python())


def _openFile(path: Path) -> bool:
    return bool(qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path))))
