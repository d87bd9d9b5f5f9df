"""Choice of voxels of the scene: a segmentation and its segment, or a label map and its value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.io.labels.label_values import label_values
from SAMLiverTumorLib.io.labels.liver import LIVER_NAMES
from SAMLiverTumorLib.mrml.nodes.label_sources import labelArray, labelName, labelSource, segmentSource
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.panel.engine import whenIdle
from SAMLiverTumorLib.panel.section_context import Shared, enable

if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource


@dataclass(frozen=True)
class Binding:
    """Names of a choice in the .ui file and in the parameter node, and its default.

    :param selector: the selector of the node.
    :param combo: the list of its segments or label values; its label has the same name with "Label" appended.
    :param node: the parameter of the node, also its name in messages.
    :param segmentId: the parameter of the segment's ID or label value.
    :param words: by default, a segment whose name contains one of them is chosen.
    :param value: the default if the values are just 1 and 2: LiTS and the Medical Segmentation Decathlon label the
        liver 1 and its tumors 2.
    """

    selector: str
    combo: str
    node: str
    segmentId: str
    words: tuple[str, ...]
    value: str


REFERENCE = Binding(
    "referenceSelector",
    "referenceSegmentCombo",
    "reference",
    "referenceSegmentId",
    ("tumor", "tumour", "lesion"),
    "2",
)
# Names of segments that data sets cut out of the liver: "tumor", "Liver tumor 2", "livertumor01", "lesions".
_OF_LIVER = re.compile(r"(liver)?[ _-]*(tumou?r|lesion)s?[ _-]*\d*|肝?(肿瘤|病灶)\d*")

INSIDE = Binding(
    "insideSelector",
    "insideSegmentCombo",
    "inside",
    "insideSegmentId",
    ("liver", *sorted(LIVER_NAMES - {"liver"})),
    "1",
)


class Reference:
    """Connects the two selectors: the node, and its segment or label value.

    Label values are read in the worker's thread, once per change of the image: it takes up to a second.

    :param update: updates the section.
    :param binding: the names of the choice.
    """

    def __init__(self, shared: Shared, update: Callable[[], None], binding: Binding = REFERENCE) -> None:
        self._shared, self._update, self._binding = shared, update, binding
        self._selector, self._combo = getattr(shared.ui, binding.selector), getattr(shared.ui, binding.combo)
        self._comboLabel = getattr(shared.ui, f"{binding.combo}Label")
        self._observations = Observations()
        self._node: slicer.vtkMRMLDisplayableNode | None = None
        self._values: list[int] | None = None
        self._imageState: tuple | None = None
        # in the next event: an image reports its change before all of it has changed
        self._imageChanged = whenIdle(0, self._onImage)
        # SlicerParameterName supports only one node class
        self._selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        self._combo.connect("activated(int)", self._onChosen)

    def apply(self) -> None:
        """Apply the node chosen in the parameter node."""
        node = self._parameter(self._binding.node)
        if node is not self._node:
            self._observe(node)
        if self._selector.currentNode() is not node:
            self._selector.setCurrentNode(node)
        self._readValues()

    def update(self) -> None:
        """Show the choices, and the current one."""
        combo, names = self._combo, self._names()
        self._comboLabel.text = _("Its label:") if self._isLabelMap() else _("Its segment:")
        if [(combo.itemData(n), combo.itemText(n)) for n in range(combo.count)] != list(names.items()):
            combo.clear()
            for choice, name in names.items():
                combo.addItem(name, choice)
        chosen = self.chosen
        combo.currentIndex = list(names).index(chosen) if chosen else -1
        enable(combo, "" if names else self.missing, _("The segment or label value to use."))

    @property
    def isChosen(self) -> bool:
        """Whether there is a node to choose from."""
        return self._node is not None

    @property
    def chosen(self) -> str:
        """The ID of the segment, or the label value as text; empty if there is none."""
        names = self._names()
        chosen = self._parameter(self._binding.segmentId)
        if chosen in names:
            return chosen
        words = self._binding.words
        likely = [choice for choice, name in names.items() if name.lower() in words]
        likely = likely or [choice for choice, name in names.items() if any(word in name.lower() for word in words)]
        if not likely and list(names) == ["1", "2"]:
            likely = [self._binding.value]
        return (likely or list(names) or [""])[0]

    @property
    def missing(self) -> str:
        """What the user has to do before it can be used; empty if nothing."""
        if self._node is None:
            isReference = self._binding is REFERENCE
            return _("Choose a reference segmentation or label map.") if isReference else _("Nothing is chosen.")
        if self._names():
            return ""
        if not self._isLabelMap():
            return _("The segmentation has no segment; choose another one.")
        if self._values is not None:
            return _("The label map is empty; choose another one.")
        if self._shared.tasks.busy:
            return _("The label values are being read.")
        return _("The label values could not be read; choose the label map again, or another one.")

    def isSegment(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> bool:
        """Whether this segment is the one chosen."""
        return self._node is segmentationNode and self.chosen == segmentId

    def source(self) -> LabelSource:
        """The chosen voxels; for "Stay inside", a liver includes the tumors labeled separately.

        :raises SAMLiverTumorError: they cannot be read; the message says what to do.
        """
        source = self._sourceOf(self.chosen)
        return replace(source, others=tuple(map(self._sourceOf, self._cutOut()))) if self._cutOut() else source

    def copiedSource(self) -> LabelSource:
        """A copy of `source`, for work during which segments may be written to.

        :raises SAMLiverTumorError: see `source`.
        """
        source = self.source()
        return source if self._isLabelMap() else source.copied()

    def close(self) -> None:
        """Release the scene."""
        self._imageChanged.stop()
        self._observe(None)

    def _sourceOf(self, choice: str) -> LabelSource:
        return labelSource(self._node, int(choice)) if self._isLabelMap() else segmentSource(self._node, choice)

    def _cutOut(self) -> list[str]:
        """The segments or label values of tumors in the chosen liver: most data sets cut them out of it."""
        names, chosen = self._names(), self.chosen
        if self._binding is not INSIDE or not chosen:
            return []
        if list(names) == list(names.values()) == ["1", "2"]:
            return ["2"] if chosen == "1" else []
        if self._isLabelMap():
            # a label's name includes its value
            names = {choice: name.partition(": ")[2] for choice, name in names.items()}
        if names[chosen].strip().lower() not in INSIDE.words:
            return []
        return [choice for choice, name in names.items() if _OF_LIVER.fullmatch(name.strip().lower())]

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
        """Have the worker read the label values, unless it has done so for this state of the image."""
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

        self._shared.tasks.start(
            f"labels of {self._binding.node}", _("Reading the label values"), work, partial(self._onValues, state)
        )

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
        # while the scene is closing the selector loses its node, but the parameter node must keep it
        parameters = self._shared.parameters
        if parameters is not None and self._parameter(self._binding.node) is not node:
            setattr(parameters, self._binding.node, node)

    def _onChosen(self, index: int) -> None:
        if self._shared.parameters is not None:
            setattr(self._shared.parameters, self._binding.segmentId, self._combo.itemData(index))

    def _parameter(self, name: str) -> Any:
        return getattr(self._shared.parameters, name) if self._shared.parameters is not None else None
