"""`PromptNodes`: the markups nodes that hold one segment's prompts, and their state as a value for undo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import slicer
import slicer.util

from SAMLiverTumorLib.mrml.nodes.conversions import (
    BOX,
    EXCLUDE,
    INCLUDE,
    ROLE_ATTRIBUTE,
    createPromptNode,
    isDrawn,
    isOurs,
    promptsFromNodes,
)
from SAMLiverTumorLib.prompts import Prompts

ROLES = (INCLUDE, EXCLUDE, BOX)

# The segment that the prompts belong to: the segmentation as a node reference, which survives saving and loading into
# another scene, and the segment's ID, which is unique and never changes.
SEGMENTATION_REFERENCE = "SAMLiverTumor.Segmentation"
SEGMENT_ATTRIBUTE = "SAMLiverTumor.Segment"

# The slices that a box applies to; the plane of a point is in its description.
PLANE_ATTRIBUTE = "SAMLiverTumor.Plane"

_PointState = tuple[tuple[float, float, float], str, str]


@dataclass(frozen=True)
class RoiState:
    """A drawn ROI in the node's own RAS in mm; `objectToNode` is a 4x4 matrix, row by row."""

    size: tuple[float, float, float]
    objectToNode: tuple[float, ...]
    plane: str

    def isSameBox(self, other: RoiState | None) -> bool:
        """Whether the box has the position and size of another one."""
        return other is not None and (self.size, self.objectToNode) == (other.size, other.objectToNode)


@dataclass(frozen=True)
class PromptState:
    """All prompts of a segment: points as (position in the node's own RAS, label, plane), and the ROI."""

    include: tuple[_PointState, ...] = ()
    exclude: tuple[_PointState, ...] = ()
    roi: RoiState | None = None

    def isSameAs(self, other: PromptState) -> bool:
        """Whether both hold the same prompts, ignoring the points' labels."""
        return self._unlabelled == other._unlabelled

    @property
    def _unlabelled(self) -> tuple:
        points = [[(place, note) for place, _label, note in group] for group in (self.include, self.exclude)]
        return (*points, self.roi)


class PromptNodes:
    """The prompt nodes of one segment: found in the scene, or made on request.

    >>> nodes = PromptNodes(scene, segmentationNode, segmentId)
    >>> includeNode, excludeNode, roiNode = nodes.create()
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str
    ) -> None:
        self._scene, self._segmentationNode, self.segmentId = scene, segmentationNode, segmentId
        self.byRole: dict[str, slicer.vtkMRMLMarkupsNode] = {}
        #: True while the session itself changes the nodes; observers must then do nothing.
        self.quiet = False
        self.find()

    def find(self) -> None:
        """Find the nodes in the scene, for example after loading; forget those that were removed."""
        self.byRole = {role: node for role, node in self.byRole.items() if self._scene.IsNodePresent(node)}
        for node in promptNodesInScene(self._scene):
            role = node.GetAttribute(ROLE_ATTRIBUTE)
            isOfSegment = (
                node.GetNodeReference(SEGMENTATION_REFERENCE) is self._segmentationNode
                and node.GetAttribute(SEGMENT_ATTRIBUTE) == self.segmentId
            )
            if isOfSegment and role not in self.byRole:
                self.byRole[role] = node

    @property
    def isComplete(self) -> bool:
        """Whether all nodes exist."""
        return len(self.byRole) == len(ROLES)

    def create(self) -> tuple[slicer.vtkMRMLMarkupsNode, ...]:
        """The include, exclude and ROI node; missing ones are added to the scene."""
        for role in ROLES:
            if role not in self.byRole:
                segment = self._segmentationNode.GetSegmentation().GetSegment(self.segmentId)
                node = createPromptNode(self._scene, role, segment.GetName())
                node.SetNodeReferenceID(SEGMENTATION_REFERENCE, self._segmentationNode.GetID())
                node.SetAttribute(SEGMENT_ATTRIBUTE, self.segmentId)
                self.byRole[role] = node
        return tuple(self.byRole[role] for role in ROLES)

    def show(self, isShown: bool) -> None:
        """Show or hide the prompts in the views."""
        for node in self.byRole.values():
            setShown(node, isShown)

    def remove(self) -> None:
        """Remove the nodes from the scene."""
        nodes, self.byRole = list(self.byRole.values()), {}
        for node in nodes:
            if self._scene.IsNodePresent(node):
                self._scene.RemoveNode(node)

    def prompts(self) -> Prompts:
        """The prompts in world RAS (mm).

        :raises InputError: non-linear transform, or the ROI is not a box.
        """
        return promptsFromNodes(*(self.byRole.get(role) for role in (INCLUDE, EXCLUDE)), self._drawnRoi())

    def read(self) -> PromptState:
        """The prompts as a value, to compare and restore."""
        return PromptState(_readPoints(self.byRole.get(INCLUDE)), _readPoints(self.byRole.get(EXCLUDE)), self._roi())

    def write(self, state: PromptState) -> None:
        """Restore the prompts of `state`; nodes deleted since are made again."""
        if state == self.read():
            return
        with self.changing():
            self.create()
            _writePoints(self.byRole[INCLUDE], state.include)
            _writePoints(self.byRole[EXCLUDE], state.exclude)
            if self._roi() != state.roi:
                _writeRoi(self.byRole[BOX], state.roi)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Within the block `quiet` is set."""
        before, self.quiet = self.quiet, True
        try:
            yield
        finally:
            self.quiet = before

    def _drawnRoi(self) -> slicer.vtkMRMLMarkupsROINode | None:
        """The ROI, unless the user is drawing it: until both corners are set it has two control points."""
        node = self.byRole.get(BOX)
        if node is None or not isDrawn(node):
            return None
        isPlaced = node.GetROIType() != node.ROITypeBox or node.GetNumberOfControlPoints() <= 1
        return node if isPlaced and not node.GetNumberOfUndefinedControlPoints(True) else None

    def _roi(self) -> RoiState | None:
        node = self._drawnRoi()
        if node is None:
            return None
        matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToNodeMatrix())
        return RoiState(tuple(node.GetSize()), tuple(matrix.ravel().tolist()), node.GetAttribute(PLANE_ATTRIBUTE) or "")


