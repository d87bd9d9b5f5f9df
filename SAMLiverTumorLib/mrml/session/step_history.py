"""`StepHistory`: what each step of a prompt session began with, so that undo can go back there.

One step holds prompts and voxels of one segment. It keeps only what the prompts had put into the segments, so
that undo leaves everything else as it is: other segments, and what was painted by hand in the meantime.
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
    :param prompts: what the prompt nodes said.
    :param objects: what the prompts had added, by volume.
    :param changesVoxels: False for a step that leaves the voxels where they are, such as accepting.
    :param digest: all voxels of the segmentation, see `voxelDigest`; None where no Segment Editor goes along.
    """

    target: PromptedSegment
    prompts: PromptState
    objects: Mapping[VolumeKey, OpenObject]
    changesVoxels: bool = True
    digest: int | None = None


@dataclass(frozen=True, eq=False)
class EditorStep:
    """Edits that the Segment Editor made between two steps, to be taken back through its own history.

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
        """The state that undo goes back to; steps of segments that are gone are forgotten."""
        return self._last(self._done)

    def nextRedo(self) -> Step | EditorStep | None:
        """The state that redo comes back to."""
        return self._last(self._undone)

    def undone(self, present: Step | EditorStep, keep: bool = False) -> None:
        """Note that `nextUndo` was restored; `present` is what redo has to come back to.

        :param keep: there is more of it to take back.
        """
        if not keep:
            self._done.pop()
        self._undone.append(present)

    def redone(self, present: Step | EditorStep) -> None:
        """Note that `nextRedo` was restored; `present` is what undo has to go back to."""
        self._undone.pop()
        self._done.append(present)

    def stepsBack(self, digest: int) -> int:
        """How many steps to take back to come to the voxels of a digest; 0 where no step began with them."""
        return self._distance(self._done, digest)

    def stepsForth(self, digest: int) -> int:
        """How many undone steps to do again to come to the voxels of a digest; 0 where none ended with them."""
        return self._distance(self._undone, digest)

    def forgetEditor(self) -> None:
        """Drop the Segment Editor's steps, because its history cannot be gone through any more."""
        for stack in (self._done, self._undone):
            stack[:] = [step for step in stack if not isinstance(step, EditorStep)]

    def forget(self, target: PromptedSegment) -> None:
        """Drop the steps of a segment that is gone for good."""
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
