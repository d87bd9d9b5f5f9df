"""`EditorPanel`: the prompt session as the options of an effect in Slicer's Segment Editor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.panel.editor_link import EditorLink
from SAMLiverTumorLib.panel.engine import Engine
from SAMLiverTumorLib.panel.sections.find_tumors import Find
from SAMLiverTumorLib.panel.sections.further_phases import takePhases
from SAMLiverTumorLib.panel.sections.help_and_log import showStatus
from SAMLiverTumorLib.panel.sections.model import settingsFrom
from SAMLiverTumorLib.panel.sections.model_weights import Weights
from SAMLiverTumorLib.panel.sections.prompts import Prompts
from SAMLiverTumorLib.panel.sections.propagate import Volume
from SAMLiverTumorLib.panel.sections.segment import Segment
from SAMLiverTumorLib.panel.sections.uncertainty import Doubt
from SAMLiverTumorLib.panel.shortcuts import Shortcuts, promptActions
from SAMLiverTumorLib.panel.slice_observer import VIEW, Slices


@dataclass
class _Choices:
    """What the sections read of a parameter node; the prompt nodes are noted here rather than in the scene."""

    live: bool = True
    boxThroughSlices: bool = False
    plane: str = VIEW
    include: Any = None
    exclude: Any = None
    roi: Any = None


class EditorPanel:
    """Volume, segmentation, segment and masking are Segment Editor's; model, window and device the panel's.

    :param ui: the widgets of the effect's .ui file by name.
    :param widget: what they lie in.
    :param requirements: path of the list of Python packages.
    :param parameters: the panel's parameter node.
    """

    def __init__(self, ui: Any, widget: qt.QWidget, requirements: str, parameters: Callable[[], Any]) -> None:
        self._parameters = parameters
        self.engine = engine = Engine.running()
        self.ui, self.session = ui, engine.session
        self._shared = shared = engine.shared(self, ui, requirements)
        shared.parameters = self._choices = _Choices()
        self._observations, self._editorLink = Observations(), EditorLink()
        self._editorNode: slicer.vtkMRMLSegmentEditorNode | None = None
        self._isUpdating = self._isApplying = False
        self.slices = Slices(shared, self._onMoved)
        self.prompts = Prompts(shared, self._hasSegment)
        weights = Weights(shared)
        self.segment = Segment(shared, weights.prepare)
        self.volume = Volume(shared, weights.prepare)
        self.find = Find(shared, weights.prepare, self._hasSegment)
        self.doubt = Doubt(shared)
        # undo and redo have the keys of Segment Editor
        actions = promptActions(self.prompts, self.segment, self.volume, self.doubt, shared)
        self._shortcuts = Shortcuts(actions, widget)
        ui.liveCheckBox.connect("toggled(bool)", self._onOptions)
        ui.boxThroughCheckBox.connect("toggled(bool)", self._onOptions)
        ui.panelButton.connect("clicked(bool)", lambda checked: slicer.util.selectModule("SAMLiverTumor"))
        engine.join(self)

    @property
    def isActive(self) -> bool:
        """Whether the effect is the one that the user works with."""
        return self._editorNode is not None

    def activate(self, editorNode: slicer.vtkMRMLSegmentEditorNode | None, editor: Any) -> None:
        """The user has chosen the effect.

        :param editor: the Segment Editor widget that it is in.
        """
        self.deactivate()
        if editorNode is None or self.engine.isClosed:
            return
        self._editorNode, self._editor = editorNode, editor
        self._observations.add(self, editorNode, "ModifiedEvent", self._onEditorNode)
        self._shortcuts.enter()
        self.engine.claim(self)
        self.slices.observe()
        self.apply()

    def deactivate(self) -> None:
        """The user has gone to another effect or module; what is on its way goes on."""
        if self._editorNode is None:
            return
        self._editorNode = None
        self._observations.remove(self)
        self._shortcuts.exit()
        self.prompts.stopPlacing()
        self.engine.release(self)

    def apply(self) -> None:
        """Have the session work on what Segment Editor has chosen."""
        node, session = self._editorNode, self.session
        if node is None or self._isApplying or not self.engine.belongsTo(self) or slicer.mrmlScene.IsClosing():
            return
        self._isApplying = True
        try:
            session.setVolume(node.GetSourceVolumeNode())
            session.setSegmentation(node.GetSegmentationNode())
            if session.segmentId != (node.GetSelectedSegmentID() or ""):
                session.setSegment(node.GetSelectedSegmentID())
            session.editorRules = EditorRules(node)
            session.editorHistory = self._editorLink.history(node.GetSegmentationNode(), self._editor)
            self._applySettings()
            self.slices.apply()
            self.segment.apply()
            self.volume.apply()
        finally:
            self._isApplying = False
        self.engine.follow()

    def update(self) -> None:
        """Show the state of everything."""
        if self._isUpdating or self._editorNode is None:
            return
        self._isUpdating = True
        try:
            self.prompts.update()
            self.segment.update()
            self.volume.update()
            self.find.update()
            self.doubt.update()
            showStatus(self._shared, self._missing() or self.segment.missing())
        finally:
            self._isUpdating = False

    def updateProgress(self) -> None:
        """Show how far long tasks are."""
        if self.isActive:
            self.segment.updateProgress()
            showStatus(self._shared, "")

    def engineClosed(self) -> None:
        """Let go of the scene."""
        self.deactivate()
        self.prompts.close()
        self.slices.close()
        self.doubt.close()
        self._observations.clear()

    def _applySettings(self) -> None:
        parameters = self._parameters()
        self.engine.pool.setDevice(parameters.device)
        takePhases(self._shared, parameters)
        try:
            self.session.setSettings(settingsFrom(parameters))
        except SAMLiverTumorError as error:
            self.session.message = str(error)

    def _missing(self) -> str:
        if self.session.volumeNode is None:
            return _("Choose a source volume.")
        return "" if self.session.segmentId else _("Add a segment, or choose one.")

    def _hasSegment(self) -> bool:
        if self._missing():
            self.session.say(self._missing())
        return not self._missing()

    def _onEditorNode(self) -> None:
        # nodes refer to each other only when the scene is complete
        if not slicer.mrmlScene.IsBatchProcessing():
            self.apply()

    def _onOptions(self, checked: bool) -> None:
        self._choices.live = self.ui.liveCheckBox.checked
        self._choices.boxThroughSlices = self.ui.boxThroughCheckBox.checked
        self.apply()

    def _onMoved(self) -> None:
        if self.isActive and not self._isUpdating:
            self.prompts.update()
