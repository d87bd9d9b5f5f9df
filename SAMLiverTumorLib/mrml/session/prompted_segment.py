"""`PromptedSegment`: a segment, its prompt nodes and the object made from them."""

from __future__ import annotations

import slicer

from SAMLiverTumorLib.mrml.nodes.conversions import BOX, EXCLUDE, INCLUDE
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PLANE_ATTRIBUTE, PromptNodes, PromptState, definedPoints
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import Plan, View, planSlices, throughNote
from SAMLiverTumorLib.mrml.session.open_object import OpenObject, VolumeKey
from SAMLiverTumorLib.plane import Plane, within_step
from SAMLiverTumorLib.prompts import on_plane
from SAMLiverTumorLib.volume import Volume


class PromptedSegment:
    """What a session knows about one segment.

    Compared by identity: deleting and reloading a segmentation creates new ones.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str
    ) -> None:
        self.scene, self.segmentationNode, self.segmentId = scene, segmentationNode, segmentId
        self.nodes = PromptNodes(scene, segmentationNode, segmentId)
        #: The prompts as last read.
        self.known: PromptState = self.nodes.read()
        #: What the prompts have added, by the volume whose grid it lies on.
        self.objects: dict[VolumeKey, OpenObject] = {}
        #: Whether the user is dragging a point or the box.
        self.isDragged = False
        #: Whether the current event is the user releasing what was dragged.
        self.isLetGo = False
        #: The segment after undo has removed it, for redo.
        self.removed: slicer.vtkSegment | None = None
        self._name = ""

    @property
    def name(self) -> str:
        """The segment's name, also after it was deleted."""
        segment = self.segmentationNode.GetSegmentation().GetSegment(self.segmentId)
        if segment is not None:
            self._name = segment.GetName()
        return self._name

    @property
    def exists(self) -> bool:
        """Whether the segment is still in the scene."""
        return (
            self.isSegmentationThere and self.segmentationNode.GetSegmentation().GetSegment(self.segmentId) is not None
        )

    def addAgain(self) -> None:
        """Add the segment again after undo has removed it: empty, with its ID, name, color and tags."""
        segmentation, old = self.segmentationNode.GetSegmentation(), self.removed
        segmentation.AddEmptySegment(self.segmentId, old.GetName(), old.GetColor())
        segment = segmentation.GetSegment(self.segmentId)
        label = segment.GetLabelValue()
        segment.DeepCopyMetadata(old)
        segment.SetLabelValue(label)
        self.nodes.find()
        self.known = self.nodes.read()

    @property
    def isSegmentationThere(self) -> bool:
        """Whether the segmentation is still in the scene."""
        return bool(self.scene.IsNodePresent(self.segmentationNode))

    @property
    def hasChanges(self) -> bool:
        """Whether the prompts have added or removed anything."""
        return any(part.hasChanges for part in self.objects.values())

    def showSegment(self) -> None:
        """Make the segment visible in the views."""
        displayNode = self.segmentationNode.GetDisplayNode()
        if displayNode is not None and not displayNode.GetSegmentVisibility(self.segmentId):
            displayNode.SetSegmentVisibility(self.segmentId, True)

    def objectOn(self, volumeKey: VolumeKey) -> OpenObject:
        """What the prompts have added on a volume's grid."""
        return self.objects.get(volumeKey) or OpenObject(volumeKey)

    def keep(self, part: OpenObject) -> None:
        """Replace what the prompts have added on the volume of `part`."""
        self.objects = {**self.objects, part.volumeKey: part}

    def plan(self, volume: Volume, orientation: str) -> Plan:
        """The slices to segment for the current prompts.

        :raises SAMLiverTumorError: the prompts cannot be used with the volume.
        """
        state = self.nodes.read()
        notes = [note for _position, _label, note in (*state.include, *state.exclude)]
        return planSlices(self.nodes.prompts(), notes, state.roi.plane if state.roi else "", volume, orientation)

    def note(self, before: PromptState, volume: Volume | None, view: View | None, orientation: str, through: bool):
        """Record the view in which prompts that are new or changed since `before` were placed."""
        plane = view.plane(volume) if view is not None and volume is not None else None
        state = self.nodes.read()
        with self.nodes.changing():
            for role, points, old in (
                (INCLUDE, state.include, before.include),
                (EXCLUDE, state.exclude, before.exclude),
            ):
                node = self.nodes.byRole.get(role)
                for n, point in zip(definedPoints(node), points, strict=True):
                    if point not in old:
                        node.SetNthControlPointDescription(n, _pointNote(node, n, point[2], plane, view, orientation))
            if state.roi is not None and (not state.roi.plane or not state.roi.isSameBox(before.roi)):
                self.noteBox(view, orientation, through)

    def noteBox(self, view: View | None, orientation: str, through: bool) -> None:
        """Record which slices the box applies to."""
        straight = view is not None and view.sliceToRas is None
        if through:
            note = throughNote(view.name if straight else orientation)
        else:
            note = view.sliceNote if view is not None else orientation
        with self.nodes.changing():
            self.nodes.byRole[BOX].SetAttribute(PLANE_ATTRIBUTE, note)

    def pointsOn(self, plane: Plane) -> list[tuple[str, int, tuple[float, float, float]]]:
        """The points nearest to a plane: (role, control point index, world RAS in mm)."""
        found = []
        for role in (INCLUDE, EXCLUDE):
            node = self.nodes.byRole.get(role)
            for n in definedPoints(node):
                pointRas = tuple(node.GetNthControlPointPositionWorld(n))
                if within_step(plane.from_ras([pointRas])[0, 2]):
                    found.append((role, n, pointRas))
        return found

    def addBoxSlice(self, view: View, volume: Volume) -> bool:
        """Apply a box for chosen slices to this one as well; returns whether that is new."""
        roi = self.nodes.read().roi
        if roi is None or roi.plane.startswith("through") or view.sliceNote in _sliceNotes(roi.plane):
            return False
        if on_plane(self.nodes.prompts(), view.plane(volume)).box is None:
            return False
        with self.nodes.changing():
            self.nodes.byRole[BOX].SetAttribute(PLANE_ATTRIBUTE, "; ".join([*_sliceNotes(roi.plane), view.sliceNote]))
        return True

    def clearSlice(self, view: View, volume: Volume) -> None:
        """Remove the points on a slice, and the box if it applies to that slice only."""
        with self.nodes.changing():
            for role, n, _pointRas in reversed(self.pointsOn(view.plane(volume))):
                self.nodes.byRole[role].RemoveNthControlPoint(n)
            state = self.nodes.read()
            notes = _sliceNotes(state.roi.plane) if state.roi is not None else []
            if view.sliceNote in notes:
                left = [note for note in notes if note != view.sliceNote]
                self.nodes.byRole[BOX].SetAttribute(PLANE_ATTRIBUTE, "; ".join(left))
                if not left:
                    self.nodes.write(PromptState(state.include, state.exclude))


def _sliceNotes(note: str) -> list[str]:
    return [part.strip() for part in note.split(";") if part.strip()]


def _pointNote(node, n: int, note: str, plane: Plane | None, view: View | None, orientation: str) -> str:
    if plane is None:
        return note or orientation
    if within_step(plane.from_ras([node.GetNthControlPointPositionWorld(n)])[0, 2]):
        return view.note
    # moved outside this view
    return note or (view.name if view.sliceToRas is None else orientation)
