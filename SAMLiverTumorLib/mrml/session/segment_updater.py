"""`SegmentUpdater`: keeps the segments of a session up to date with their prompts."""

from __future__ import annotations

from collections.abc import Callable

from SAMLiverTumorLib.errors import PromptError, SAMLiverTumorError
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedPropagations
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import SessionUndo


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
            self._undo.record(target, before)
        target.known = target.nodes.read()
        self.reconcile(target)
        self._messages.showProgress(self._jobs.progress)

    def reconcile(self, target: PromptedSegment) -> None:
        """Update a segment to its prompts: removed slices at once, changed ones through the worker."""
        source = self._selection.source
        if source is None:
            self._messages.say(_("Choose a volume first."))
            return
        slices, propagations = self._jobs.slices, self._jobs.propagations
        try:
            plan = slices.plan(target, source)
            others = propagations.update(target, source, plan, slices.settings, self.live)
            for note in (*plan.notes, *plan.loneNotes(others)):
                self._messages.say(note)
            slices.reconcile(target, source, plan, self.live, others=others)
        except SAMLiverTumorError as error:
            self._jobs.drop(target)
            self._messages.say(str(error))
        self._undo.noteVoxels(self._selection.segmentationNode)

    def segment(self, target: PromptedSegment, source: VolumeSource) -> None:
        """Segment the current slice, or all slices of a box through slices, even if nothing has changed.

        :raises SAMLiverTumorError: nothing is prompted, or the prompts or the volume cannot be used.
        """
        slices, view = self._jobs.slices, self._selection.view
        if view is not None and not self._through and target.addBoxSlice(view, source.volume()):
            self.processPrompts(target)
        plan = slices.plan(target, source)
        if not plan.slices:
            missing = _("Place an include point or draw a box first.")
            raise PromptError(next(iter((*plan.notes, *plan.loneNotes())), missing))
        self._undo.recordUnlessFresh(target)
        others = self._jobs.propagations.update(target, source, plan, slices.settings, True)
        again = {
            key
            for key, planned in plan.slices.items()
            if view is None or key == view.key or (self._through and planned.seen.box is not None)
        }
        slices.reconcile(target, source, plan, True, frozenset(again), others)

    def propagate(self, target: PromptedSegment, source: VolumeSource, direction: str) -> None:
        """Propagate the tumor from the prompted slices of the current view through the volume, as one step.

        :raises SAMLiverTumorError: there is nothing to propagate, or the segment or the volume cannot be used.
        """
        view = self._selection.view
        if view is None:
            raise PromptError(_("The current slice does not intersect the volume."))
        self._jobs.propagate(target, source, view, direction)
        self._undo.recordUnlessFresh(target)

    def accept(self, target: PromptedSegment) -> None:
        """Make a segment's object a permanent part of it and clear its prompts, as one step."""
        self._undo.record(target, changesVoxels=False)
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

    def goBackOrForth(self, way: Callable[[], PromptedSegment | None]) -> bool:
        """Undo or redo one step; returns False if the segment cannot be written.

        :param way: `undo` or `redo` of the session's `SessionUndo`.
        """
        self._jobs.propagations.drop()
        try:
            target = way()
        except SAMLiverTumorError as error:
            return self._messages.refuse(str(error))
        if target is not None:
            self._selection.observe(target)
            self._selection.showPrompts()
            # what was being computed when the step was recorded or undone
            self.reconcile(target)
        self._messages.showProgress(self._jobs.progress)
        return True

    def followEditor(self) -> None:
        """Update the prompts after the Segment Editor's own Undo or Redo has changed the voxels."""
        targets = self._undo.followEditor()
        for target in targets:
            self._selection.observe(target)
            self.reconcile(target)
        if targets:
            self._selection.showPrompts()
            self._messages.showProgress(self._jobs.progress)

    def savePropagations(self) -> None:
        """Save the propagations in the scene; running ones are saved when they finish."""
        for target in self._selection.targets:
            if not self._jobs.propagations.isRunning(target):
                self._saved.keep(target)
