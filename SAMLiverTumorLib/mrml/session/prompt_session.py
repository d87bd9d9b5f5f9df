"""`PromptSession`: turns prompts in the scene into voxels of the selected segment, without blocking.

The panel and the Segment Editor effect both use it. Its parts: the selection (`Selection`), running jobs
(`SessionJobs`), messages (`SessionMessages`), undo (`SessionUndo`), updates of segments after changes of prompts
(`SegmentUpdater`), and clean-up after deleted nodes (`SceneChanges`). Everything here runs in the thread that owns the
scene. Only the work given to the worker runs elsewhere, and it touches no MRML node.
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
from SAMLiverTumorLib.mrml.nodes.liver_window import DisplayWindow, isFirstLook
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import PromptState
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.session.delegated import delegated
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import View
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import EditorHistory, Worker
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedPropagations
from SAMLiverTumorLib.mrml.session.scene_changes import SceneChanges
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.segment_updater import SegmentUpdater
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import SessionUndo


class PromptSession:
    """Interactive segmentation of a scene.

    :param worker: runs the network; may be shared with other sessions, and is stopped by its owner.
    :param pool: a `PredictorPool`, used in the worker's thread only. Models must already be on disk, because the
        pool's `confirm` would be called in that thread.
    :param history: the Segment Editor's undo, so that its edits and the session's are undone in order; assignable as
        `editorHistory`.
    :param rules: which of the user's Segment Editor settings apply (masking, overwrite mode); None allows editing
        everywhere and changes no other segment. Assignable as `editorRules`.

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
        saved = SavedPropagations(scene)
        self._objects = ObjectWriter(scene)
        self._objects.rules = rules or EditorRules()
        self._undo = SessionUndo(self._objects, history)
        #: Selection, running jobs and messages, for others to read.
        self.selection = Selection(scene)
        self.jobs = SessionJobs(worker, pool, self._objects, self._undo.record)
        self.messages = SessionMessages()
        self._updater = SegmentUpdater(self.selection, self.jobs, self._undo, saved, self.messages)
        self._changes = SceneChanges(self.selection, self.jobs, self._objects, self._undo, saved, self.messages)
        self.selection.onPrompts = self._updater.processPrompts
        # first, so that all others see the scene as it will be saved
        self.onChanged.append(self._updater.savePropagations)

    #: The volume to segment, the segmentation to write to, and its segment that new prompts apply to.
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = delegated("selection.volumeNode")
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = delegated("selection.segmentationNode")
    segmentId: str = delegated("selection.segmentId")  # empty if none
    #: The slice of the volume that the user looks at; None if it does not cut the volume.
    view: View | None = delegated("selection.view")
    #: Model, window, channels, further phases, and the orientation for prompts not placed in a view.
    settings: Settings = delegated("jobs.slices.settings")
    #: Returns the phases that the network sees besides the volume; called at each segmentation.
    further: Callable[[], tuple[PendingChannel, ...]] = delegated("jobs.slices.further", isAssignable=True)
    #: Returns the region that a propagated tumor must stay inside; None for the whole volume.
    inside: Callable[[], LabelSource | None] = delegated("jobs.propagations.inside", isAssignable=True)
    #: Whether anything that the user waits for is running; poll meanwhile.
    busy: bool = delegated("jobs.busy")
    #: Whether each change of prompts is segmented at once.
    live: bool = delegated("_updater.live", isAssignable=True)
    #: Whether the box applies to every slice it crosses, or to the one it was drawn on.
    boxThroughSlices: bool = delegated("_updater.boxThroughSlices", isAssignable=True)
    #: Which of the user's Segment Editor settings apply.
    editorRules: EditorRules = delegated("_objects.rules", isAssignable=True)
    #: The undo of the Segment Editor that edits the segmentation; None if none does.
    editorHistory: EditorHistory | None = delegated("_undo.editor", isAssignable=True)
    #: Whether there is a step to undo, and one to redo.
    canUndo: bool = delegated("_undo.canUndo")
    canRedo: bool = delegated("_undo.canRedo")
    #: What undo and redo would do, such as "propagation of Liver tumor"; empty if nothing.
    undoName: str = delegated("_undo.undoName")
    redoName: str = delegated("_undo.redoName")
    #: Called without arguments when undo, redo or a new segment has changed the choice of the segment.
    onChosen: list[Callable[[], None]] = delegated("_updater.onChosen")
    #: Called with the places (n, 3) in world RAS that undo or redo has changed; the first is amid them.
    onMoved: list[Callable[[np.ndarray], None]] = delegated("_updater.onMoved")
    #: The current status line, and all lines so far.
    message: str = delegated("messages.message", isAssignable=True)
    log: deque[str] = delegated("messages.log")
    #: Called without arguments when anything that the panel shows has changed.
    onChanged: list[Callable[[], None]] = delegated("messages.onChanged")
    #: Called when voxels are changed from outside the session; call `followEditor` soon after.
    onEdited: list[Callable[[], None]] = delegated("_changes.onEdited")

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Work on a volume. Running jobs for another volume still reach their segment."""
        if volumeNode is not self.volumeNode:
            self.jobs.slices.dropIdle()
            self.selection.setVolume(volumeNode)
            if lost := spacingNote(volumeNode):
                self.messages.say(lost)
            self._updater.adopt()
            self.messages.changed()

    def setSegmentation(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Write to a segmentation; choose its segment next."""
        if segmentationNode is not self.segmentationNode:
            self.selection.setSegmentation(segmentationNode)
            self._undo.noteVoxels(segmentationNode)
            self.messages.changed()

    def setSegment(self, segmentId: str | None) -> None:
        """Choose the segment to prompt; its prompts are shown and those of all others hidden."""
        before = self.selection.current
        self.selection.setSegment(segmentId or "")
        current = self.selection.current
        if before is not None and current is not None and current is not before:
            self.messages.message = self._updater.stateLine()
        self._updater.adopt()
        self.messages.changed()

    def addSegment(self, name: str, isProvisional: bool = False) -> bool:
        """Add an empty segment and choose it, as one step; a segmentation is made if none is chosen.

        :param isProvisional: for a search: the segment is removed again if nothing is found.
        :return: whether that was possible; if not, `message` says why.
        """
        if self.volumeNode is None:
            return self.messages.refuse(_("Choose a volume first."))
        try:
            self._updater.addSegment(name, isProvisional)
        except SAMLiverTumorError as error:
            return self.messages.refuse(str(error))
        self.messages.changed()
        return True

    def showLiver(self, always: bool = False) -> bool:
        """Show the volume in the liver window, as one step.

        :param always: False changes only a CT whose window shows no liver, and each volume at most once: what the user
            chooses later is kept.
        :return: whether that changed anything.
        """
        volumeNode, volume = self.volumeNode, self.selection.volume()
        if volume is None or (not always and (not isFirstLook(volumeNode) or not volume.looks_like_hounsfield)):
            return False
        before, wanted = DisplayWindow.of(volumeNode), DisplayWindow.ofLiver(volumeNode)
        if before.isSame(wanted) or (not always and before.showsLiver):
            return False
        self._undo.recordWindow(before)
        wanted.apply()
        text = _("{volume} is shown in the liver window, {low} to {high} HU.")
        self.say(text.format(volume=volumeNode.GetName(), **wanted.edges))
        return True

    def setSettings(self, settings: Settings) -> None:
        """Use other settings from now on; existing masks stay until their prompts change or `segment` is called."""
        if self.jobs.slices.choose(settings):
            self.messages.changed()

    def setPlane(self, plane: str | np.ndarray | None, index: int | None = None) -> None:
        """Set the slice that the user looks at; points and boxes placed from now on apply to slices of this view.

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
        """Segment the current slice, or all slices of a box through slices, even if nothing has changed.

        :return: whether anything is running; if not, `message` says why.
        """
        return self._start(self._updater.segment)

    def propagate(self, direction: str = "both") -> bool:
        """Propagate the tumor from the prompted slices of the current view through the volume, as one step.

        Prompted slices stay as they are. If nothing is prompted, the segment's voxels on the current slice are
        propagated. A click on a propagated slice corrects it, and the slices beyond it are computed again.

        :param direction: "both", or "up" (superior, anterior, right) or "down" only.
        :return: whether anything is running; if not, `message` says why.
        """
        return self._start(lambda current, source: self._updater.propagate(current, source, direction))

    def find(self, model: str, liver: LabelSource | None = None, concept: str = LIVER_TUMOR) -> bool:
        """Search the whole volume for tumors by text alone and add what is found to the segment as one step.

        :param model: registry id or weight file of a model that takes text prompts.
        :param liver: nothing outside it is searched or marked.
        :return: whether the search is running; if not, `message` says why.
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
        """Write what has arrived from the worker; returns lines for the user, which are also in the log.

        Call it from a timer while `busy`.

        :raises Exception: an error of a job that the user cannot fix; all other results are written first.
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
        """Stop everything that is running. Prompts stay; their slices are segmented when they change or by `segment`.

        A propagation keeps its finished slices, a search keeps nothing.
        """
        if line := self.jobs.cancel():
            self._undo.noteVoxels(self.segmentationNode)
            self.say(f"{line} {self._updater.stateLine()}".strip())

    def accept(self) -> bool:
        """Make the object a permanent part of the segment and clear its prompts, as one step; whether it did."""
        if not self.canAccept:
            refusal = _("Still segmenting.") if self.busy else _("There is nothing to accept yet.")
            return self.messages.refuse(refusal)
        self._updater.accept(self.selection.current)
        self.say(_("Accepted."))
        return True

    @property
    def canAccept(self) -> bool:
        """Whether the prompts have added something to the segment and nothing is being computed for it."""
        current = self.selection.current
        return current is not None and current.hasChanges and not self.jobs.isBusyWith(current)

    def clearSlice(self) -> None:
        """Remove the prompts on the current slice, as one step."""
        current, view = self.selection.current, self.view
        if current is not None and view is not None:
            current.clearSlice(view, self.selection.volume())
            self._updater.processPrompts(current)

    def clearAll(self) -> None:
        """Remove all prompts of the segment and the voxels they added, as one step."""
        current = self.selection.current
        if current is not None:
            current.nodes.write(PromptState())
            self._updater.processPrompts(current)

    def undo(self) -> bool:
        """Undo the last step, prompts and voxels together; returns whether there was one."""
        self.followEditor()
        return self.canUndo and self._updater.goBackOrForth(self._undo.undo, _("Undone: {step}."))

    def redo(self) -> bool:
        """Redo the last undone step; returns whether there was one."""
        self.followEditor()
        return self.canRedo and self._updater.goBackOrForth(self._undo.redo, _("Redone: {step}."))

    def followEditor(self) -> None:
        """Update the prompts after the Segment Editor's own Undo or Redo has changed the voxels.

        Call it when the Segment Editor is done, see `onEdited`: before that, its segments are in an intermediate
        state.
        """
        self._updater.followEditor()

    def prefetch(self) -> None:
        """Encode the neighbors of the current slice when the worker is idle."""
        self.jobs.slices.prefetch(self.view, self.selection.volume(), self.selection.current)

    def say(self, text: str) -> None:
        """Show a line in the status line and add it to the log."""
        self.messages.say(text)
        self.messages.changed()

    def close(self) -> None:
        """Detach from the scene; worker and pool keep running, prompt nodes and segments stay."""
        self.jobs.slices.dropIdle()
        self.jobs.drop()
        self.selection.close()
        self._objects.close()
        self._undo.history.clear()
        self.onChanged.clear()
        self.onEdited.clear()
        self.onChosen.clear()
        self.onMoved.clear()
