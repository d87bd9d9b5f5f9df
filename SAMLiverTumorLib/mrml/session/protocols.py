"""Interfaces that a prompt session depends on, so that tests and the Segment Editor effect can supply their own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from SAMLiverTumorLib.inference.threads.network_worker import Job, Outcome

Work = Callable[[Callable[[], bool]], Any]


class Worker(Protocol):
    """Runs jobs away from the caller; `inference.threads.network_worker.NetworkWorker` is one. It outlives sessions."""

    def submit(self, key: Hashable, work: Work, owner: Hashable = None) -> Job:
        """Queue a job; earlier ones with the same key are cancelled."""

    def submit_idle(self, key: Hashable, work: Work) -> Job:
        """Queue a job to run when the worker is idle."""

    def drop_idle(self) -> None:
        """Cancel the idle jobs."""

    def poll(self, owner: Hashable = None) -> list[Outcome]:
        """The owner's outcomes since the last call."""


class EditorHistory(Protocol):
    """Undo of the user's Segment Editor, so that one Undo covers both in chronological order.

    `vtkSlicerSegmentEditorLogic` has these as SaveStateForUndo, Undo, Redo, CanUndo, CanRedo.
    """

    def saveStateForUndo(self) -> None:
        """Save the current state of the segmentation."""

    def undo(self) -> None:
        """Restore the last saved state."""

    def redo(self) -> None:
        """Revert the last undo."""

    def canUndo(self) -> bool:
        """Whether there is a state to undo to."""

    def canRedo(self) -> bool:
        """Whether there is a state to redo to."""
