"""`StepHistory`: the state before each step of a prompt session, for undo.

A step holds the prompts and voxels of one segment. Only voxels added by prompts are kept, so that undo leaves
everything else unchanged: other segments, and what was painted by hand in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.liver_window import DisplayWindow
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
    :param action: what the step did, for the user, such as "propagation".
    """

    target: PromptedSegment
    prompts: PromptState
    objects: Mapping[VolumeKey, OpenObject]
    changesVoxels: bool = True
    digest: int | None = None
    action: str = ""

    @property
    def name(self) -> str:
        """The step, for the user, such as "propagation of Liver tumor"."""
        return _("{action} of {segment}").format(action=self.action, segment=self.target.name)

    def isPossible(self, isUndone: bool) -> bool:
        """Whether the segment still exists."""
        return self.target.exists


@dataclass(frozen=True, eq=False)
class NewSegment:
    """An added segment.

    :param target: the segment.
    :param previous: the segment that was chosen before; None if none was.
    :param digest: of all voxels of the segmentation, as in `Step`; an empty segment does not change it.
    :param isProvisional: whether it was added for a search, and is removed again if nothing is found.
    :param hasNewSegmentation: whether the segmentation was made for it.
    """

    target: PromptedSegment
    previous: PromptedSegment | None = None
    digest: int | None = None
    isProvisional: bool = False
    hasNewSegmentation: bool = False

    @property
    def name(self) -> str:
        """The step, for the user."""
        return _("new segment {segment}").format(segment=self.target.name)

    def isPossible(self, isUndone: bool) -> bool:
        """Whether the segment still exists, or, if the step was undone, its segmentation."""
        return self.target.isSegmentationThere if isUndone else self.target.exists


@dataclass(frozen=True, eq=False)
class WindowStep:
    """The display window of a volume on one side of a change.

    :param display: the window, see `mrml.nodes.liver_window`.
    """

    display: DisplayWindow

    digest = None
    target = None

    @property
    def name(self) -> str:
        """The step, for the user."""
        return _("liver window of {volume}").format(volume=self.display.volumeNode.GetName())

    def isPossible(self, isUndone: bool) -> bool:
        """Whether the volume is still in the scene."""
        return self.display.exists


@dataclass(frozen=True, eq=False)
class EditorStep:
    """Edits that the Segment Editor made between two steps, to be undone through its own history.

    :param digest: the voxels on this side of them, see `voxelDigest`.
    """

    digest: int

    target = None

    @property
    def name(self) -> str:
        """The step, for the user."""
        return _("edit in Segment Editor")

    def isPossible(self, isUndone: bool) -> bool:
        """Always: `StepHistory.forgetEditor` removes those that are not."""
        return True


AnyStep = Step | NewSegment | WindowStep | EditorStep


class StepHistory:
    """Two stacks of steps.

    :param levels: how many steps are kept.
    """

    def __init__(self, levels: int = 200) -> None:
        self.levels = levels
        self._done: list[AnyStep] = []
        self._undone: list[AnyStep] = []

    def record(self, step: AnyStep) -> None:
        """Add the state before a new step; what was undone before can no longer be redone."""
        self._done.append(step)
        del self._done[: -self.levels]
        self._undone.clear()

    def rename(self, action: str) -> None:
        """Say that the last step did something else; it has to be a `Step`."""
        self._done[-1] = replace(self._done[-1], action=action)

    def discard(self, step: AnyStep) -> None:
        """Drop a step as if it had never been."""
        self._done.remove(step)

    def nextUndo(self) -> AnyStep | None:
        """The state that undo goes back to; steps of deleted segments are dropped."""
        return self._last(self._done, False)

    def nextRedo(self) -> AnyStep | None:
        """The state that redo goes to."""
        return self._last(self._undone, True)

    def undone(self, present: AnyStep, keep: bool = False) -> None:
        """Note that `nextUndo` was restored; `present` is the state that redo returns to.

        :param keep: the step is not fully undone yet.
        """
        if not keep:
            self._done.pop()
        self._undone.append(present)

    def redone(self, present: AnyStep) -> None:
        """Note that `nextRedo` was restored; `present` is the state that undo returns to."""
        self._undone.pop()
        self._done.append(present)

    def stepsBack(self, digest: int) -> int:
        """How many steps to undo to reach the voxels of a digest; 0 if no step began with them."""
        return self._distance(self._done, digest, False)

    def stepsForth(self, digest: int) -> int:
        """How many steps to redo to reach the voxels of a digest; 0 if none ended with them."""
        return self._distance(self._undone, digest, True)

    def forgetEditor(self) -> None:
        """Drop the Segment Editor's steps, because its history is no longer available."""
        for stack in (self._done, self._undone):
            stack[:] = [step for step in stack if not isinstance(step, EditorStep)]

    def forget(self, target: PromptedSegment) -> None:
        """Drop the steps of a deleted segment."""
        for stack in (self._done, self._undone):
            stack[:] = [step for step in stack if step.target is None or step.target is not target]

    def clear(self) -> None:
        """Forget everything."""
        self._done.clear()
        self._undone.clear()

    @staticmethod
    def _distance(stack: list[AnyStep], digest: int, isUndone: bool) -> int:
        there = [step for step in reversed(stack) if step.isPossible(isUndone)]
        return next((n for n, step in enumerate(there, 1) if step.digest == digest), 0)

    @staticmethod
    def _last(stack: list[AnyStep], isUndone: bool) -> AnyStep | None:
        while stack and not stack[-1].isPossible(isUndone):
            stack.pop()
        return stack[-1] if stack else None
