"""`SceneChanges`: how a session reacts to changes of the scene made by others."""

from __future__ import annotations

from collections.abc import Callable

from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedPropagations
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.mrml.session.session_messages import SessionMessages
from SAMLiverTumorLib.mrml.session.session_undo import SessionUndo


class SceneChanges:
    """Is notified by the selection of what was deleted, closed or edited, and releases what depended on it."""

    def __init__(
        self,
        selection: Selection,
        jobs: SessionJobs,
        objects: ObjectWriter,
        undo: SessionUndo,
        saved: SavedPropagations,
        messages: SessionMessages,
    ) -> None:
        self._selection, self._jobs, self._objects = selection, jobs, objects
        self._undo, self._saved, self._messages = undo, saved, messages
        #: Called when voxels are changed from outside the session.
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
        if not self._undo.isStepping:
            self._undo.history.forget(target)
            # what was said of it is no longer so
            self._messages.message = _("{name} was removed.").format(name=target.name)
        self._saved.forget(target)
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
