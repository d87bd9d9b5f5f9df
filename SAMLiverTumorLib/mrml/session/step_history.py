"""`StepHistory`: the state before each step of a prompt session, for undo.

A step holds the prompts and voxels of one segment. Only voxels added by prompts are kept, so that undo leaves
everything else unchanged: other segments, and what was painted by hand in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.session.open_object import OpenObject, VolumeKey
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment


@dataclass(frozen=True, eq=False)
class Step:
    """A segment's state on one side of a step.

    :param target: the segment.
    :param prompts: the prompts.
    :param objects: what the prompts had added, by volume.
    :param changesVoxels: False for a step that leaves the voxels unchanged, such as accepting.
    :param digest: of all voxels of the segmentation, see `voxelDigest`; None if no Segment Editor is linked.
    """

    target: PromptedSegment
    prompts: PromptState
    objects: Mapping[VolumeKey, OpenObject]
    changesVoxels: bool = True
    digest: int | None = None


@dataclass(frozen=True, eq=False)
class EditorStep:
    """Edits that the Segment Editor made between two steps, to be undone through its own history.

    :param digest: the voxels on this side of them, see `voxelDigest`.
    """

    digest: int


class StepHistory:
    """Two stacks of steps.

    :param levels: how many steps are kept.
    """

    def __init__(self, levels: int = 200) -> None:
        self.levels = levels
        self._done: list[Step | EditorStep] = []
        self._undone: list[Step | EditorStep] = []

    def record(self, step: Step | EditorStep) -> None:
        """Add the state before a new step; what was undone before can no longer be redone."""
        self._done.append(step)
        del self._done[: -self.levels]
        self._undone.clear()

    def nextUndo(self) -> Step | EditorStep | None:
        """The state that undo goes back to; steps of deleted segments are dropped."""
        return self._last(self._done)

    def nextRedo(self) -> Step | EditorStep | None:
        """The state that redo goes to."""
        return self._last(self._undone)

    def undone(self, present: Step | EditorStep, keep: bool = False) -> None:
        """Note that `nextUndo` was restored; `present` is the state that redo returns to.

        :param keep: the step is not fully undone yet.
        """
        if not keep:
            self._done.pop()
        self._undone.append(present)

    def redone(self, present: Step | EditorStep) -> None:
        """Note that `nextRedo` was restored; `present` is the state that undo returns to."""
        self._undone.pop()
        self._done.append(present)

    def stepsBack(self, digest: int) -> int:
        """How many steps to undo to reach the voxels of a digest; 0 if no step began with them."""
        return self._distance(self._done, digest)

    def stepsForth(self, digest: int) -> int:
        """How many steps to redo to reach the voxels of a digest; 0 if none ended with them."""
        return self._distance(self._undone, digest)

    def forgetEditor(self) -> None:
        """Drop the Segment Editor's steps, because its history is no longer available."""
        for stack in (self._done, self._undone):
            stack[:] = [step for step in stack if not isinstance(step, EditorStep)]

    def forget(self, target: PromptedSegment) -> None:
        """Drop the steps of a deleted segment."""
        for stack in (self._done, self._undone):
            stack[:] = [step for step in stack if isinstance(step, EditorStep) or step.target is not target]

    def clear(self) -> None:
        """Forget everything."""
        self._done.clear()
        self._undone.clear()

    @staticmethod
    def _distance(stack: list[Step | EditorStep], digest: int) -> int:
        there = [step for step in reversed(stack) if isinstance(step, EditorStep) or step.target.exists]
        return next((n for n, step in enumerate(there, 1) if step.digest == digest), 0)

    @staticmethod
    def _last(stack: list[Step | EditorStep]) -> Step | EditorStep | None:
        while stack and isinstance(stack[-1], Step) and not stack[-1].target.exists:
            stack.pop()
        return stack[-1] if stack else None
