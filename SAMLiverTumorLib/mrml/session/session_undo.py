"""`SessionUndo`: undo and redo of a session's steps, and of the Segment Editor's edits between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer

from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import voxelDigest, voxelStamp
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import EditorHistory
from SAMLiverTumorLib.mrml.session.step_history import EditorStep, Step, StepHistory


class SessionUndo:
    """Records steps and goes back and forth through them.

    :param objects: writes the voxels.
    :param editor: the Segment Editor's undo, or None: then its edits stay where they are.
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
        """The Segment Editor's undo; assignable, as the user comes and goes."""
        return self._editor

    @editor.setter
    def editor(self, editor: EditorHistory | None) -> None:
        if editor is self._editor:
            return
        self.history.forgetEditor()
        self._editor = editor
        self.noteVoxels(self._segmentationNode)

    def record(self, target: PromptedSegment, prompts: PromptState | None = None, changesVoxels: bool = True) -> None:
        """Start a step of a segment.

        :param prompts: what the prompt nodes said before it; None for what they say now.
        :param changesVoxels: whether going back also takes voxels back.
        """
        self._recordEdits()
        if self._editor is not None and changesVoxels:
            self._editor.saveStateForUndo()
        before = target.nodes.read() if prompts is None else prompts
        self.history.record(Step(target, before, target.objects, changesVoxels, self._stepDigest()))

    def recordUnlessFresh(self, target: PromptedSegment) -> None:
        """Start a step, unless the last one is this segment's and nothing has come of it yet."""
        last = self.history.nextUndo()
        isFresh = isinstance(last, Step) and last.target is target and last.objects is target.objects
        if not isFresh or not last.changesVoxels:
            self.record(target)

    def isStillDrawing(self, target: PromptedSegment) -> bool:
        """Whether the segment's last step was drawing a box, of which nothing has come yet.

        Slicer tells of a new box in pieces, its size before its place: those are one step.
        """
        last, now = self.history.nextUndo(), target.nodes.read()
        if not isinstance(last, Step) or last.target is not target or target.isLetGo:
            return False
        isNewBox = last.prompts.roi is None and target.known.roi is not None and now.roi is not None
        points = (now.include, now.exclude) == (last.prompts.include, last.prompts.exclude)
        return isNewBox and points and last.changesVoxels and last.objects is target.objects

    def noteVoxels(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Remember the voxels as they are now for the session's own doing: what differs later is an edit."""
        self._segmentationNode = segmentationNode
        if self._editor is not None:
            self._left = self._digest()

    @property
    def canUndo(self) -> bool:
        """Whether there is a step to take back."""
        return self._isEdited() or self._nextUndo() is not None

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone step."""
        step = self.history.nextRedo()
        return self._editor.canRedo() if isinstance(step, EditorStep) else step is not None

    def undo(self) -> PromptedSegment | None:
        """Take back the last step: its segment, or None where it was the Segment Editor's own.

        :raises SAMLiverTumorError: the segment cannot be written; the step is kept.
        """
        self._recordEdits()
        step = self._nextUndo()
        if isinstance(step, EditorStep):
            left = EditorStep(self._left)
            self._stepEditor(self._editor.undo, self._editor.canUndo)
            # it may stand for several strokes
            self.history.undone(left, keep=self._left != step.digest and self._editor.canUndo())
            return None
        left = self._leave(step, self._stepDigest())
        self._restore(step, self._editor and (self._editor.undo, self._editor.canUndo, self._editor.redo))
        self.history.undone(left)
        return step.target

    def redo(self) -> PromptedSegment | None:
        """Do the last undone step again; see `undo`."""
        step = self.history.nextRedo()
        if isinstance(step, EditorStep):
            left = EditorStep(self._left)
            self._stepEditor(self._editor.redo, self._editor.canRedo)
            self.history.redone(left)
            return None
        left = self._leave(step, self._stepDigest())
        self._restore(step, self._editor and (self._editor.redo, self._editor.canRedo, self._editor.undo))
        self.history.redone(left)
        return step.target

    @property
    def isEdited(self) -> bool:
        """Whether others than the session may have changed voxels while a Segment Editor goes along; costs nothing."""
        isOurs = self._editor is None or self._isStepping or self._objects.isWriting
        return not isOurs and voxelStamp(self._segmentationNode) != self._latest[0]

    def followEditor(self) -> list[PromptedSegment]:
        """Take notice of the Segment Editor's own Undo and Redo, which bring voxels back but know of no prompts.

        :return: the segments whose prompts have gone back or forth with their voxels.
        """
        if not self.isEdited:
            return []
        digest = self._digest()
        if digest == self._left and not self._editor.canRedo():
            return []
        # where it can redo it has just undone, be it a step that had changed no voxel yet
        back, forth = self.history.stepsBack(digest), self.history.stepsForth(digest)
        if not back and not forth:
            return []
        # provenance is put back as well, which is heard of again
        with self._stepping():
            if back and (not forth or back <= forth):
                targets = [self._passed(self.history.nextUndo(), self.history.undone) for _ in range(back)]
            else:
                targets = [self._passed(self.history.nextRedo(), self.history.redone) for _ in range(forth)]
        self._left = digest
        return [target for n, target in enumerate(targets) if target is not None and target not in targets[:n]]

    def _passed(self, step: Step | EditorStep, note: Callable[[Step | EditorStep], None]) -> PromptedSegment | None:
        """Move a step whose voxels are there already to the other stack, and its prompts with it."""
        if isinstance(step, EditorStep):
            note(EditorStep(self._left))
            self._left = step.digest
            return None
        note(self._leave(step, self._left))
        self._settle(step, areVoxelsThere=True)
        if step.digest is not None:
            self._left = step.digest
        return step.target

    def _nextUndo(self) -> Step | EditorStep | None:
        """The state that undo goes back to; edits that the Segment Editor has forgotten stay."""
        step = self.history.nextUndo()
        if isinstance(step, EditorStep) and not self._editor.canUndo():
            self.history.forgetEditor()
            return self.history.nextUndo()
        return step

    def _recordEdits(self) -> None:
        """Have the Segment Editor's edits since the session last touched the voxels in the history."""
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
        """One change of voxels: the states that the session itself has saved may be equal to their neighbors."""
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
        return Step(target, target.nodes.read(), target.objects, step.changesVoxels, digest)

    def _restore(self, step: Step, way: tuple[Callable, Callable, Callable] | None) -> None:
        """Go to a state.

        :param way: for the Segment Editor's history: how to go there, whether it can go on, how to come back.
        :raises SAMLiverTumorError: the segment cannot be written; nothing has changed.
        """
        self._settle(step, areVoxelsThere=step.changesVoxels and way is not None and self._follow(step, *way))

    def _settle(self, step: Step, areVoxelsThere: bool) -> None:
        target = step.target
        if step.changesVoxels:
            # first, since it may be refused
            self._objects.restore(target, step.objects, areVoxelsThere)
        else:
            target.objects = dict(step.objects)
        target.nodes.write(step.prompts)
        target.known = target.nodes.read()

    def _follow(self, step: Step, go: Callable, canGo: Callable, comeBack: Callable) -> bool:
        """Have the Segment Editor's history go to the state, so that its next one is that of the edit before.

        Writing the voxels instead would cut off what it can redo.

        :return: whether it has that state.
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
        """Within the block it is the session that goes through the Segment Editor's history."""
        self._isStepping = True
        try:
            yield
        finally:
            self._isStepping = False
