"""`SegmentUpdater`: keeps the segments of a session up to date with their prompts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SAMLiverTumorLib.errors import PromptError, SAMLiverTumorError
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import voxelCount
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedPropagations
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import Moved, SessionUndo
from SAMLiverTumorLib.mrml.session.step_history import NewSegment


class SegmentUpdater:
    """Records each change of prompts as a step, clears slices without prompts and submits the others."""

    def __init__(
        self,
        selection: Selection,
        jobs: SessionJobs,
        undo: SessionUndo,
        saved: SavedPropagations,
        messages: SessionMessages,
    ) -> None:
        self._selection, self._jobs, self._undo, self._saved = selection, jobs, undo, saved
        self._messages = messages
        self._through = False
        #: Whether each change of prompts is segmented at once.
        self.live = True
        #: Called without arguments when undo, redo or a new segment has changed the choice of the segment.
        self.onChosen: list[Callable[[], None]] = []
        #: Called with the places that undo or redo has changed, world RAS in mm, shape (n, 3); the first is amid them.
        self.onMoved: list[Callable[[np.ndarray], None]] = []
        jobs.searches.onNothing = self.discardProvisional

    @property
    def boxThroughSlices(self) -> bool:
        """Whether the box applies to every slice it crosses, or to the one it was drawn on."""
        return self._through

    @boxThroughSlices.setter
    def boxThroughSlices(self, through: bool) -> None:
        if through == self._through:
            return
        self._through = through
        current = self._selection.current
        if current is not None and current.known.roi is not None:
            current.noteBox(self._selection.view, self._jobs.slices.settings.orientation, through)
            self.processPrompts(current)
        self._messages.changed()

    def processPrompts(self, target: PromptedSegment) -> None:
        """Process the user's changes to a segment's prompts as one step; does nothing if nothing changed."""
        before = target.known
        if target.nodes.read().isSameAs(before):
            target.known = target.nodes.read()
            return
        selection, orientation = self._selection, self._jobs.slices.settings.orientation
        target.note(before, selection.volume(), selection.view, orientation, self._through)
        if not self._undo.isStillDrawing(target):
            self._undo.record(target, _actionOf(before, target.nodes.read()), before)
        target.known = target.nodes.read()
        said = self._messages.message
        self.reconcile(target)
        if self._messages.message == said and not self._jobs.busy:
            self._messages.message = self.stateLine()
        self._messages.showProgress(self._jobs.progress)

    def reconcile(self, target: PromptedSegment) -> bool:
        """Update a segment to its prompts: removed slices at once, changed ones through the worker.

        :return: whether that was possible; if not, the status line says why.
        """
        source = self._selection.source
        if source is None:
            self._messages.say(_("Choose a volume first."))
            return False
        slices, propagations = self._jobs.slices, self._jobs.propagations
        try:
            plan = slices.plan(target, source)
            others = propagations.update(target, source, plan, slices.settings, self.live)
            cut = slices.reconcile(target, source, plan, self.live, others=others)
            for note in (*plan.notes, *plan.loneNotes(others | cut)):
                self._messages.say(note)
        except SAMLiverTumorError as error:
            self._jobs.drop(target)
            self._messages.say(str(error))
            return False
        finally:
            self._undo.noteVoxels(self._selection.segmentationNode)
        return True

    def segment(self, target: PromptedSegment, source: VolumeSource) -> None:
        """Segment the current slice, or all slices of a box through slices, even if nothing has changed.

        :raises SAMLiverTumorError: nothing is prompted, or the prompts or the volume cannot be used.
        """
        slices, view = self._jobs.slices, self._selection.view
        if view is not None and not self._through and target.addBoxSlice(view, source.volume()):
            self.processPrompts(target)
        plan = slices.plan(target, source)
        if plan.slices or (plan.lone and not self.live):
            self._undo.recordUnlessFresh(target, _("segmentation"))
        others = self._jobs.propagations.update(target, source, plan, slices.settings, True)
        again = {
            key
            for key, planned in plan.slices.items()
            if view is None or key == view.key or (self._through and planned.seen.box is not None)
        }
        again |= set() if self.live else set(plan.lone)
        cut = slices.reconcile(target, source, plan, True, frozenset(again), others)
        if not (plan.slices or cut):
            missing = _("Place an include point or draw a box first.")
            raise PromptError(next(iter((*plan.notes, *plan.loneNotes(others))), missing))

    def propagate(self, target: PromptedSegment, source: VolumeSource, direction: str) -> None:
        """Propagate the tumor from the prompted slices of the current view through the volume, as one step.

        :raises SAMLiverTumorError: there is nothing to propagate, or the segment or the volume cannot be used.
        """
        view = self._selection.view
        if view is None:
            raise PromptError(_("The current slice does not intersect the volume."))
        self._jobs.propagate(target, source, view, direction)
        self._undo.recordUnlessFresh(target, _("propagation"))

    def accept(self, target: PromptedSegment) -> None:
        """Make a segment's object a permanent part of it and clear its prompts, as one step."""
        self._undo.record(target, _("acceptance"), changesVoxels=False)
        target.nodes.write(PromptState())
        target.known = target.nodes.read()
        target.objects = {}
        self.savePropagations()
        self.adopt()

    def adopt(self) -> None:
        """Treat the chosen segment's prompts as settled when it is first used with the chosen volume."""
        current, source, slices = self._selection.current, self._selection.source, self._jobs.slices
        if current is not None and source is not None and (line := slices.adopt(current, source, self._saved)):
            self._messages.say(line)

    def goBackOrForth(self, way: Callable[[], Moved], text: str) -> bool:
        """Undo or redo one step and choose its segment; returns False if the segment cannot be written.

        :param way: `undo` or `redo` of the session's `SessionUndo`.
        :param text: for the status line, with the step's name for `{step}`.
        """
        self._jobs.propagations.drop()
        try:
            moved = way()
        except SAMLiverTumorError as error:
            return self._messages.refuse(str(error))
        target, isDone = moved.target, True
        if target is not None and target.exists:
            self.choose(target)
            self._selection.observe(target)
            self._selection.showPrompts()
            # what was being computed when the step was recorded or undone
            isDone = self.reconcile(target)
            if len(moved.placesRas):
                for callback in list(self.onMoved):
                    callback(moved.placesRas)
        if isDone:
            self._messages.say(f"{text.format(step=moved.name)} {self.stateLine()}".strip())
        self._messages.showProgress(self._jobs.progress)
        return True

    def choose(self, target: PromptedSegment) -> None:
        """Choose a segment, and have whoever shows the choice take it over."""
        if self._selection.choose(target):
            self._undo.noteVoxels(self._selection.segmentationNode)
            target.showSegment()
        # also where it is chosen already: while a segment is being removed, others choose one by themselves
        for callback in list(self.onChosen):
            callback()

    def addSegment(self, name: str, isProvisional: bool) -> None:
        """Add an empty segment and choose it, as one step; see `PromptSession.addSegment`.

        :raises InputError: the volume has no image or a non-linear transform.
        """
        selection, previous = self._selection, self._selection.current
        node = selection.segmentationNode
        if node is None:
            node = createSegmentation(selection.scene, selection.volumeNode)
        elif node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        isNew = selection.segmentationNode is None
        target = PromptedSegment(selection.scene, node, addTumorSegment(node, name))
        self._undo.recordNew(target, previous, isProvisional, isNew)
        self.choose(target)
        self.adopt()
        self._messages.say(_("{name} is new and empty.").format(name=name))

    def discardProvisional(self, target: PromptedSegment) -> None:
        """Remove a segment that was added for a search, if nothing has come of it, as if it had never been."""
        step = self._undo.history.nextUndo()
        if not isinstance(step, NewSegment) or step.target is not target or not step.isProvisional:
            return
        if target.nodes.read() != PromptState() or voxelCount(target.segmentationNode, target.segmentId):
            return
        self._undo.history.discard(step)
        self._undo.removeSegment(step)
        if step.hasNewSegmentation and not target.segmentationNode.GetSegmentation().GetNumberOfSegments():
            for node in (target.segmentationNode.GetDisplayNode(), target.segmentationNode):
                self._selection.scene.RemoveNode(node)
        elif step.previous is not None and step.previous.exists:
            self.choose(step.previous)

    def stateLine(self) -> str:
        """What the chosen segment holds now, for the user; empty without a segment."""
        current = self._selection.current
        if current is None or not current.exists:
            return ""
        count = voxelCount(current.segmentationNode, current.segmentId)
        text = _("{name}: {count} voxels.") if count else _("{name} is empty.")
        return text.format(name=current.name, count=f"{count:,}")

    def followEditor(self) -> None:
        """Update the prompts after the Segment Editor's own Undo or Redo has changed the voxels."""
        targets = self._undo.followEditor()
        for target in targets:
            self._selection.observe(target)
            self.reconcile(target)
        if targets:
            self._selection.showPrompts()
            self._messages.say(self.stateLine())
            self._messages.showProgress(self._jobs.progress)

    def savePropagations(self) -> None:
        """Save the propagations in the scene; running ones are saved when they finish."""
        for target in self._selection.targets:
            if not self._jobs.propagations.isRunning(target):
                self._saved.keep(target)


def _actionOf(before: PromptState, now: PromptState) -> str:
    """What the user did to the prompts, for the user."""
    if before.roi is None and now.roi is not None:
        return _("box")
    if now.roi is not None and not now.roi.isSameBox(before.roi):
        return _("change of the box")
    if len(now.include) > len(before.include):
        return _("include point")
    if len(now.exclude) > len(before.exclude):
        return _("exclude point")
    isRemoved = len(now.include) < len(before.include) or len(now.exclude) < len(before.exclude)
    if isRemoved or (before.roi is not None and now.roi is None):
        return _("removal of prompts")
    return _("change of prompts")