def promptNodesInScene(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLMarkupsNode]:
    """All prompt nodes of the scene, whatever their segment; the user's own markups are not included."""
    nodes = [
        scene.GetNthNodeByClass(n, "vtkMRMLMarkupsNode")
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode"))
    ]
    return [node for node in nodes if isOurs(node) and node.GetAttribute(SEGMENT_ATTRIBUTE)]


def nodesOfMissingSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkMRMLNode]:
    """Prompts and saved propagations of segments that the segmentation no longer has."""
    scene, segmentation = segmentationNode.GetScene(), segmentationNode.GetSegmentation()
    nodes = promptNodesInScene(scene)
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLTextNode")
        if node.GetAttribute(SEGMENT_ATTRIBUTE):
            nodes.append(node)
    return [
        node
        for node in nodes
        if node.GetNodeReference(SEGMENTATION_REFERENCE) is segmentationNode
        and segmentation.GetSegment(node.GetAttribute(SEGMENT_ATTRIBUTE)) is None
    ]


def setShown(node: slicer.vtkMRMLMarkupsNode, isShown: bool) -> None:
    """Show or hide a node in all views, without an event if nothing changes."""
    if node.GetDisplayNode() is None and isShown:
        node.CreateDefaultDisplayNodes()
    if node.GetDisplayNode() is not None and bool(node.GetDisplayNode().GetVisibility()) != isShown:
        node.GetDisplayNode().SetVisibility(isShown)


def definedPoints(node: slicer.vtkMRMLMarkupsNode | None) -> list[int]:
    """Indices of the control points that were placed; previews do not count."""
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    count = node.GetNumberOfControlPoints() if node is not None else 0
    return [n for n in range(count) if node.GetNthControlPointPositionStatus(n) == defined]


def _readPoints(node: slicer.vtkMRMLMarkupsFiducialNode | None) -> tuple[_PointState, ...]:
    return tuple(
        (
            tuple(node.GetNthControlPointPosition(n)),
            node.GetNthControlPointLabel(n),
            node.GetNthControlPointDescription(n),
        )
        for n in definedPoints(node)
    )


def _writePoints(node: slicer.vtkMRMLMarkupsFiducialNode, points: tuple[_PointState, ...]) -> None:
    """Change only the defined points: the preview point of a user who is placing one is kept."""
    if _readPoints(node) == points:
        return
    with slicer.util.NodeModify(node):
        for n in reversed(definedPoints(node)[len(points) :]):
            node.RemoveNthControlPoint(n)
        for position, label, _plane in points[len(definedPoints(node)) :]:
            node.AddControlPoint(position, label)
        for n, (position, label, plane) in zip(definedPoints(node), points, strict=True):
            node.SetNthControlPointPosition(n, *position)
            node.SetNthControlPointLabel(n, label)
            node.SetNthControlPointDescription(n, plane)


def _writeRoi(node: slicer.vtkMRMLMarkupsROINode, roi: RoiState | None) -> None:
    with slicer.util.NodeModify(node):
        if roi is None:
            node.RemoveAllControlPoints()
            node.SetSize(0, 0, 0)
            node.RemoveAttribute(PLANE_ATTRIBUTE)
            return
        matrix = np.array(roi.objectToNode).reshape(4, 4)
        if not node.GetNumberOfControlPoints():
            node.AddControlPoint(matrix[:3, 3])
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
        node.SetSize(*roi.size)
        node.SetAttribute(PLANE_ATTRIBUTE, roi.plane)
