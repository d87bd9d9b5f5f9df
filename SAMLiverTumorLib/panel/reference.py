"""What a segment is compared with: a segmentation and its segment, or a label map and its value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.io.label_values import label_values
from SAMLiverTumorLib.mrml.label_sources import labelArray, labelName, labelSource, segmentSource
from SAMLiverTumorLib.mrml.observations import Observations
from SAMLiverTumorLib.panel.engine import whenIdle
from SAMLiverTumorLib.panel.shared import Shared, enable

if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.label_sources import LabelSource

_TUMOR_WORDS = ("tumor", "tumour", "lesion")


class Reference:
    """Binds the two selectors: the node, and which of its segments or label values.

    Label values are read in the worker's thread, once for each change of the image: it takes up to a second.

    :param update: shows the section anew.
    """

    def __init__(self, shared: Shared, update: Callable[[], None]) -> None:
        self._shared, self._ui, self._update = shared, shared.ui, update
        self._observations = Observations()
        self._node: slicer.vtkMRMLDisplayableNode | None = None
        self._values: list[int] | None = None
        self._imageState: tuple | None = None
        # in the next event: an image tells of its change before all of it has changed
        self._imageChanged = whenIdle(0, self._onImage)
        # SlicerParameterName binds one class of nodes only
        self._ui.referenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        self._ui.referenceSegmentCombo.connect("activated(int)", self._onChosen)

    def apply(self) -> None:
        """Follow the node that the parameter node names."""
        node = self._shared.parameters.reference if self._shared.parameters is not None else None
        if node is not self._node:
            self._observe(node)
        if self._ui.referenceSelector.currentNode() is not node:
            self._ui.referenceSelector.setCurrentNode(node)
        self._readValues()

    def update(self) -> None:
        """Show what can be chosen, and what is."""
        combo, names = self._ui.referenceSegmentCombo, self._names()
        self._ui.referenceSegmentComboLabel.text = _("Its label:") if self._isLabelMap() else _("Its segment:")
        if [(combo.itemData(n), combo.itemText(n)) for n in range(combo.count)] != list(names.items()):
            combo.clear()
            for choice, name in names.items():
                combo.addItem(name, choice)
        chosen = self.chosen
        combo.currentIndex = list(names).index(chosen) if chosen else -1
        enable(combo, "" if names else self.missing, _("The segment or label value of the reference to compare with."))

    @property
    def chosen(self) -> str:
        """The ID of the segment, or the label value as text; empty if there is none."""
        names = self._names()
        chosen = self._shared.parameters.referenceSegmentId if self._shared.parameters is not None else ""
        if chosen in names:
            return chosen
        tumors = [choice for choice, name in names.items() if any(word in name.lower() for word in _TUMOR_WORDS)]
        # LiTS and the Medical Segmentation Decathlon label the liver 1 and its tumors 2
        if not tumors and list(names) == ["1", "2"]:
            tumors = ["2"]
        return (tumors or list(names) or [""])[0]

    @property
    def missing(self) -> str:
        """What the user has to do before anything can be compared with it; empty when nothing."""
        if self._node is None:
            return _("Choose a reference segmentation or label map.")
        if self._names():
            return ""
        if not self._isLabelMap():
            return _("The reference has no segment; choose another one.")
        if self._values is not None:
            return _("The label map is empty; choose another reference.")
        if self._shared.tasks.busy:
            return _("The label values are being read.")
        return _("The label values could not be read; choose the reference again, or another one.")

    def isSegment(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> bool:
        """Whether it is this very segment."""
        return self._node is segmentationNode and self.chosen == segmentId

    def source(self) -> LabelSource:
        """The voxels of what is chosen.

        :raises SAMLiverTumorError: they cannot be read; the text says what to do.
        """
        if self._isLabelMap():
            return labelSource(self._node, int(self.chosen))
        return segmentSource(self._node, self.chosen)

    def close(self) -> None:
        """Let go of the scene."""
        self._imageChanged.stop()
        self._observe(None)

    def _isLabelMap(self) -> bool:
        return self._node is not None and self._node.IsA("vtkMRMLLabelMapVolumeNode")

    def _names(self) -> dict[str, str]:
        """Name of each segment by its ID, or of each label value by its text."""
        if self._isLabelMap():
            return {str(value): labelName(self._node, value) for value in self._values or ()}
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        ids = segmentation.GetSegmentIDs() if segmentation is not None else ()
        return {segmentId: segmentation.GetSegment(segmentId).GetName() for segmentId in ids}

    def _observe(self, node: slicer.vtkMRMLDisplayableNode | None) -> None:
        self._observations.clear()
        self._node, self._values, self._imageState = node, None, None
        if self._isLabelMap():
            for event in ("ModifiedEvent", slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent):
                self._observations.add(self, node, event, self._onModified)
        elif node is not None:
            kinds = slicer.vtkSegmentation
            for event in (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified):
                self._observations.add(self, node.GetSegmentation(), event, self._update)

    def _readValues(self) -> None:
        """Have the worker look for the label values, unless it has for this state of the image."""
        if not self._isLabelMap():
            return
        image = self._node.GetImageData()
        state = (image.__this__, image.GetMTime()) if image is not None else ()
        if state == self._imageState:
            return
        self._imageState, self._values = state, None
        try:
            array, name = labelArray(self._node), self._node.GetName()
        except SAMLiverTumorError as error:
            self._shared.session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> list[int]:
            return label_values(array, name, cancelled)

        self._shared.tasks.start("labels", _("Reading the label values"), work, partial(self._onValues, state))

    def _onValues(self, state: tuple, values: list[int]) -> None:
        if state == self._imageState:
            self._values = values

    def _onModified(self) -> None:
        self._imageChanged.start()

    def _onImage(self) -> None:
        # the scene may have been closed since
        if self._shared.parameters is not None:
            self._readValues()
            self._shared.follow()

    def _onNode(self, node: slicer.vtkMRMLNode | None) -> None:
        # while the scene is closed the selector loses its node, which the parameter node is to keep
        parameters = self._shared.parameters
        if parameters is not None and parameters.reference is not node:
            parameters.reference = node

    def _onChosen(self, index: int) -> None:
        if self._shared.parameters is not None:
            self._shared.parameters.referenceSegmentId = self._ui.referenceSegmentCombo.itemData(index)
