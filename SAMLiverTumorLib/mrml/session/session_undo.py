"""`SessionUndo`: undo and redo of a session's steps and of the Segment Editor's edits in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import slicer

from SAMLiverTumorLib.mrml.nodes.liver_window import DisplayWindow
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import voxelCount, voxelDigest, voxelStamp
from SAMLiverTumorLib.mrml.session.changed_places import changedPlaces
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import EditorHistory
from SAMLiverTumorLib.mrml.session.step_history import AnyStep, EditorStep, NewSegment, Step, StepHistory, WindowStep


@dataclass(frozen=True)
class Moved:
    """What undo or redo did.

    :param name: the step, for the user.
    :param target: the segment to choose; None if the choice stays.
    :param placesRas: where, see `changedPlaces`.
    """

    name: str
    target: PromptedSegment | None
    placesRas: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


class SessionUndo:
    """Records steps and moves back and forth through them.

    :param objects: writes the voxels.
    :param editor: the Segment Editor's undo; without it, edits in between are kept.
    """

    def __init__(self, objects: ObjectWriter, editor: EditorHistory | None = None) -> None:
        self.history = StepHistory()
        self._objects, self._editor = objects, editor
        self._segmentationNode: slicer.vtkMRMLSegmentationNode | None = None
        #: The voxels as the session last left them.
        self._left = 0
        self._latest: tuple[tuple, int] = ((), 0)
        self._isStepping = False

    @property
    def editor(self) -> EditorHistory | None:
        """The Segment Editor's undo; assigned when the user enters or leaves it."""
        return self._editor

    @editor.setter
    def editor(self, editor: EditorHistory | None) -> None:
        if editor is self._editor:
            return
        self.history.forgetEditor()
        self._editor = editor
        self.noteVoxels(self._segmentationNode)

    def record(
        self, target: PromptedSegment, action: str, prompts: PromptState | None = None, changesVoxels: bool = True
    ) -> None:
        """Start a step of a segment.

        :param action: what the step does, for the user.
        :param prompts: the prompts before it; None for the current ones.
        :param changesVoxels: whether undoing it also restores voxels.
        """
        self._recordEdits()
        if self._editor is not None and changesVoxels:
            self._editor.saveStateForUndo()
        before = target.nodes.read() if prompts is None else prompts
        self.history.record(Step(target, before, target.objects, changesVoxels, self._stepDigest(), action))

    def recordNew(
        self, target: PromptedSegment, previous: PromptedSegment | None, isProvisional: bool, hasNewSegmentation: bool
    ) -> None:
        """Record that a segment was added; see `NewSegment`."""
        self._recordEdits()
        self.history.record(NewSegment(target, previous, self._stepDigest(), isProvisional, hasNewSegmentation))

    def recordWindow(self, before: DisplayWindow) -> None:
        """Record that the display window of a volume was changed."""
        self._recordEdits()
        self.history.record(WindowStep(before))

    def recordUnlessFresh(self, target: PromptedSegment, action: str) -> None:
        """Start a step, unless the last one is of this segment and has had no effect yet: then that one is meant."""
        last = self.history.nextUndo()
        isFresh = isinstance(last, Step) and last.target is target and last.objects is target.objects
        if not isFresh or not last.changesVoxels:
            self.record(target, action)
        else:
            self.history.rename(action)

    def isStillDrawing(self, target: PromptedSegment) -> bool:
        """Whether the segment's last step was drawing a box that has had no effect yet.

        Slicer reports a new box in parts, its size before its position: together they are one step.
        """
        last, now = self.history.nextUndo(), target.nodes.read()
        if not isinstance(last, Step) or last.target is not target or target.isLetGo:
            return False
        isNewBox = last.prompts.roi is None and target.known.roi is not None and now.roi is not None
        points = (now.include, now.exclude) == (last.prompts.include, last.prompts.exclude)
        return isNewBox and points and last.changesVoxels and last.objects is target.objects

    def noteVoxels(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Take the current voxels as the session's own: any later difference is an edit."""
        self._segmentationNode = segmentationNode
        if self._editor is not None:
            self._left = self._digest()

    @property
    def canUndo(self) -> bool:
        """Whether there is a step to undo."""
        return self._isEdited() or self._nextUndo() is not None

    @property
    def canRedo(self) -> bool:
        """Whether there is a step to redo."""
        step = self.history.nextRedo()
        return self._editor.canRedo() if isinstance(step, EditorStep) else step is not None

    @property
    def undoName(self) -> str:
        """What undo would undo, for the user; empty if nothing."""
        if self._isEdited():
            return EditorStep(self._left).name
        step = self._nextUndo()
        return step.name if step is not None else ""

    @property
    def redoName(self) -> str:
        """What redo would redo, for the user; empty if nothing."""
        step = self.history.nextRedo()
        return step.name if step is not None and self.canRedo else ""

    def undo(self) -> Moved:
        """Undo the last step.

        :raises SAMLiverTumorError: the segment cannot be written; the step is kept.
        """
        self._recordEdits()
        step = self._nextUndo()
        if isinstance(step, EditorStep):
            left = EditorStep(self._left)
            self._stepEditor(self._editor.undo, self._editor.canUndo)
            # it may comprise several strokes
            self.history.undone(left, keep=self._left != step.digest and self._editor.canUndo())
            return Moved(step.name, None)
        if isinstance(step, NewSegment | WindowStep):
            return self._moveSimple(step, self.history.undone, isUndo=True)
        left = self._leave(step, self._stepDigest())
        self._restore(step, self._editor and (self._editor.undo, self._editor.canUndo, self._editor.redo))
        self.history.undone(left)
        return Moved(step.name, step.target, changedPlaces(left, step))

    def redo(self) -> Moved:
        """Redo the last undone step; see `undo`."""
        step = self.history.nextRedo()
        if isinstance(step, EditorStep):
            left = EditorStep(self._left)
            self._stepEditor(self._editor.redo, self._editor.canRedo)
            self.history.redone(left)
            return Moved(step.name, None)
        if isinstance(step, NewSegment | WindowStep):
            return self._moveSimple(step, self.history.redone, isUndo=False)
        left = self._leave(step, self._stepDigest())
        self._restore(step, self._editor and (self._editor.redo, self._editor.canRedo, self._editor.undo))
        self.history.redone(left)
        return Moved(step.name, step.target, changedPlaces(left, step))

    @property
    def isStepping(self) -> bool:
        """Whether undo or redo is changing the scene now."""
        return self._isStepping

    def removeSegment(self, step: NewSegment) -> None:
        """Remove an added segment from its segmentation, unless it holds voxels: those are not ours to delete."""
        target = step.target
        if voxelCount(target.segmentationNode, target.segmentId):
            return
        segmentation = target.segmentationNode.GetSegmentation()
        target.removed = segmentation.GetSegment(target.segmentId)
        with self._stepping():
            segmentation.RemoveSegment(target.segmentId)

    def _moveSimple(self, step: NewSegment | WindowStep, note: Callable[[AnyStep], None], isUndo: bool) -> Moved:
        """Undo or redo an added segment, or a change of a display window."""
        name = step.name
        if isinstance(step, WindowStep):
            left = WindowStep(DisplayWindow.of(step.display.volumeNode))
            step.display.apply()
            note(left)
            return Moved(name, None)
        # noted first: whoever hears of the segment asks what can be undone now
        note(replace(step, digest=self._stepDigest()))
        if isUndo:
            self.removeSegment(step)
        elif not step.target.exists:
            with self._stepping():
                step.target.addAgain()
        return Moved(name, step.previous if isUndo else step.target)

    @property
    def isEdited(self) -> bool:
        """Whether voxels may have been changed from outside while a Segment Editor is linked; cheap."""
        isOurs = self._editor is None or self._isStepping or self._objects.isWriting
        return not isOurs and voxelStamp(self._segmentationNode) != self._latest[0]

    def followEditor(self) -> list[PromptedSegment]:
        """Detect the Segment Editor's own Undo and Redo, which restore voxels but not prompts.

        :return: the segments whose prompts were restored together with their voxels.
        """
        if not self.isEdited:
            return []
        digest = self._digest()
        if digest == self._left and not self._editor.canRedo():
            return []
        # if it can redo, it has just undone, possibly a step that had changed no voxel yet
        back, forth = self.history.stepsBack(digest), self.history.stepsForth(digest)
        if not back and not forth:
            return []
        # restoring the provenance sends another event
        with self._stepping():
            if back and (not forth or back <= forth):
                targets = [self._passed(self.history.nextUndo(), self.history.undone) for _ in range(back)]
            else:
                targets = [self._passed(self.history.nextRedo(), self.history.redone) for _ in range(forth)]
        self._left = digest
        return [target for n, target in enumerate(targets) if target is not None and target not in targets[:n]]

    def _passed(self, step: AnyStep, note: Callable[[AnyStep], None]) -> PromptedSegment | None:
        """Move a step whose voxels are restored already to the other stack, and restore its prompts."""
        if isinstance(step, EditorStep):
            note(EditorStep(self._left))
            self._left = step.digest
            return None
        if not isinstance(step, Step):
            return self._moveSimple(step, note, isUndo=note == self.history.undone).target
        note(self._leave(step, self._left))
        self._settle(step, areVoxelsThere=True)
        if step.digest is not None:
            self._left = step.digest
        return step.target

    def _nextUndo(self) -> AnyStep | None:
        """The state that undo goes back to; edits that the Segment Editor has forgotten are kept."""
        step = self.history.nextUndo()
        if isinstance(step, EditorStep) and not self._editor.canUndo():
            self.history.forgetEditor()
            return self.history.nextUndo()
        return step

    def _recordEdits(self) -> None:
        """Record the Segment Editor's edits since the session last wrote voxels."""
        if self._isEdited():
            self.history.record(EditorStep(self._left))
            self._left = self._digest()

    def _isEdited(self) -> bool:
        return self._editor is not None and bool(self._editor.canUndo()) and self._digest() != self._left

    def _digest(self) -> int:
        stamp = voxelStamp(self._segmentationNode)
        if stamp != self._latest[0]:
            self._latest = stamp, voxelDigest(self._segmentationNode)
        return self._latest[1]

    def _stepEditor(self, step: Callable[[], None], isPossible: Callable[[], bool]) -> None:
        """Step until the voxels change: states saved by the session may equal their neighbors."""
        before = self._digest()
        with self._stepping():
            while isPossible():
                step()
                if self._digest() != before:
                    break
        self._left = self._digest()

    def _stepDigest(self) -> int | None:
        return self._digest() if self._editor is not None else None

    def _leave(self, step: Step, digest: int | None) -> Step:
        """The state that a step's segment is in, before it goes to `step`."""
        target = step.target
        return replace(step, prompts=target.nodes.read(), objects=target.objects, digest=digest)

    def _restore(self, step: Step, way: tuple[Callable, Callable, Callable] | None) -> None:
        """Go to a state.

        :param way: through the Segment Editor's history: step, whether it can step, and step back.
        :raises SAMLiverTumorError: the segment cannot be written; nothing has changed.
        """
        self._settle(step, areVoxelsThere=step.changesVoxels and way is not None and self._follow(step, *way))

    def _settle(self, step: Step, areVoxelsThere: bool) -> None:
        target = step.target
        if step.changesVoxels:
            # first, because it may fail
            self._objects.restore(target, step.objects, areVoxelsThere)
        else:
            target.objects = dict(step.objects)
        target.nodes.write(step.prompts)
        target.known = target.nodes.read()

    def _follow(self, step: Step, go: Callable, canGo: Callable, comeBack: Callable) -> bool:
        """Move the Segment Editor's history to the state, so that its next state is that of the edit before.

        Writing the voxels instead would discard what it can redo.

        :return: whether the history has that state.
        """
        if step.digest is None or step.target.segmentationNode is not self._segmentationNode:
            return False
        gone = 0
        with self._stepping():
            while self._digest() != step.digest and canGo():
                go()
                gone += 1
            if self._digest() == step.digest:
                return True
            for _ in range(gone):
                comeBack()
        return False

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Within the block the session itself steps through the Segment Editor's history."""
        self._isStepping = True
        try:
            yield
        finally:
            self._isStepping = False
