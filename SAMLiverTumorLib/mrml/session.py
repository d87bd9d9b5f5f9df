"""`PromptSession`: prompts in the scene in, voxels of the selected segment out, without ever waiting.

Panel and Segment Editor effect both go through it. It listens to the prompt nodes of the segments it was told
of, hands changed slices to the worker and, when polled, writes what has come back. Everything here runs in the
thread that owns the scene; only the work given to the worker runs elsewhere, and that touches no MRML.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.inference.pool import LIVER_TUMOR
from SAMLiverTumorLib.mrml.i18n import tr as _
from SAMLiverTumorLib.mrml.label_sources import LabelSource
from SAMLiverTumorLib.mrml.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session_choices import SessionChoices


class PromptSession(SessionChoices):
    """Interactive segmentation of a scene.

    :param worker: runs the network; may be shared with other sessions, stopped by whoever made it.
    :param pool: a `PredictorPool`, used in the worker's thread only. Models have to be on the disk already: the
        pool's `confirm` would be asked in that thread.
    :param history: the Segment Editor's undo, to go back through its edits and the session's in order;
        assignable as `editorHistory`.
    :param rules: what to keep to of the user's Segment Editor settings (masking, overwrite mode); None allows
        editing everywhere and changes no other segment. Assignable as `editorRules`.

    >>> session = PromptSession(slicer.mrmlScene, NetworkWorker(), PredictorPool())
    >>> session.setVolume(volumeNode); session.setSegmentation(segmentationNode); session.setSegment(segmentId)
    >>> includeNode, excludeNode, roiNode = session.promptNodes
    >>> includeNode.AddControlPointWorld(10, -20, 35)
    >>> while session.busy: session.poll()        # a timer does that in the panel
    """

    def segment(self) -> bool:
        """Segment the present slice, or all slices of a box through slices, also where nothing has changed.

        :return: whether anything is on its way; `message` says why not.
        """
        current, source, view = self._selection.current, self._selection.source, self.view
        if current is None or source is None:
            return self._refuse(_("Choose a volume, a segmentation and a segment first."))
        try:
            if view is not None and not self._through and current.addBoxSlice(view, source.volume()):
                self._promptsChanged(current)
            plan = self._runner.plan(current, source)
            if not plan.slices:
                missing = _("Place an include point or draw a box first.")
                return self._refuse(next(iter((*plan.notes, *plan.loneNotes())), missing))
            self._undo.recordUnlessFresh(current)
            others = self._propagations.follow(current, source, plan, self.settings, True)
            again = {
                key
                for key, planned in plan.slices.items()
                if view is None or key == view.key or (self._through and planned.seen.box is not None)
            }
            self._runner.reconcile(current, source, plan, True, frozenset(again), others)
        except SAMLiverTumorError as error:
            return self._refuse(str(error))
        self._tellBusy()
        return self.busy

    def propagate(self, direction: str = "both") -> bool:
        """Follow the tumor from the prompted slices of the present view through the volume, as one step.

        Prompted slices stay as they are. Where nothing is prompted, what the segment has on the present slice is
        followed. A click on a slice that was reached corrects it there, and what lies beyond is done again.

        :param direction: "both", or "up" (superior, anterior, right) or "down" only.
        :return: whether anything is on its way; `message` says why not.
        """
        current, source, view = self._selection.current, self._selection.source, self.view
        if current is None or source is None:
            return self._refuse(_("Choose a volume, a segmentation and a segment first."))
        if view is None:
            return self._refuse(_("The present slice does not cut the volume."))
        try:
            plan = self._runner.plan(current, source)
            drawn = self._objects.voxelsOn(current, source.key, view.plane(source.volume()))
            self._propagations.start(current, source, plan, view, self.settings, direction, drawn)
            self._undo.recordUnlessFresh(current)
        except SAMLiverTumorError as error:
            return self._refuse(str(error))
        self._tellBusy()
        return self.busy

    def find(self, model: str, liver: LabelSource | None = None, concept: str = LIVER_TUMOR) -> bool:
        """Search the whole volume for tumors by text alone; what is found is added to the segment as one step.

        :param model: registry id or weight file that knows text.
        :param liver: nothing outside it is looked at or marked.
        :return: whether that is on its way; `message` says why not.
        """
        current, source = self._selection.current, self._selection.source
        if current is None or source is None:
            return self._refuse(_("Choose a volume, a segmentation and a segment first."))
        try:
            self._searches.start(current, source, replace(self.settings, model=model), concept, liver)
        except SAMLiverTumorError as error:
            return self._refuse(str(error))
        self._tellBusy()
        return self.busy

    def poll(self) -> list[str]:
        """Write what has come from the worker; lines for the user, which are in the log as well.

        To be called from a timer while `busy`.

        :raises Exception: what a job failed with that is no fault of the user's; the others are written first.
        """
        arrivals, dropped = self._runner.jobs.poll()
        before = self._propagations.busy, self._propagations.count, self._searches.progress
        followed, broken = self._propagations.poll()
        found, failed = self._searches.poll()
        isSame = before == (self._propagations.busy, self._propagations.count, self._searches.progress)
        if not any((arrivals, dropped, followed, broken, found, failed)) and isSame:
            return []
        lines, failures = self._runner.write(arrivals)
        lines, failures = [*lines, *followed, *found], [*failures, *broken, *failed]
        self._undo.noteVoxels(self.segmentationNode)
        if dropped:
            lines.append(_("The volume was changed meanwhile, so the result was dropped; segment again."))
        for line in lines:
            self._say(line)
        self._tellBusy()
        if failures:
            raise failures[0]
        return lines

    def cancel(self) -> None:
        """Stop what is on its way. Prompts stay; their slices are segmented when they change or by `segment`.

        Of a propagation the slices that are done stay, of a search nothing is kept.
        """
        stopped, searched = self._propagations.cancel(), self._searches.cancel()
        if self._runner.cancel() or stopped or searched:
            self._undo.noteVoxels(self.segmentationNode)
            self._say(_("Stopped; the slices done until then are kept.") if stopped else _("Cancelled."))
            self._changed()

    def accept(self) -> bool:
        """Make the object a lasting part of the segment and clear its prompts, as one step; whether it did."""
        current = self._selection.current
        if not self.canAccept:
            return self._refuse(_("Still segmenting.") if self.busy else _("There is nothing to accept yet."))
        self._undo.record(current, changesVoxels=False)
        current.nodes.write(PromptState())
        current.known = current.nodes.read()
        current.objects = {}
        self._keepRuns()
        self._adopt()
        self._say(_("Accepted."))
        self._changed()
        return True

    @property
    def canAccept(self) -> bool:
        """Whether the prompts have put something into the segment and nothing of it is on its way."""
        current = self._selection.current
        if current is None or not current.hasVoxels or self._runner.jobs.slicesOf(current):
            return False
        return not self._propagations.isRunning(current) and not self._searches.isRunning(current)

    def clearSlice(self) -> None:
        """Remove the prompts of the slice the user looks at, as one step."""
        current, view = self._selection.current, self.view
        if current is not None and view is not None:
            current.clearSlice(view, self._selection.volume())
            self._promptsChanged(current)

    def clearAll(self) -> None:
        """Remove all prompts of the segment and what they have added, as one step."""
        current = self._selection.current
        if current is not None:
            current.nodes.write(PromptState())
            self._promptsChanged(current)

    def undo(self) -> bool:
        """Take back the last step, prompts and voxels together; whether there was one."""
        self.followEditor()
        return self.canUndo and self._goBackOrForth(self._undo.undo)

    def redo(self) -> bool:
        """Do the last undone step again; whether there was one."""
        self.followEditor()
        return self.canRedo and self._goBackOrForth(self._undo.redo)

    @property
    def canUndo(self) -> bool:
        """Whether there is a step to take back."""
        return self._undo.canUndo

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone step."""
        return self._undo.canRedo

    @property
    def busy(self) -> bool:
        """Whether a slice that the user waits for is on its way; poll while it is so."""
        return self._runner.jobs.busy or self._propagations.busy or self._searches.busy

    def promptsOnSlice(self) -> list[tuple[str, int, tuple[float, float, float]]]:
        """The points on the slice the user looks at: (role, control point index, world RAS in mm)."""
        current, view = self._selection.current, self.view
        if current is None or view is None:
            return []
        return current.pointsOn(view.plane(self._selection.volume()))

    def prefetch(self) -> None:
        """Have the slices beside the present one encoded when the worker has nothing else to do."""
        self._runner.prefetch(self.view, self._selection.volume(), self._selection.current)

    def close(self) -> None:
        """Take the session's hands off the scene; worker and pool go on, prompt nodes and segments stay."""
        self._runner.dropIdle()
        self._dropJobs()
        self._selection.close()
        self._objects.close()
        self._undo.history.clear()
        self.onChanged.clear()
        self.onEdited.clear()

    def _goBackOrForth(self, way: Callable[[], PromptedSegment | None]) -> bool:
        self._propagations.drop()
        try:
            target = way()
        except SAMLiverTumorError as error:
            return self._refuse(str(error))
        if target is not None:
            self._selection.observe(target)
            self._selection.showPrompts()
            # what was on its way when the step was recorded or taken back
            self._reconcile(target)
        self._tellBusy()
        return True
