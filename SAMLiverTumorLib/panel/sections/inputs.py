"""The section Inputs: which volume, segmentation and segment."""

from __future__ import annotations

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.resources import sample_case


class Inputs:
    """Binds the selectors to the session."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self._observations = Observations()
        self._observed: slicer.vtkMRMLSegmentationNode | None = None
        self._ui.segmentCombo.connect("activated(int)", self._onSegmentChosen)
        self._ui.segmentNameEdit.connect("editingFinished()", self._onRenamed)
        self._ui.segmentColorButton.connect("clicked(bool)", self._onColor)
        self._ui.addSegmentButton.connect("clicked(bool)", self._onAdd)
        self._ui.loadSampleButton.connect("clicked(bool)", self._onLoadSample)

    def apply(self) -> None:
        """Have the session work on what the parameter node names."""
        parameters, session = self._shared.parameters, self._shared.session
        if parameters is None or not self._shared.isActive():
            return
        if session.volumeNode is not parameters.volume or session.segmentationNode is not parameters.segmentation:
            session.message = ""
        session.setVolume(parameters.volume)
        session.setSegmentation(parameters.segmentation)
        self._observe(parameters.segmentation)
        ids = self._segmentIds()
        segmentId = parameters.segmentId if parameters.segmentId in ids else next(iter(ids), "")
        if session.segmentId != segmentId:
            session.setSegment(segmentId)

    def update(self) -> None:
        """Show the present choice."""
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

    def ensureSegment(self) -> bool:
        """Have a segment to prompt for: a segmentation and a segment are made where there are none."""
        if self._shared.session.segmentId:
            return True
        return self._addSegment()

    def close(self) -> None:
        """Let go of the scene."""
        self._observations.clear()
        self._observed = None

    def _addSegment(self) -> bool:
        parameters, session = self._shared.parameters, self._shared.session
        if self._missingVolume():
            session.say(self._missingVolume())
            return False
        try:
            segmentationNode = parameters.segmentation
            if segmentationNode is None:
                segmentationNode = createSegmentation(slicer.mrmlScene, parameters.volume)
            elif segmentationNode.GetDisplayNode() is None:
                segmentationNode.CreateDefaultDisplayNodes()
            taken = {name for name, _id in _segmentNames(segmentationNode)}
            name, number = _("Liver tumor"), 1
            while name in taken:
                number += 1
                name = _("Liver tumor {number}").format(number=number)
            segmentId = addTumorSegment(segmentationNode, name)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return False
        parameters.segmentId = segmentId
        parameters.segmentation = segmentationNode
        self.apply()
        self._shared.follow()
        return session.segmentId == segmentId

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

    def _onSegments(self) -> None:
        # while the node is being deleted its segments go one by one
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


def _segmentNames(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[tuple[str, str]]:
    segmentation = segmentationNode.GetSegmentation()
    return [(segmentation.GetSegment(segmentId).GetName(), segmentId) for segmentId in segmentation.GetSegmentIDs()]


def _swatch(color: tuple[float, float, float]) -> qt.QIcon:
    pixmap = qt.QPixmap(16, 16)
    pixmap.fill(qt.QColor(*(round(255 * part) for part in color)))
    return qt.QIcon(pixmap)
