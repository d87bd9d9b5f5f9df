"""The section Segment: segmentation live or on demand, progress, cancel, undo, redo, accept."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from SAMLiverTumorLib.panel.section_context import Shared, enable


class Segment:
    """Connects the buttons to the session.

    :param prepare: `prepare(go)` installs packages and models, after asking the user, and then calls `go()`.
    """

    def __init__(self, shared: Shared, prepare: Callable[[Callable[[], None]], None]) -> None:
        self._shared, self._ui, self._prepare = shared, shared.ui, prepare
        self._most = 0
        session, ui = shared.session, shared.ui
        ui.segmentButton.connect("clicked(bool)", self.segment)
        ui.cancelButton.connect("clicked(bool)", self.cancel)
        ui.undoButton.connect("clicked(bool)", lambda checked: session.undo())
        ui.redoButton.connect("clicked(bool)", lambda checked: session.redo())
        ui.acceptButton.connect("clicked(bool)", lambda checked: session.accept())

    def apply(self) -> None:
        """Apply Live and Box through slices of the parameter node."""
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is not None:
            session.live = parameters.live
            session.boxThroughSlices = parameters.boxThroughSlices

    def segment(self) -> None:
        """Segment by the prompts, after installing what is missing."""
        self._prepare(self._go)

    def cancel(self) -> None:
        """Stop everything that is running, downloads included."""
        if self._shared.tasks.cancel():
            self._shared.session.say(_("Cancelled."))
        self._shared.session.cancel()
        self._shared.follow()

    def update(self) -> None:
        """Show progress, and enable the buttons."""
        session, tasks, ui = self._shared.session, self._shared.tasks, self._ui
        isBusy = session.busy or tasks.busy
        enable(ui.segmentButton, self.missing(), _("Segment by the prompts. Key: Ctrl+Return"))
        nothing = "" if isBusy else _("Nothing is running.")
        enable(
            ui.cancelButton,
            nothing,
            _("Stop what is running; propagated slices are kept. Key: Escape"),
        )
        noUndo = "" if session.canUndo else _("There is nothing to undo.")
        enable(ui.undoButton, noUndo, _("Undo {step}. Key: Ctrl+Z").format(step=session.undoName))
        noRedo = "" if session.canRedo else _("There is nothing to redo.")
        enable(ui.redoButton, noRedo, _("Redo {step}. Key: Ctrl+Y").format(step=session.redoName))
        noAccept = "" if session.canAccept else _("There is no finished mask to accept.")
        enable(ui.acceptButton, noAccept, _("Keep the mask and clear the prompts, for the next tumor. Key: A"))
        self.updateProgress()

    def missing(self) -> str:
        """What the user has to do before segmenting; empty if nothing."""
        session = self._shared.session
        if session.volumeNode is None:
            return _("Choose a volume.")
        if not self._shared.state.promptKinds:
            return _("Place an include point or draw a box.")
        return ""

    def _go(self) -> None:
        self._shared.session.segment()
        self._shared.follow()

    def updateProgress(self) -> None:
        """Update the progress bar."""
        session, state, tasks, bar = self._shared.session, self._shared.state, self._shared.tasks, self._ui.progressBar
        bar.enabled = session.busy or tasks.busy
        if tasks.busy:
            done, total = tasks.progress
            # a range of 0 to 0 shows an indeterminate bar; scaled to fit into 32 bits
            bar.setRange(0, 1000 if total else 0)
            bar.setValue(1000 * done // total if total else 0)
        elif state.searching is not None:
            done, total = state.searching
            bar.setRange(0, total)
            bar.setValue(done)
        elif session.busy:
            waiting = state.waiting
            self._most = max(self._most, waiting)
            bar.setRange(0, self._most if self._most > 1 else 0)
            bar.setValue(self._most - waiting)
            return
        else:
            bar.setRange(0, 1)
            bar.setValue(0)
        self._most = 0
