"""The section Inputs: the choice of volume, segmentation and segment."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.mrml.segments.segments import createSegmentation
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.resources import sample_case


class Inputs:
    """Connects the selectors to the session."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self._observations = Observations()
        self._observed: slicer.vtkMRMLSegmentationNode | None = None
        self._ui.segmentCombo.connect("activated(int)", self._onSegmentChosen)
        self._ui.segmentNameEdit.connect("editingFinished()", self._onRenamed)
        self._ui.segmentColorButton.connect("clicked(bool)", self._onColor)
        self._ui.addSegmentButton.connect("clicked(bool)", self._onAdd)
        self._ui.loadSampleButton.connect("clicked(bool)", self._onLoadSample)
        self._ui.liverWindowButton.connect("clicked(bool)", lambda checked: shared.session.showLiver(always=True))
        selector = self._ui.segmentationSelector
        selector.connect("nodeAboutToBeRemoved(vtkMRMLNode*)", partial(self._onRemoval, selector))
        shared.session.onChosen.append(self._onChosenBySession)

    def apply(self) -> None:
        """Apply the parameter node's choices to the session."""
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is None or not self._shared.isActive():
            return
        if session.volumeNode is not parameters.volume or session.segmentationNode is not parameters.segmentation:
            session.message = ""
        isOther = session.volumeNode is not parameters.volume
        session.setVolume(parameters.volume)
        if isOther:
            session.showLiver()
        session.setSegmentation(parameters.segmentation)
        self._observe(parameters.segmentation)
        ids = self._segmentIds()
        segmentId = parameters.segmentId if parameters.segmentId in ids else next(iter(ids), "")
        if session.segmentId != segmentId:
            session.setSegment(segmentId)

    def update(self) -> None:
        """Show the current choice."""
        session, ui = self._shared.session, self._ui
        segment = self._segment()
        ids = self._segmentIds()
        names = [self._observed.GetSegmentation().GetSegment(segmentId).GetName() for segmentId in ids]
        combo = ui.segmentCombo
        shown = [(combo.itemData(n), combo.itemText(n)) for n in range(combo.count)]
        if shown != list(zip(ids, names, strict=True)):
            combo.clear()
            for segmentId, name in zip(ids, names, strict=True):
                combo.addItem(name, segmentId)
        combo.currentIndex = ids.index(session.segmentId) if session.segmentId in ids else -1
        noSegment = "" if segment is not None else _("There is no segment yet: press New, or place a prompt.")
        toolTip = _("Show the volume in the liver window; Undo restores the window before.")
        enable(ui.liverWindowButton, self._missingVolume(), toolTip)
        enable(combo, noSegment, _("The segment that prompts fill. Other segments are never changed."))
        enable(ui.segmentNameEdit, noSegment, _("Name of the segment."))
        enable(ui.segmentColorButton, noSegment, _("Color of the segment."))
        enable(ui.addSegmentButton, self._missingVolume(), _("Add an empty segment for another tumor."))
        if segment is not None:
            if not ui.segmentNameEdit.modified:  # the user is not typing
                ui.segmentNameEdit.text = segment.GetName()
            ui.segmentColorButton.icon = _swatch(segment.GetColor())
        else:
            ui.segmentNameEdit.text = ""
            ui.segmentColorButton.icon = qt.QIcon()

    def ensureSegment(self, isProvisional: bool = False) -> bool:
        """Make sure there is a segment to prompt: create segmentation and segment if missing.

        :param isProvisional: see `PromptSession.addSegment`.
        """
        if self._shared.session.segmentId:
            return True
        return self._addSegment(isProvisional)

    def close(self) -> None:
        """Release the scene."""
        self._observations.clear()
        self._observed = None

    def _addSegment(self, isProvisional: bool = False) -> bool:
        session = self._shared.session
        if self._missingVolume():
            session.say(self._missingVolume())
            return False
        taken = {name for name, _id in _segmentNames(session.segmentationNode)}
        name, number = _("Liver tumor"), 1
        while name in taken:
            number += 1
            name = _("Liver tumor {number}").format(number=number)
        isAdded = session.addSegment(name, isProvisional)
        self._shared.follow()
        return isAdded

    def _onChosenBySession(self) -> None:
        """Take over the segment that undo, redo or a new segment has chosen."""
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is not None and self._shared.isActive():
            with slicer.util.NodeModify(parameters.parameterNode):
                parameters.segmentId = session.segmentId
                parameters.segmentation = session.segmentationNode

    def _missingVolume(self) -> str:
        parameters = self._shared.parameters
        return "" if parameters is not None and parameters.volume is not None else _("Choose a volume.")

    def _segmentIds(self) -> list[str]:
        return list(self._observed.GetSegmentation().GetSegmentIDs()) if self._observed is not None else []

    def _segment(self) -> slicer.vtkSegment | None:
        segmentId = self._shared.session.segmentId
        return self._observed.GetSegmentation().GetSegment(segmentId) if self._observed and segmentId else None

    def _observe(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        if segmentationNode is self._observed:
            return
        self._observations.clear()
        self._observed = segmentationNode
        if segmentationNode is not None:
            kinds = slicer.vtkSegmentation
            for event in (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified):
                self._observations.add(self, segmentationNode.GetSegmentation(), event, self._onSegments)

    @staticmethod
    def _onRemoval(selector: Any, node: slicer.vtkMRMLNode) -> None:
        # otherwise the selector would switch to the next segmentation, and prompts would fill one of its segments
        if node is selector.currentNode() and not slicer.mrmlScene.IsClosing():
            selector.setCurrentNode(None)

    def _onSegments(self) -> None:
        # while the node is being deleted its segments are removed one by one
        if self._observed is not None and slicer.mrmlScene.IsNodePresent(self._observed):
            self.apply()
            self.update()

    def _onSegmentChosen(self, index: int) -> None:
        if self._shared.parameters is not None:
            self._shared.parameters.segmentId = self._ui.segmentCombo.itemData(index)

    def _onRenamed(self) -> None:
        segment, name = self._segment(), self._ui.segmentNameEdit.text.strip()
        if segment is not None and name and name != segment.GetName():
            segment.SetName(name)
        self._ui.segmentNameEdit.modified = False
        self.update()

    def _onColor(self) -> None:
        segment = self._segment()
        if segment is None:
            return
        old = qt.QColor(*(round(255 * part) for part in segment.GetColor()))
        color = qt.QColorDialog.getColor(old, self._ui.segmentColorButton, _("Color of the segment"))
        if color.isValid():
            segment.SetColor(color.red() / 255, color.green() / 255, color.blue() / 255)

    def _onAdd(self) -> None:
        self._addSegment()

    def _onLoadSample(self) -> None:
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is None:
            return
        try:
            files = sample_case()
            volumeNode = slicer.util.loadVolume(str(files["ct"]), {"name": "LiverTumorCT"})
            labelNode = slicer.util.loadLabelVolume(str(files["label"]), {"name": "LiverTumorCT reference"})
        except (SAMLiverTumorError, RuntimeError) as error:
            session.say(str(error))
            return
        referenceNode = createSegmentation(slicer.mrmlScene, volumeNode, "LiverTumorCT reference")
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labelNode, referenceNode)
        slicer.mrmlScene.RemoveNode(labelNode)
        for segmentId, name in zip(referenceNode.GetSegmentation().GetSegmentIDs(), ("liver", "tumor"), strict=False):
            referenceNode.GetSegmentation().GetSegment(segmentId).SetName(name)
        referenceNode.GetDisplayNode().SetVisibility(False)
        parameters.volume, parameters.reference = volumeNode, referenceNode
        if slicer.app.layoutManager() is not None:
            slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
        session.say(_("Sample case loaded; its reference segmentation is hidden, see Evaluate."))


def _segmentNames(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> list[tuple[str, str]]:
    if segmentationNode is None:
        return []
    segmentation = segmentationNode.GetSegmentation()
    return [(segmentation.GetSegment(segmentId).GetName(), segmentId) for segmentId in segmentation.GetSegmentIDs()]


def _swatch(color: tuple[float, float, float]) -> qt.QIcon:
    pixmap = qt.QPixmap(16, 16)
    pixmap.fill(qt.QColor(*(round(255 * part) for part in color)))
    return qt.QIcon(pixmap)
