"""`Panel`: the sections of the panel around one session, one worker and one timer."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.inference.worker import NetworkWorker
from SAMLiverTumorLib.mrml.nodes import BOX, EXCLUDE, INCLUDE
from SAMLiverTumorLib.mrml.observations import Observations
from SAMLiverTumorLib.panel.evaluate import Evaluate
from SAMLiverTumorLib.panel.inputs import Inputs
from SAMLiverTumorLib.panel.log import Log
from SAMLiverTumorLib.panel.model import Model
from SAMLiverTumorLib.panel.network import PanelPool
from SAMLiverTumorLib.panel.panel_session import PanelSession
from SAMLiverTumorLib.panel.prompts import Prompts
from SAMLiverTumorLib.panel.segment import Segment
from SAMLiverTumorLib.panel.shared import Shared
from SAMLiverTumorLib.panel.shortcuts import Shortcuts
from SAMLiverTumorLib.panel.slices import Slices
from SAMLiverTumorLib.panel.tasks import Tasks
from SAMLiverTumorLib.panel.weights import Weights

_POLL_MS = 40
_PREFETCH_MS = 400


class Panel:
    """Wires the sections; the module's widget delegates to it.

    :param ui: the widgets of the .ui file by name.
    :param widget: what the panel lies in.
    :param requirements: path of the list of Python packages.
    """

    def __init__(self, ui: Any, widget: qt.QWidget, requirements: str) -> None:
        self.ui = ui
        self.worker = NetworkWorker()
        self.pool = PanelPool()
        self.session = PanelSession(slicer.mrmlScene, self.worker, self.pool)
        self.tasks = Tasks(self.worker, self.session.say)
        self._observations = Observations()
        self._isApplying = self._isUpdating = self._isClosed = False
        shared = Shared(ui, self.session, self.tasks, self.pool, self.follow, requirements)
        self._shared = shared
        self.timer = qt.QTimer()
        self.timer.setInterval(_POLL_MS)
        self.timer.connect("timeout()", self._onTimer)
        self._pause = qt.QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PREFETCH_MS)
        self._pause.connect("timeout()", self._onPause)
        self.inputs = Inputs(shared)
        weights = Weights(shared)
        self.model = Model(shared, weights)
        self.slices = Slices(shared, self._onMoved)
        self.prompts = Prompts(shared, self.inputs.ensureSegment)
        self.segment = Segment(shared, weights.prepare)
        self.evaluate = Evaluate(shared)
        self.log = Log(shared)
        self._applied = (self.model, self.inputs, self.slices, self.segment, self.evaluate)
        self._updated = (self.inputs, self.model, self.prompts, self.segment, self.evaluate)
        self._shortcuts = Shortcuts(self._keys(), widget)
        self.session.onChanged.append(self.follow)
        slicer.app.connect("aboutToQuit()", self.close)
        self.update()

    def setParameterNode(self, parameters: Any) -> None:
        """Work with a parameter node, or with none while there is no scene."""
        self._observations.clear()
        self._shared.parameters = parameters
        if parameters is not None:
            self.slices.observe()  # a loaded scene may have brought other views
            self._observations.add(self, parameters.parameterNode, "ModifiedEvent", self._onParameters)
            self._apply()
        else:
            self.update()

    def enter(self) -> None:
        """The user has opened the panel."""
        self._shortcuts.enter()
        self._apply()

    def exit(self) -> None:
        """The user has gone to another module; what is on its way goes on."""
        self._shortcuts.exit()
        self.prompts.stopPlacing()

    def sceneClosing(self) -> None:
        """The scene is about to be closed: nothing of it may be waited for."""
        self.tasks.cancel()
        self.session.message = ""
        self.setParameterNode(None)
        self.follow()

    def close(self) -> None:
        """Stop the worker and let go of everything; nothing works afterwards."""
        if self._isClosed:
            return
        self._isClosed = True
        slicer.app.disconnect("aboutToQuit()", self.close)
        self._shortcuts.exit()
        self.timer.stop()
        self._pause.stop()
        self.session.onChanged.clear()
        self.prompts.close()
        self.tasks.cancel()
        self._observations.clear()
        self._shared.parameters = None
        for section in (self.inputs, self.slices, self.evaluate):
            section.close()
        self.session.close()
        self.worker.stop()

    def follow(self) -> None:
        """Poll as long as anything is on its way, and show it."""
        if self._isClosed:
            return
        if self.session.busy or self.tasks.busy:
            if not self.timer.active:
                self.timer.start()
        elif self.timer.active:
            self.timer.stop()
        self.update()

    def update(self) -> None:
        """Show the state of everything."""
        if self._isUpdating or self._isClosed:
            return
        self._isUpdating = True
        try:
            for section in self._updated:
                section.update()
            self.log.update(self.segment.missing())
        finally:
            self._isUpdating = False

    def _keys(self) -> dict:
        session = self.session
        return {
            "I": lambda: self.prompts.toggle(INCLUDE),
            "E": lambda: self.prompts.toggle(EXCLUDE),
            "B": lambda: self.prompts.toggle(BOX),
            "A": lambda: session.accept() if session.canAccept else None,
            "Ctrl+Return": lambda: self.segment.segment() if self.ui.segmentButton.enabled else None,
            "Escape": self._onEscape,
            "Ctrl+Z": lambda: session.undo(),
            "Ctrl+Y": lambda: session.redo(),
        }

    def _onEscape(self) -> None:
        self.prompts.stopPlacing()
        self.segment.cancel()

    def _onParameters(self) -> None:
        # nodes refer to each other only when the scene is complete
        if not slicer.mrmlScene.IsBatchProcessing():
            self._apply()

    def _apply(self) -> None:
        if self._isApplying or self._isClosed or self._shared.parameters is None:
            return
        self._isApplying = True
        try:
            for section in self._applied:
                section.apply()
        finally:
            self._isApplying = False
        self.follow()

    def _onMoved(self) -> None:
        self._pause.start()
        if not self._isUpdating:
            self.prompts.update()

    def _onPause(self) -> None:
        """The user stays on a slice: have the ones beside it encoded, if that needs no question."""
        session, parameters = self.session, self._shared.parameters
        if self._isClosed or parameters is None or not parameters.live or not session.promptKinds:
            return
        if not self.pool.missingPackages() and not self.pool.missingModels(parameters.model, session.promptKinds):
            session.prefetch()

    def _onTimer(self) -> None:
        try:
            if self.session.busy:
                self.session.poll()
            self.tasks.poll()
        except Exception as error:
            self.session.say(_("Failed: {error}. See the Python console.").format(error=error))
            raise
        finally:
            self.follow()
