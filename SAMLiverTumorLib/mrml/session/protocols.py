"""What a prompt session needs of others, so that tests and the Segment Editor effect can put in their own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from SAMLiverTumorLib.inference.threads.network_worker import Job, Outcome

Work = Callable[[Callable[[], bool]], Any]


class Worker(Protocol):
    """Runs jobs away from the caller; `inference.threads.network_worker.NetworkWorker` is one. It outlives sessions."""

    def submit(self, key: Hashable, work: Work, owner: Hashable = None) -> Job:
        """Queue a job; others of the same key are cancelled."""

    def submit_idle(self, key: Hashable, work: Work) -> Job:
        """Queue a job for when there is nothing else to do."""

    def drop_idle(self) -> None:
        """Forget the idle jobs."""

    def poll(self, owner: Hashable = None) -> list[Outcome]:
        """The owner's outcomes since the last call."""


class EditorHistory(Protocol):
    """Undo of the user's Segment Editor, so that one Undo goes back through both in the order things were done.

    `vtkSlicerSegmentEditorLogic` does this under the names SaveStateForUndo, Undo, Redo, CanUndo, CanRedo.
    """

    def saveStateForUndo(self) -> None:
        """Remember the segmentation as it is."""

    def undo(self) -> None:
        """Go back to the last state remembered."""

    def redo(self) -> None:
        """Come back from the last undo."""

    def canUndo(self) -> bool:
        """Whether there is a state to go back to."""

    def canRedo(self) -> bool:
        """Whether there is a state to come back to."""
