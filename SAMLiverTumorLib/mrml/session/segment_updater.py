"""`SegmentUpdater`: brings the segments of a session to what their prompts say."""

from __future__ import annotations

from collections.abc import Callable

from SAMLiverTumorLib.errors import PromptError, SAMLiverTumorError
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedRuns
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import SessionUndo


class SegmentUpdater:
    """Makes a step of each change of prompts, takes back slices without prompts, and has the others segmented."""

    def __init__(
        self, selection: Selection, jobs: SessionJobs, undo: SessionUndo, runs: SavedRuns, messages: SessionMessages
    ) -> None:
        self._selection, self._jobs, self._undo, self._runs = selection, jobs, undo, runs
        self._messages = messages
        self._through = False
        #: Whether each change of prompts is segmented by itself.
        self.live = True

    @property
    def boxThroughSlices(self) -> bool:
        """Whether the box counts on every slice it crosses, or on the one it was drawn on."""
        return self._through

    @boxThroughSlices.setter
    def boxThroughSlices(self, through: bool) -> None:
        if through == self._through:
            return
        self._through = through
        current = self._selection.current
        if current is not None and current.known.roi is not None:
            current.noteBox(self._selection.view, self._jobs.slices.settings.orientation, through)
            self.takeUp(current)
        self._messages.changed()

    def takeUp(self, target: PromptedSegment) -> None:
        """Take up what the user did to a segment's prompts, as one step; nothing if nothing changed."""
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
        """Bring a segment to what its prompts say: gone slices at once, changed ones through the worker."""
        source = self._selection.source
        if source is None:
            self._messages.say(_("Choose a volume first."))
            return
        slices, propagations = self._jobs.slices, self._jobs.propagations
        try:
            plan = slices.plan(target, source)
            others = propagations.follow(target, source, plan, slices.settings, self.live)
            for note in (*plan.notes, *plan.loneNotes(others)):
                self._messages.say(note)
            slices.reconcile(target, source, plan, self.live, others=others)
        except SAMLiverTumorError as error:
            self._jobs.drop(target)
            self._messages.say(str(error))
        self._undo.noteVoxels(self._selection.segmentationNode)

    def segment(self, target: PromptedSegment, source: VolumeSource) -> None:
        """Segment the present slice, or all slices of a box through slices, also where nothing has changed.

        :raises SAMLiverTumorError: nothing is prompted, or the prompts or the volume cannot be used.
        """
        slices, view = self._jobs.slices, self._selection.view
        if view is not None and not self._through and target.addBoxSlice(view, source.volume()):
            self.takeUp(target)
        plan = slices.plan(target, source)
        if not plan.slices:
            missing = _("Place an include point or draw a box first.")
            raise PromptError(next(iter((*plan.notes, *plan.loneNotes())), missing))
        self._undo.recordUnlessFresh(target)
        others = self._jobs.propagations.follow(target, source, plan, slices.settings, True)
        again = {
            key
            for key, planned in plan.slices.items()
            if view is None or key == view.key or (self._through and planned.seen.box is not None)
        }
        slices.reconcile(target, source, plan, True, frozenset(again), others)

    def propagate(self, target: PromptedSegment, source: VolumeSource, direction: str) -> None:
        """Follow the tumor from the prompted slices of the present view through the volume, as one step.

        :raises SAMLiverTumorError: there is nothing to follow, or the segment or the volume cannot be used.
        """
        view = self._selection.view
        if view is None:
            raise PromptError(_("The present slice does not cut the volume."))
        self._jobs.propagate(target, source, view, direction)
        self._undo.recordUnlessFresh(target)

    def accept(self, target: PromptedSegment) -> None:
        """Make a segment's object a lasting part of it and clear its prompts, as one step."""
        self._undo.record(target, changesVoxels=False)
        target.nodes.write(PromptState())
        target.known = target.nodes.read()
        target.objects = {}
        self.keepRuns()
        self.adopt()

    def adopt(self) -> None:
        """Take the chosen segment's prompts as settled where it meets the chosen volume for the first time."""
        current, source, slices = self._selection.current, self._selection.source, self._jobs.slices
        if current is not None and source is not None and (told := slices.adopt(current, source, self._runs)):
            self._messages.say(told)

    def goBackOrForth(self, way: Callable[[], PromptedSegment | None]) -> bool:
        """Undo or redo one step; False where the segment cannot be written.

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
            # what was on its way when the step was recorded or taken back
            self.reconcile(target)
        self._messages.showProgress(self._jobs.progress)
        return True

    def followEditor(self) -> None:
        """Have prompts go along where the Segment Editor's own Undo or Redo has moved the voxels."""
        targets = self._undo.followEditor()
        for target in targets:
            self._selection.observe(target)
            self.reconcile(target)
        if targets:
            self._selection.showPrompts()
            self._messages.showProgress(self._jobs.progress)

    def keepRuns(self) -> None:
        """Have the scene hold the runs as they are now; those on their way when they are done."""
        for target in self._selection.targets:
            if not self._jobs.propagations.isRunning(target):
                self._runs.keep(target)
