"""`SceneChanges`: what a session does about changes of the scene by other hands than its own."""

from __future__ import annotations

from collections.abc import Callable

from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedRuns
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import SessionUndo


class SceneChanges:
    """Hears from the selection what was deleted, closed or edited, and lets go of all that depended on it."""

    def __init__(
        self,
        selection: Selection,
        jobs: SessionJobs,
        objects: ObjectWriter,
        undo: SessionUndo,
        runs: SavedRuns,
        messages: SessionMessages,
    ) -> None:
        self._selection, self._jobs, self._objects = selection, jobs, objects
        self._undo, self._runs, self._messages = undo, runs, messages
        #: Called when others than the session are changing voxels.
        self.onEdited: list[Callable[[], None]] = []
        selection.onVoxels = self._voxelsChanged
        selection.onSegmentGone = self._segmentGone
        selection.onVolumeGone = self._volumeGone
        selection.onSceneClosed = self._sceneClosed

    def _voxelsChanged(self) -> None:
        if self._undo.isEdited:
            for callback in list(self.onEdited):
                callback()

    def _segmentGone(self, target: PromptedSegment) -> None:
        self._jobs.drop(target)
        self._undo.history.forget(target)
        self._runs.forget(target)
        if not target.isSegmentationThere:
            self._objects.drop(target.segmentationNode)
        self._undo.noteVoxels(self._selection.segmentationNode)
        self._messages.changed()

    def _volumeGone(self) -> None:
        self._jobs.slices.dropIdle()
        self._jobs.drop()
        self._messages.changed()

    def _sceneClosed(self) -> None:
        self._jobs.slices.dropIdle()
        self._jobs.drop()
        self._undo.history.clear()
        self._undo.noteVoxels(None)
        self._objects.close(inScene=False)
        self._messages.changed()
