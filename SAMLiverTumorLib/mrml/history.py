"""`PromptHistory`: one undo step takes back a prompt and the mask that came of it, together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import slicer
import slicer.util

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.nodes import isDrawn, isOurs
from SAMLiverTumorLib.mrml.writer import SegmentWriter


@dataclass(frozen=True)
class _Points:
    """Defined control points of a fiducial node: (position in the node's own RAS in mm, label)."""

    points: tuple[tuple[tuple[float, float, float], str], ...]


@dataclass(frozen=True)
class _Roi:
    """A drawn ROI in the node's own RAS, in mm; `objectToNode` is a 4x4 matrix, row by row."""

    size: tuple[float, float, float]
    objectToNode: tuple[float, ...]


@dataclass(eq=False)
class _State:
    prompts: tuple[_Points | _Roi | None, ...]
    added: Mask | None
    # whether the segmentation changed after this state was saved; known when the step is over
    changesSegmentation: bool = False


class PromptHistory:
    """Undo and redo over our prompt nodes and the segmentation they fill.

    The segmentation is restored as a whole, as the Segment Editor does, so an edit that was made to it
    after the last step goes with that step, and comes back with redo. Markups of the user are never
    touched: only nodes made by `createPromptNodes` are accepted.

    :param nodes: our prompt nodes, in any order.
    :param levels: how many steps can be taken back, at most two less than the writer keeps states.
    :raises ValueError: a node is not ours.

    >>> history = PromptHistory(writer, createPromptNodes(scene))
    >>> history.record()
    >>> includeNode.AddControlPointWorld(10, -20, 35)
    >>> history.added = writer.write(segmentId, mask, previous=history.added)
    >>> history.undo()
    True
    """

    def __init__(self, writer: SegmentWriter, nodes: Sequence[slicer.vtkMRMLMarkupsNode], levels: int = 100) -> None:
        for node in nodes:
            if not isOurs(node):
                name = node.GetName() if node is not None else "None"
                raise ValueError(f"'{name}' is not a prompt node of this extension; undo may not change it")
        self.writer = writer
        self.nodes = tuple(nodes)
        # undo saves one more state of the segmentation, the one it leaves
        self.levels = min(levels, writer.maximumUndoStates - 2)
        #: What the present prompts have added to the segment; set it after each write.
        self.added: Mask | None = None
        #: True while prompts are being restored: observers of the nodes should then do nothing.
        self.restoring = False
        self._undone: list[_State] = []
        self._done: list[_State] = []

    def snapshot(self) -> tuple:
        """The prompts as they are now, to hand to `record` once the user has changed them."""
        return tuple(_read(node) for node in self.nodes)

    def record(self, prompts: tuple | None = None) -> None:
        """Start a step: remember prompts, `added` and segmentation as they are before a change.

        :param prompts: an earlier `snapshot()`, where the prompts have changed already (a click is
            heard of after it was made); None for the present ones.
        """
        self._closeStep()
        self.writer.saveStateForUndo()
        self._done.append(_State(self.snapshot() if prompts is None else prompts, self.added))
        del self._done[: -self.levels]
        self._undone.clear()

    def undo(self) -> bool:
        """Take back the last step, prompts and mask; whether there was one."""
        if not self._done:
            return False
        self._closeStep()
        state = self._done.pop()
        self._undone.append(_State(self.snapshot(), self.added, state.changesSegmentation))
        if state.changesSegmentation:
            self.writer.undo()
        self._restore(state)
        return True

    def redo(self) -> bool:
        """Do the last undone step again, prompts and mask; whether there was one."""
        if not self._undone:
            return False
        state = self._undone.pop()
        self._done.append(_State(self.snapshot(), self.added, state.changesSegmentation))
        if state.changesSegmentation:
            self.writer.redo()
        self._restore(state)
        return True

    @property
    def canUndo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._done)

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone step."""
        return bool(self._undone)

    def _closeStep(self) -> None:
        """Note whether the segmentation has changed since the last step began.

        The segmentation's own history keeps unchanged states once, so a step that moved only prompts
        must not go back in it.
        """
        if self._done and self.writer.changedSinceSave:
            self._done[-1].changesSegmentation = True

    def _restore(self, state: _State) -> None:
        self.added = state.added
        with self._restoringPrompts():
            for node, prompt in zip(self.nodes, state.prompts, strict=True):
                if prompt != _read(node):
                    _write(node, prompt)

    @contextmanager
    def _restoringPrompts(self) -> Iterator[None]:
        self.restoring = True
        try:
            yield
        finally:
            self.restoring = False


def _read(node: slicer.vtkMRMLMarkupsNode) -> _Points | _Roi | None:
    if isinstance(node, slicer.vtkMRMLMarkupsROINode):
        if not isDrawn(node):
            return None
        matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToNodeMatrix())
        return _Roi(tuple(node.GetSize()), tuple(matrix.ravel().tolist()))
    return _Points(
        tuple((tuple(node.GetNthControlPointPosition(n)), node.GetNthControlPointLabel(n)) for n in _defined(node))
    )


def _write(node: slicer.vtkMRMLMarkupsNode, prompt: _Points | _Roi | None) -> None:
    with slicer.util.NodeModify(node):
        if prompt is None:
            node.RemoveAllControlPoints()
            node.SetSize(0, 0, 0)
        elif isinstance(prompt, _Roi):
            matrix = np.array(prompt.objectToNode).reshape(4, 4)
            if not node.GetNumberOfControlPoints():
                node.AddControlPoint(matrix[:3, 3])
            node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
            node.SetSize(*prompt.size)
        else:
            _writePoints(node, prompt)


def _writePoints(node: slicer.vtkMRMLMarkupsFiducialNode, prompt: _Points) -> None:
    """Change the defined points only: the preview point of a user who is placing one stays."""
    for n in reversed(_defined(node)[len(prompt.points) :]):
        node.RemoveNthControlPoint(n)
    present = _defined(node)
    for n, (position, label) in zip(present, prompt.points, strict=False):
        node.SetNthControlPointPosition(n, *position)
        node.SetNthControlPointLabel(n, label)
    for position, label in prompt.points[len(present) :]:
        node.AddControlPoint(position, label)


def _defined(node: slicer.vtkMRMLMarkupsNode) -> list[int]:
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    return [n for n in range(node.GetNumberOfControlPoints()) if node.GetNthControlPointPositionStatus(n) == defined]
