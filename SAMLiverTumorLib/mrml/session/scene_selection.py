"""`Selection`: what a session works on, kept valid in a scene where anything may be deleted at any time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import nodesOfMissingSegments, promptNodesInScene, setShown
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import View, viewFromMatrix
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.plane import slice_count
from SAMLiverTumorLib.volume import Volume

_MARKUPS = slicer.vtkMRMLMarkupsNode
_PROMPT_EVENTS = (
    _MARKUPS.PointPositionDefinedEvent,
    _MARKUPS.PointPositionUndefinedEvent,
    _MARKUPS.PointRemovedEvent,
    _MARKUPS.PointModifiedEvent,
    "ModifiedEvent",
)


class Selection:
    """Volume, segmentation, segment and slice that the user has chosen, and the segments prompted so far."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.source: VolumeSource | None = None
        self.segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        self.segmentId = ""
        #: The current slice: (name, voxel index) or (4x4 SliceToRAS matrix, None).
        self.look: tuple[str | np.ndarray, int | None] | None = None
        #: Called with a segment whose prompts may have changed.
        self.onPrompts: Callable[[PromptedSegment], None] = _ignore
        #: Called when a segment of the chosen segmentation may have changed.
        self.onVoxels: Callable[[], None] = _ignore
        #: Called with a segment that was deleted.
        self.onSegmentGone: Callable[[PromptedSegment], None] = _ignore
        #: Called when the volume was deleted.
        self.onVolumeGone: Callable[[], None] = _ignore
        #: Called when the whole scene is being closed; the selection is empty then.
        self.onSceneClosed: Callable[[], None] = _ignore
        #: The last computed view, with the volume and slice it was computed for.
        self._seen: tuple[Volume, tuple, View | None] | None = None
        self._targets: dict[tuple[str, str], PromptedSegment] = {}
        self._observations = Observations()
        for event, callback in (
            (scene.NodeRemovedEvent, self._onNodeRemoved),
            (scene.StartCloseEvent, self._onStartClose),
            (scene.EndImportEvent, self._onImported),
        ):
            self._observations.add(scene, scene, event, callback)

    @property
    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The chosen volume."""
        return self.source.node if self.source is not None else None

    @property
    def current(self) -> PromptedSegment | None:
        """The segment to prompt; None until a segmentation and a segment are chosen."""
        if self.segmentationNode is None or not self.segmentId:
            return None
        return self._targets.get((self.segmentationNode.GetID(), self.segmentId))

    @property
    def targets(self) -> list[PromptedSegment]:
        """The segments that have been chosen so far."""
        return list(self._targets.values())

    def volume(self) -> Volume | None:
        """The volume's voxels; None if there is no volume or it cannot be used as it is."""
        try:
            return self.source.volume() if self.source is not None else None
        except SAMLiverTumorError:
            return None

    @property
    def view(self) -> View | None:
        """The slice of the volume that the user looks at; None if there is none."""
        volume = self.volume()
        if volume is None or self.look is None:
            self._seen = None
            return None
        # called a dozen times per panel update, and slow while the worker computes
        if self._seen is None or self._seen[0] is not volume or self._seen[1] is not self.look:
            self._seen = volume, self.look, self._viewOf(volume)
        return self._seen[2]

    def _viewOf(self, volume: Volume) -> View | None:
        plane, index = self.look
        try:
            if not isinstance(plane, str):
                return viewFromMatrix(volume, plane)
            return View(plane, index) if index is not None and 0 <= index < slice_count(volume, plane) else None
        except SAMLiverTumorError:
            return None

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Choose the volume."""
        self._seen = None
        self.source = VolumeSource(volumeNode) if volumeNode is not None else None

    def setSegmentation(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Choose the segmentation; none of its segments is chosen yet."""
        self.segmentationNode, self.segmentId = segmentationNode, ""
        if segmentationNode is not None:
            self._observations.remove(segmentationNode)
            removed, modified = slicer.vtkSegmentation.SegmentRemoved, slicer.vtkSegmentation.SegmentModified
            self._observations.add(segmentationNode, segmentationNode, removed, self._onSegmentRemoved)
            self._observations.add(segmentationNode, segmentationNode.GetSegmentation(), modified, self._onModified)
        self.showPrompts()

    def setSegment(self, segmentId: str) -> None:
        """Choose the segment."""
        node = self.segmentationNode
        if node is None or not segmentId or node.GetSegmentation().GetSegment(segmentId) is None:
            segmentId = ""
        self.segmentId = segmentId
        if segmentId:
            key = (node.GetID(), segmentId)
            if key not in self._targets:
                self._targets[key] = PromptedSegment(self.scene, node, segmentId)
            self.observe(self._targets[key])
        self.showPrompts()

    def choose(self, target: PromptedSegment) -> bool:
        """Choose a segment that was prompted before; returns whether it was another one."""
        if target is self.current:
            return False
        self._targets[target.segmentationNode.GetID(), target.segmentId] = target
        if target.segmentationNode is not self.segmentationNode:
            self.setSegmentation(target.segmentationNode)
        self.setSegment(target.segmentId)
        return True

    def setPlane(self, plane: str | np.ndarray | None, index: int | None = None) -> None:
        """Choose the slice: an axis's name and a voxel index, or a 4x4 SliceToRAS matrix; None for none."""
        if plane is not None and not isinstance(plane, str):
            plane = np.array(plane, float)
        self.look = None if plane is None else (plane, index)

    def makePromptNodes(self) -> tuple[slicer.vtkMRMLMarkupsNode, ...] | None:
        """(includeNode, excludeNode, roiNode) of the chosen segment, made where missing; None without a segment."""
        current = self.current
        if current is None:
            return None
        if not current.nodes.isComplete:
            with current.nodes.changing():
                current.nodes.create()
            self.observe(current)
            self.showPrompts()
        return current.nodes.create()

    def promptsOnSlice(self) -> list[tuple[str, int, tuple[float, float, float]]]:
        """The chosen segment's points on the slice that the user looks at: (role, control point index, world RAS)."""
        current, view = self.current, self.view
        return [] if current is None or view is None else current.pointsOn(view.plane(self.volume()))

    def showPrompts(self) -> None:
        """Show the chosen segment's prompts and hide those of all other segments."""
        shown = list(self.current.nodes.byRole.values()) if self.current is not None else []
        for node in promptNodesInScene(self.scene):
            setShown(node, node in shown)

    def observe(self, target: PromptedSegment) -> None:
        """Observe a segment's current prompt nodes."""
        self._observations.remove(target)
        for node in target.nodes.byRole.values():
            for event in _PROMPT_EVENTS:
                self._observations.add(target, node, event, self._heard, target)
            for event, isDragged in (
                (_MARKUPS.PointStartInteractionEvent, True),
                (_MARKUPS.PointEndInteractionEvent, False),
            ):
                self._observations.add(target, node, event, self._dragged, target, isDragged)

    def close(self) -> None:
        """Remove all observers and forget everything."""
        self._observations.clear()
        self._targets.clear()
        self.source = self.segmentationNode = self.look = self._seen = None
        self.segmentId = ""

    def _heard(self, target: PromptedSegment) -> None:
        if not target.nodes.quiet and not target.isDragged and target.exists:
            self.onPrompts(target)

    def _dragged(self, target: PromptedSegment, isDragged: bool) -> None:
        target.isDragged = isDragged
        if not isDragged:
            target.isLetGo = True
            self._heard(target)
            target.isLetGo = False

    def _onSegmentRemoved(self) -> None:
        if self.segmentationNode is not None and self.scene.IsNodePresent(self.segmentationNode):
            self._forgetMissing()
            # those of segments that came with a scene and were not chosen since; a new segment may get the same ID
            for node in nodesOfMissingSegments(self.segmentationNode):
                self.scene.RemoveNode(node)

    def _onModified(self) -> None:
        if self.segmentationNode is not None and self.scene.IsNodePresent(self.segmentationNode):
            self.onVoxels()

    def _onNodeRemoved(self) -> None:
        if self.scene.IsClosing():
            return
        if self.source is not None and not self.scene.IsNodePresent(self.source.node):
            self.source = self._seen = None
            self.onVolumeGone()
        if self.segmentationNode is not None and not self.scene.IsNodePresent(self.segmentationNode):
            self._observations.remove(self.segmentationNode)
            self.segmentationNode, self.segmentId = None, ""
        self._forgetMissing()
        for target in list(self._targets.values()):
            if not all(self.scene.IsNodePresent(node) for node in target.nodes.byRole.values()):
                target.isDragged = False
                target.nodes.find()
                self.observe(target)
                self._heard(target)

    def _forgetMissing(self) -> None:
        """Forget segments that no longer exist, and remove their prompts."""
        for key, target in list(self._targets.items()):
            if not target.exists and key in self._targets:
                del self._targets[key]
                self._observations.remove(target)
                if key[1] == self.segmentId:
                    self.segmentId = ""
                self.onSegmentGone(target)
                target.nodes.remove()

    def _onImported(self) -> None:
        if self.current is not None:
            self.current.nodes.find()
            self.observe(self.current)
            self._heard(self.current)
        self.showPrompts()

    def _onStartClose(self) -> None:
        for owner in [*self._targets.values(), self.segmentationNode]:
            self._observations.remove(owner)
        self._targets.clear()
        self.source = self.segmentationNode = self.look = self._seen = None
        self.segmentId = ""
        self.onSceneClosed()


def _ignore(*arguments: object) -> None:
    """The default callback: does nothing."""
