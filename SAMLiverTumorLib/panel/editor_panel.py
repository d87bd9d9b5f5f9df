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
from SAMLiverTumorLib.panel.sections.uncertainty import Uncertainty
from SAMLiverTumorLib.panel.shortcuts import Shortcuts, promptActions
from SAMLiverTumorLib.panel.slice_observer import VIEW, Slices


@dataclass
class _Choices:
    """The parameters that the sections read; prompt nodes are kept here instead of in the scene."""

    live: bool = True
    boxThroughSlices: bool = False
    plane: str = VIEW
    include: Any = None
    exclude: Any = None
    roi: Any = None


class EditorPanel:
    """Volume, segmentation, segment and masking come from Segment Editor; model, window and device from the panel.

    :param ui: the widgets of the effect's .ui file by name.
    :param widget: their parent.
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
        self.uncertainty = Uncertainty(shared)
        # undo and redo use Segment Editor's keys
        actions = promptActions(self.prompts, self.segment, self.volume, self.uncertainty, shared)
        self._shortcuts = Shortcuts(actions, widget)
        ui.liveCheckBox.connect("toggled(bool)", self._onOptions)
        ui.boxThroughCheckBox.connect("toggled(bool)", self._onOptions)
        ui.panelButton.connect("clicked(bool)", lambda checked: slicer.util.selectModule("SAMLiverTumor"))
        self.session.onChosen.append(self._onChosenBySession)
        engine.join(self)

    @property
    def isActive(self) -> bool:
        """Whether the effect is the active one."""
        return self._editorNode is not None

    def activate(self, editorNode: slicer.vtkMRMLSegmentEditorNode | None, editor: Any) -> None:
        """Activate: the user has chosen the effect.

        :param editor: the Segment Editor widget that it belongs to.
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
        """Deactivate: the user has switched to another effect or module; running jobs continue."""
        if self._editorNode is None:
            return
        self._editorNode = None
        self._observations.remove(self)
        self._shortcuts.exit()
        self.prompts.stopPlacing()
        self.engine.release(self)

    def apply(self) -> None:
        """Apply Segment Editor's selection to the session."""
        node, session = self._editorNode, self.session
        if node is None or self._isApplying or not self.engine.belongsTo(self) or slicer.mrmlScene.IsClosing():
            return
        self._isApplying = True
        try:
            isOther = session.volumeNode is not node.GetSourceVolumeNode()
            session.setVolume(node.GetSourceVolumeNode())
            if isOther:
                session.showLiver()
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
        """Update all widgets."""
        if self._isUpdating or self._editorNode is None:
            return
        self._isUpdating = True
        try:
            self.prompts.update()
            self.segment.update()
            self.volume.update()
            self.find.update()
            self.uncertainty.update()
            showStatus(self._shared, self._missing() or self.segment.missing())
        finally:
            self._isUpdating = False

    def updateProgress(self) -> None:
        """Show the progress of long tasks."""
        if self.isActive:
            self.segment.updateProgress()
            showStatus(self._shared, "")

    def engineClosed(self) -> None:
        """Release the scene."""
        self.deactivate()
        self.prompts.close()
        self.slices.close()
        self.uncertainty.close()
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
        # node references are valid only when the scene is complete
        if not slicer.mrmlScene.IsBatchProcessing():
            self.apply()

    def _onOptions(self, checked: bool) -> None:
        self._choices.live = self.ui.liveCheckBox.checked
        self._choices.boxThroughSlices = self.ui.boxThroughCheckBox.checked
        self.apply()

    def _onChosenBySession(self) -> None:
        """Take over the segment that undo or redo has chosen."""
        node = self._editorNode
        if node is not None and self.engine.belongsTo(self):
            node.SetAndObserveSegmentationNode(self.session.segmentationNode)
            node.SetSelectedSegmentID(self.session.segmentId)

    def _onMoved(self) -> None:
        if self.isActive and not self._isUpdating:
            self.prompts.update()
