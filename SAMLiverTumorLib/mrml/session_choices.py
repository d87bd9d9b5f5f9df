"""`SessionChoices`: what a prompt session works on, and what it has to say. See `session.PromptSession`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import slicer

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import PendingChannel
from SAMLiverTumorLib.inference.segment import Settings
from SAMLiverTumorLib.mrml.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.i18n import tr as _
from SAMLiverTumorLib.mrml.label_sources import LabelSource
from SAMLiverTumorLib.mrml.nodes import spacingNote
from SAMLiverTumorLib.mrml.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.propagation_jobs import PropagationJobs
from SAMLiverTumorLib.mrml.protocols import EditorHistory, Worker
from SAMLiverTumorLib.mrml.saved_runs import SavedRuns
from SAMLiverTumorLib.mrml.search_jobs import SearchJobs
from SAMLiverTumorLib.mrml.selection import Selection
from SAMLiverTumorLib.mrml.slice_plan import View
from SAMLiverTumorLib.mrml.slice_runner import SliceRunner
from SAMLiverTumorLib.mrml.undo import SessionUndo

_LOG_LINES = 500


class SessionChoices:
    """Volume, segmentation, segment, slice and settings; messages and who is told of changes."""

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        worker: Worker,
        pool: object,
        history: EditorHistory | None = None,
        rules: EditorRules | None = None,
    ) -> None:
        #: Called, without arguments, when anything that the panel shows has changed.
        self.onChanged: list[Callable[[], None]] = []
        #: Called when others than the session are changing voxels; `followEditor` is to be called soon after.
        self.onEdited: list[Callable[[], None]] = []
        #: Whether each change of prompts is segmented by itself.
        self.live = True
        #: What the session has to say now, and what it had to say so far.
        self.message = ""
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._through = False
        self._objects = ObjectWriter(scene)
        self._objects.rules = rules or EditorRules()
        self._runner = SliceRunner(worker, pool, self._objects)
        self._propagations = PropagationJobs(worker, pool, self._objects)
        self._runs = SavedRuns(scene)
        self._undo = SessionUndo(self._objects, history)
        self._searches = SearchJobs(worker, pool, self._objects, self._undo.record)
        self._selection = Selection(
            scene, self._promptsChanged, self._voxelsChanged, self._segmentGone, self._volumeGone, self._sceneClosed
        )

    @property
    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The volume that is segmented."""
        return self._selection.source.node if self._selection.source is not None else None

    @property
    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation that is written to."""
        return self._selection.segmentationNode

    @property
    def segmentId(self) -> str:
        """The segment that new prompts are for; empty if none."""
        return self._selection.segmentId

    @property
    def editorRules(self) -> EditorRules:
        """What of the user's Segment Editor settings is kept to."""
        return self._objects.rules

    @editorRules.setter
    def editorRules(self, rules: EditorRules) -> None:
        self._objects.rules = rules

    @property
    def editorHistory(self) -> EditorHistory | None:
        """The undo of the Segment Editor that edits the segmentation; None where none does."""
        return self._undo.editor

    @editorHistory.setter
    def editorHistory(self, history: EditorHistory | None) -> None:
        self._undo.editor = history

    @property
    def inside(self) -> Callable[[], LabelSource | None]:
        """Asked, whenever a tumor is followed or corrected, what it does not leave; None for nowhere but the volume."""
        return self._propagations.inside

    @inside.setter
    def inside(self, inside: Callable[[], LabelSource | None]) -> None:
        self._propagations.inside = inside

    @property
    def settings(self) -> Settings:
        """Model, window, channels, further phases, and the orientation of prompts placed in no view."""
        return self._runner.settings

    @property
    def further(self) -> Callable[[], tuple[PendingChannel, ...]]:
        """Asked, whenever something is segmented, which phases the network sees besides the volume."""
        return self._runner.further

    @further.setter
    def further(self, further: Callable[[], tuple[PendingChannel, ...]]) -> None:
        self._runner.further = further

    @property
    def view(self) -> View | None:
        """The slice of the volume that the user looks at; None where it does not cut the volume."""
        return self._selection.view

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Work on a volume. What is on its way for another one still reaches its segment."""
        if volumeNode is not self.volumeNode:
            self._runner.dropIdle()
            self._selection.setVolume(volumeNode)
            if lost := spacingNote(volumeNode):
                self._say(lost)
            self._adopt()
            self._changed()

    def setSegmentation(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Write to a segmentation; its segment is to be chosen next."""
        if segmentationNode is not self.segmentationNode:
            self._selection.setSegmentation(segmentationNode)
            self._undo.noteVoxels(segmentationNode)
            self._changed()

    def setSegment(self, segmentId: str | None) -> None:
        """Prompt for a segment; its prompts are shown and those of all others hidden."""
        self._selection.setSegment(segmentId or "")
        self._adopt()
        self._changed()

    def setSettings(self, settings: Settings) -> None:
        """Segment with other settings from now on; what is there stays until its prompts change or `segment`."""
        if settings != self._runner.chosen:
            self._runner.chosen = settings
            self._runner.dropIdle()
            self._changed()

    def setPlane(self, plane: str | np.ndarray | None, index: int | None = None) -> None:
        """Say where the user looks; points and boxes placed from now on count on slices of this view.

        :param plane: "axial", "coronal" or "sagittal" with the slice's voxel `index`, or a slice view's 4x4
            SliceToRAS matrix, which may be oblique.
        """
        if plane is not None and not isinstance(plane, str):
            plane = np.array(plane, float)
        self._selection.look = None if plane is None else (plane, index)

    @property
    def promptNodes(self) -> tuple[slicer.vtkMRMLMarkupsNode, ...] | None:
        """(includeNode, excludeNode, roiNode) of the segment, made where missing; None without a segment."""
        current = self._selection.current
        if current is None:
            return None
        if not current.nodes.isComplete:
            with current.nodes.changing():
                current.nodes.create()
            self._selection.observe(current)
            self._selection.showPrompts()
        return current.nodes.create()

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
            current.noteBox(self.view, self.settings.orientation, through)
            self._promptsChanged(current)
        self._changed()

    def _promptsChanged(self, target: PromptedSegment) -> None:
        """Take up what the user did to a segment's prompts, as one step; nothing if nothing changed."""
        before = target.known
        if target.nodes.read().isSameAs(before):
            target.known = target.nodes.read()
            return
        target.note(before, self._selection.volume(), self.view, self.settings.orientation, self._through)
        if not self._undo.isStillDrawing(target):
            self._undo.record(target, before)
        target.known = target.nodes.read()
        self._reconcile(target)
        self._tellBusy()

    def _reconcile(self, target: PromptedSegment) -> None:
        """Bring a segment to what its prompts say: gone slices at once, changed ones through the worker."""
        source = self._selection.source
        if source is None:
            self._say(_("Choose a volume first."))
            return
        try:
            plan = self._runner.plan(target, source)
            others = self._propagations.follow(target, source, plan, self.settings, self.live)
            for note in (*plan.notes, *plan.loneNotes(others)):
                self._say(note)
            self._runner.reconcile(target, source, plan, self.live, others=others)
        except SAMLiverTumorError as error:
            self._dropJobs(target)
            self._say(str(error))
        self._undo.noteVoxels(self.segmentationNode)

    def _adopt(self) -> None:
        current, source = self._selection.current, self._selection.source
        if current is not None and source is not None and (told := self._runner.adopt(current, source, self._runs)):
            self._say(told)

    def followEditor(self) -> None:
        """Have prompts go along where the Segment Editor's own Undo or Redo has moved the voxels.

        To be called when the Segment Editor is done, see `onEdited`: halfway through, it has segments in a state
        that never was.
        """
        targets = self._undo.followEditor()
        for target in targets:
            self._selection.observe(target)
            self._reconcile(target)
        if targets:
            self._selection.showPrompts()
            self._tellBusy()

    def _voxelsChanged(self) -> None:
        if self._undo.isEdited:
            for callback in list(self.onEdited):
                callback()

    def _segmentGone(self, target: PromptedSegment) -> None:
        self._dropJobs(target)
        self._undo.history.forget(target)
        self._runs.forget(target)
        if not target.isSegmentationThere:
            self._objects.drop(target.segmentationNode)
        self._undo.noteVoxels(self.segmentationNode)
        self._changed()

    def _volumeGone(self) -> None:
        self._runner.dropIdle()
        self._dropJobs()
        self._changed()

    def _sceneClosed(self) -> None:
        self._runner.dropIdle()
        self._dropJobs()
        self._undo.history.clear()
        self._undo.noteVoxels(None)
        self._objects.close(inScene=False)
        self._changed()

    def _dropJobs(self, target: PromptedSegment | None = None) -> None:
        self._runner.jobs.cancel(target)
        self._propagations.drop(target)
        self._searches.cancel(target)

    def _say(self, text: str) -> None:
        self.message = text
        self.log.append(text)

    def _refuse(self, text: str) -> bool:
        self._say(text)
        self._changed()
        return False

    def _tellBusy(self) -> None:
        count = len(self._runner.jobs.slicesOf())
        if self._propagations.busy:
            self.message = _("Following the tumor: {count} slices ...").format(count=self._propagations.count)
        elif self._searches.busy:
            done, total = self._searches.progress
            self.message = _("Searching for tumors: {done} of {total} slices ...").format(done=done, total=total or "?")
        elif count:
            text = _("Segmenting {count} slices ...") if count > 1 else _("Segmenting {count} slice ...")
            self.message = text.format(count=count)
        self._changed()

    def _keepRuns(self) -> None:
        """Have the scene hold the runs as they are now; those on their way when they are done."""
        for target in self._selection.targets:
            if not self._propagations.isRunning(target):
                self._runs.keep(target)

    def _changed(self) -> None:
        self._keepRuns()
        for callback in list(self.onChanged):
            callback()
