"""`Panel`: the module's panel, made of sections that share the engine."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.panel.editor_link import EditorLink, rulesOf
from SAMLiverTumorLib.panel.engine import Engine, whenIdle
from SAMLiverTumorLib.panel.fine_tuning.section import Train
from SAMLiverTumorLib.panel.sections.evaluate import Evaluate
from SAMLiverTumorLib.panel.sections.export import Export
from SAMLiverTumorLib.panel.sections.find_tumors import Find
from SAMLiverTumorLib.panel.sections.further_phases import FurtherPhases
from SAMLiverTumorLib.panel.sections.help_and_log import Log, showStatus
from SAMLiverTumorLib.panel.sections.inputs import Inputs
from SAMLiverTumorLib.panel.sections.keep_case import KeepCase
from SAMLiverTumorLib.panel.sections.lesion_report import Lesions
from SAMLiverTumorLib.panel.sections.load_ircadb import Ircadb
from SAMLiverTumorLib.panel.sections.model import Model
from SAMLiverTumorLib.panel.sections.model_weights import Weights
from SAMLiverTumorLib.panel.sections.prompts import Prompts
from SAMLiverTumorLib.panel.sections.propagate import Volume
from SAMLiverTumorLib.panel.sections.segment import Segment
from SAMLiverTumorLib.panel.sections.uncertainty import Uncertainty
from SAMLiverTumorLib.panel.shortcuts import Shortcuts, promptActions
from SAMLiverTumorLib.panel.slice_observer import Slices

_PREFETCH_MS = 400


class Panel:
    """Connects the sections; the module's widget delegates to it.

    :param ui: the widgets of the .ui file by name.
    :param widget: the panel's parent.
    :param requirements: path of the list of Python packages.
    """

    def __init__(self, ui: Any, widget: qt.QWidget, requirements: str) -> None:
        self.ui = ui
        self.engine = engine = Engine.running()
        self.worker, self.pool, self.session, self.tasks = engine.worker, engine.pool, engine.session, engine.tasks
        self.timer = engine.timer
        self._observations = Observations()
        self._editorLink = EditorLink()
        self._isApplying = self._isUpdating = self._isClosed = False
        self._shared = shared = engine.shared(self, ui, requirements)
        self._pause = whenIdle(_PREFETCH_MS, self._onPause)
        self.inputs = Inputs(shared)
        self.ircadb = Ircadb(shared)
        self.phases = FurtherPhases(shared, self._apply)
        weights = Weights(shared)
        self.model = Model(shared, weights)
        self.slices = Slices(shared, self._onMoved)
        self.prompts = Prompts(shared, self.inputs.ensureSegment)
        self.segment = Segment(shared, weights.prepare)
        self.volume = Volume(shared, weights.prepare)
        self.find = Find(shared, weights.prepare, lambda: self.inputs.ensureSegment(isProvisional=True))
        self.uncertainty = Uncertainty(shared)
        self.evaluate = Evaluate(shared)
        self.lesions = Lesions(shared)
        self.export = Export(shared)
        self.train = Train(shared, weights)
        self.keepCase = KeepCase(shared)
        self.log = Log(shared)
        self._applied = (
            *(self.model, self.inputs, self.phases, self.slices, self.segment, self.volume, self.evaluate),
            *(self.train, self.keepCase),
        )
        self._updated = (
            *(
                self.inputs,
                self.model,
                self.phases,
                self.prompts,
                self.segment,
                self.find,
                self.volume,
                self.uncertainty,
            ),
            *(self.evaluate, self.lesions, self.export, self.train, self.keepCase),
        )
        undoing = {"Ctrl+Z": lambda: self.session.undo(), "Ctrl+Y": lambda: self.session.redo()}
        actions = promptActions(self.prompts, self.segment, self.volume, self.uncertainty, shared)
        self._shortcuts = Shortcuts({**actions, **undoing}, widget)
        engine.join(self)
        self.update()

    def setParameterNode(self, parameters: Any) -> None:
        """Use a parameter node, or None while there is no scene."""
        self._observations.clear()
        self._shared.parameters = parameters
        if parameters is not None:
            self.slices.observe()  # a loaded scene may have other views
            self._observations.add(self, parameters.parameterNode, "ModifiedEvent", self._onParameters)
            self._apply()
        else:
            self.update()

    def enter(self) -> None:
        """The user has opened the panel."""
        self._shortcuts.enter()
        self.engine.claim(self)
        self._apply()

    def exit(self) -> None:
        """The user has switched to another module; running jobs continue."""
        self._shortcuts.exit()
        self.prompts.stopPlacing()
        self.engine.release(self)

    def sceneClosing(self) -> None:
        """The scene is about to be closed: cancel everything that depends on it."""
        self.tasks.cancel()
        self.session.message = ""
        self.setParameterNode(None)
        self.engine.follow()

    def close(self) -> None:
        """Stop the engine and release everything; nothing works afterwards."""
        self.engine.close()

    def engineClosed(self) -> None:
        """Release the scene."""
        self._isClosed = True
        self._shortcuts.exit()
        self._pause.stop()
        self.prompts.close()
        self._observations.clear()
        self._shared.parameters = None
        for section in (
            self.inputs,
            self.ircadb,
            self.phases,
            self.slices,
            self.volume,
            self.evaluate,
            self.uncertainty,
        ):
            section.close()
        self.train.close()

    def update(self) -> None:
        """Update all widgets."""
        if self._isUpdating or self._isClosed:
            return
        self._isUpdating = True
        try:
            for section in self._updated:
                section.update()
            self.log.update(self.segment.missing())
        finally:
            self._isUpdating = False

    def updateProgress(self) -> None:
        """Show the progress of long tasks."""
        if not self._isClosed:
            self.segment.updateProgress()
            showStatus(self._shared, "")

    def _onParameters(self) -> None:
        # node references are valid only when the scene is complete
        if not slicer.mrmlScene.IsBatchProcessing():
            self._apply()

    def _apply(self) -> None:
        parameters = self._shared.parameters
        if self._isApplying or parameters is None or not self.engine.belongsTo(self):
            return
        self._isApplying = True
        try:
            for section in self._applied:
                section.apply()
            segmentationNode = self.session.segmentationNode
            self.session.editorRules = rulesOf(segmentationNode, parameters.editorMasking, parameters.editorOverwrite)
            self.session.editorHistory = self._editorLink.history(segmentationNode)
        finally:
            self._isApplying = False
        self.engine.follow()

    def _onMoved(self) -> None:
        self._pause.start()
        if not self._isUpdating:
            self.prompts.update()

    def _onPause(self) -> None:
        """The user pauses on a slice: encode its neighbors, unless that would need a question to the user."""
        parameters, state = self._shared.parameters, self._shared.state
        if self._isClosed or parameters is None or not parameters.live or not state.promptKinds:
            return
        if not self.pool.missingPackages() and not self.pool.missingModels(parameters.model, state.promptKinds):
            self.session.prefetch()
