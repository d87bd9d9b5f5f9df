"""`PromptSession`: prompts in the scene in, voxels of the selected segment out, without ever waiting.

Panel and Segment Editor effect both go through it. It is put together of what is chosen (`Selection`), what is on its
way (`SessionJobs`), what there is to say (`SessionMessages`), the steps (`SessionUndo`), what brings segments to what
their prompts say (`SegmentUpdater`) and what lets go of deleted nodes (`SceneChanges`). Everything here runs in the
thread that owns the scene; only the work given to the worker runs elsewhere, and that touches no MRML.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import slicer

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import PendingChannel
from SAMLiverTumorLib.inference.model_choice import LIVER_TUMOR
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.conversions import spacingNote
from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.session.delegated import delegated
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import View
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import EditorHistory, Worker
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedRuns
from SAMLiverTumorLib.mrml.session.scene_changes import SceneChanges
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.segment_updater import SegmentUpdater
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import SessionUndo


class PromptSession:
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

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        worker: Worker,
        pool: object,
        history: EditorHistory | None = None,
        rules: EditorRules | None = None,
    ) -> None:
        runs = SavedRuns(scene)
        self._objects = ObjectWriter(scene)
        self._objects.rules = rules or EditorRules()
        self._undo = SessionUndo(self._objects, history)
        #: What is chosen, what is on its way and what there is to say, for others to read.
        self.selection = Selection(scene)
        self.jobs = SessionJobs(worker, pool, self._objects, self._undo.record)
        self.messages = SessionMessages()
        self._updater = SegmentUpdater(self.selection, self.jobs, self._undo, runs, self.messages)
        self._changes = SceneChanges(self.selection, self.jobs, self._objects, self._undo, runs, self.messages)
        self.selection.onPrompts = self._updater.takeUp
        # before all others, who find the scene as it is to be saved
        self.onChanged.append(self._updater.keepRuns)

    #: The volume that is segmented, the segmentation that is written to, and its segment that new prompts are for.
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = delegated("selection.volumeNode")
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = delegated("selection.segmentationNode")
    segmentId: str = delegated("selection.segmentId")  # empty if none
    #: The slice of the volume that the user looks at; None where it does not cut the volume.
    view: View | None = delegated("selection.view")
    #: Model, window, channels, further phases, and the orientation of prompts placed in no view.
    settings: Settings = delegated("jobs.slices.settings")
    #: Asked, whenever something is segmented, which phases the network sees besides the volume.
    further: Callable[[], tuple[PendingChannel, ...]] = delegated("jobs.slices.further", isAssignable=True)
    #: Asked, whenever a tumor is followed or corrected, what it does not leave; None for nowhere but the volume.
    inside: Callable[[], LabelSource | None] = delegated("jobs.propagations.inside", isAssignable=True)
    #: Whether a slice that the user waits for is on its way; poll while it is so.
    busy: bool = delegated("jobs.busy")
    #: Whether each change of prompts is segmented by itself.
    live: bool = delegated("_updater.live", isAssignable=True)
    #: Whether the box counts on every slice it crosses, or on the one it was drawn on.
    boxThroughSlices: bool = delegated("_updater.boxThroughSlices", isAssignable=True)
    #: What of the user's Segment Editor settings is kept to.
    editorRules: EditorRules = delegated("_objects.rules", isAssignable=True)
    #: The undo of the Segment Editor that edits the segmentation; None where none does.
    editorHistory: EditorHistory | None = delegated("_undo.editor", isAssignable=True)
    #: Whether there is a step to take back, and an undone one.
    canUndo: bool = delegated("_undo.canUndo")
    canRedo: bool = delegated("_undo.canRedo")
    #: What the session has to say now, and what it had to say so far.
    message: str = delegated("messages.message", isAssignable=True)
    log: deque[str] = delegated("messages.log")
    #: Called, without arguments, when anything that the panel shows has changed.
    onChanged: list[Callable[[], None]] = delegated("messages.onChanged")
    #: Called when others than the session are changing voxels; `followEditor` is to be called soon after.
    onEdited: list[Callable[[], None]] = delegated("_changes.onEdited")

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Work on a volume. What is on its way for another one still reaches its segment."""
        if volumeNode is not self.volumeNode:
            self.jobs.slices.dropIdle()
            self.selection.setVolume(volumeNode)
            if lost := spacingNote(volumeNode):
                self.messages.say(lost)
            self._updater.adopt()
            self.messages.changed()

    def setSegmentation(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Write to a segmentation; its segment is to be chosen next."""
        if segmentationNode is not self.segmentationNode:
            self.selection.setSegmentation(segmentationNode)
            self._undo.noteVoxels(segmentationNode)
            self.messages.changed()

    def setSegment(self, segmentId: str | None) -> None:
        """Prompt for a segment; its prompts are shown and those of all others hidden."""
        self.selection.setSegment(segmentId or "")
        self._updater.adopt()
        self.messages.changed()

    def setSettings(self, settings: Settings) -> None:
        """Segment with other settings from now on; what is there stays until its prompts change or `segment`."""
        if self.jobs.slices.choose(settings):
            self.messages.changed()

    def setPlane(self, plane: str | np.ndarray | None, index: int | None = None) -> None:
        """Say where the user looks; points and boxes placed from now on count on slices of this view.

        :param plane: "axial", "coronal" or "sagittal" with the slice's voxel `index`, or a slice view's 4x4
            SliceToRAS matrix, which may be oblique.
        """
        self.selection.setPlane(plane, index)

    @property
    def promptNodes(self) -> tuple[slicer.vtkMRMLMarkupsNode, ...] | None:
        """(includeNode, excludeNode, roiNode) of the segment, made where missing; None without a segment."""
        return self.selection.makePromptNodes()

    def promptsOnSlice(self) -> list[tuple[str, int, tuple[float, float, float]]]:
        """The points on the slice the user looks at: (role, control point index, world RAS in mm)."""
        return self.selection.promptsOnSlice()

    def segment(self) -> bool:
        """Segment the present slice, or all slices of a box through slices, also where nothing has changed.

        :return: whether anything is on its way; `message` says why not.
        """
        return self._start(self._updater.segment)

    def propagate(self, direction: str = "both") -> bool:
        """Follow the tumor from the prompted slices of the present view through the volume, as one step.

        Prompted slices stay as they are. Where nothing is prompted, what the segment has on the present slice is
        followed. A click on a slice that was reached corrects it there, and what lies beyond is done again.

        :param direction: "both", or "up" (superior, anterior, right) or "down" only.
        :return: whether anything is on its way; `message` says why not.
        """
        return self._start(lambda current, source: self._updater.propagate(current, source, direction))

    def find(self, model: str, liver: LabelSource | None = None, concept: str = LIVER_TUMOR) -> bool:
        """Search the whole volume for tumors by text alone; what is found is added to the segment as one step.

        :param model: registry id or weight file that knows text.
        :param liver: nothing outside it is looked at or marked.
        :return: whether that is on its way; `message` says why not.
        """

        def search(current: PromptedSegment, source: VolumeSource) -> None:
            self.jobs.searches.start(current, source, replace(self.settings, model=model), concept, liver)

        return self._start(search)

    def _start(self, action: Callable[[PromptedSegment, VolumeSource], None]) -> bool:
        current, source = self.selection.current, self.selection.source
        if current is None or source is None:
            return self.messages.refuse(_("Choose a volume, a segmentation and a segment first."))
        try:
            action(current, source)
        except SAMLiverTumorError as error:
            return self.messages.refuse(str(error))
        self.messages.showProgress(self.jobs.progress)
        return self.busy

    def poll(self) -> list[str]:
        """Write what has come from the worker; lines for the user, which are in the log as well.

        To be called from a timer while `busy`.

        :raises Exception: what a job failed with that is no fault of the user's; the others are written first.
        """
        written = self.jobs.poll()
        if written is None:
            return []
        self._undo.noteVoxels(self.segmentationNode)
        for line in written.lines:
            self.messages.say(line)
        self.messages.showProgress(self.jobs.progress)
        if written.failures:
            raise written.failures[0]
        return written.lines

    def cancel(self) -> None:
        """Stop what is on its way. Prompts stay; their slices are segmented when they change or by `segment`.

        Of a propagation the slices that are done stay, of a search nothing is kept.
        """
        if told := self.jobs.cancel():
            self._undo.noteVoxels(self.segmentationNode)
            self.say(told)

    def accept(self) -> bool:
        """Make the object a lasting part of the segment and clear its prompts, as one step; whether it did."""
        if not self.canAccept:
            refusal = _("Still segmenting.") if self.busy else _("There is nothing to accept yet.")
            return self.messages.refuse(refusal)
        self._updater.accept(self.selection.current)
        self.say(_("Accepted."))
        return True

    @property
    def canAccept(self) -> bool:
        """Whether the prompts have put something into the segment and nothing of it is on its way."""
        current = self.selection.current
        return current is not None and current.hasVoxels and not self.jobs.isBusyWith(current)

    def clearSlice(self) -> None:
        """Remove the prompts of the slice the user looks at, as one step."""
        current, view = self.selection.current, self.view
        if current is not None and view is not None:
            current.clearSlice(view, self.selection.volume())
            self._updater.takeUp(current)

    def clearAll(self) -> None:
        """Remove all prompts of the segment and what they have added, as one step."""
        current = self.selection.current
        if current is not None:
            current.nodes.write(PromptState())
            self._updater.takeUp(current)

    def undo(self) -> bool:
        """Take back the last step, prompts and voxels together; whether there was one."""
        self.followEditor()
        return self.canUndo and self._updater.goBackOrForth(self._undo.undo)

    def redo(self) -> bool:
        """Do the last undone step again; whether there was one."""
        self.followEditor()
        return self.canRedo and self._updater.goBackOrForth(self._undo.redo)

    def followEditor(self) -> None:
        """Have prompts go along where the Segment Editor's own Undo or Redo has moved the voxels.

        To be called when the Segment Editor is done, see `onEdited`: halfway through, it has segments in a state
        that never was.
        """
        self._updater.followEditor()

    def prefetch(self) -> None:
        """Have the slices beside the present one encoded when the worker has nothing else to do."""
        self.jobs.slices.prefetch(self.view, self.selection.volume(), self.selection.current)

    def say(self, text: str) -> None:
        """Put a line into message and log, and have it shown."""
        self.messages.say(text)
        self.messages.changed()

    def close(self) -> None:
        """Take the session's hands off the scene; worker and pool go on, prompt nodes and segments stay."""
        self.jobs.slices.dropIdle()
        self.jobs.drop()
        self.selection.close()
        self._objects.close()
        self._undo.history.clear()
        self.onChanged.clear()
        self.onEdited.clear()
