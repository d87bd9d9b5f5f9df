"""`Tasks`: the panel's jobs in the worker's thread besides segmentation, such as downloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.inference.threads.network_worker import Job, NetworkWorker

Progress = Callable[[int, "int | None"], None]


@dataclass(eq=False)
class _Task:
    job: Job
    title: str
    done: Callable[[Any], None]
    progress: tuple[int, int | None] = (0, None)


class Tasks:
    """Jobs with a title, progress, and a callback in the polling thread.

    :param say: called with errors that the user can fix.
    """

    def __init__(self, worker: NetworkWorker, say: Callable[[str], None]) -> None:
        self._worker, self._say = worker, say
        self._tasks: list[_Task] = []

    @property
    def busy(self) -> bool:
        """Whether any task is running; poll meanwhile."""
        return bool(self._tasks)

    @property
    def title(self) -> str:
        """The title of the running task; empty if there is none."""
        return self._tasks[0].title if self._tasks else ""

    @property
    def progress(self) -> tuple[int, int | None]:
        """Progress of the first task: (done, total); the total is None if unknown."""
        return self._tasks[0].progress if self._tasks else (0, None)

    def start(
        self,
        key: str,
        title: str,
        work: Callable[[Callable[[], bool], Progress], Any],
        done: Callable[[Any], None],
    ) -> None:
        """Run `work(is_cancelled, progress)` in the worker's thread, then `done(value)` in this one."""
        task = _Task(None, title, done)

        def progress(count: int, total: int | None) -> None:
            task.progress = count, total

        self._tasks = [other for other in self._tasks if other.job.key != (id(self), key)]
        task.job = self._worker.submit((id(self), key), lambda cancelled: work(cancelled, progress), owner=self)
        self._tasks.append(task)

    def cancel(self) -> bool:
        """Cancel all tasks; returns whether there were any."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.job.cancel()
        return bool(tasks)

    def poll(self) -> bool:
        """Call back for finished tasks; returns whether any has ended.

        :raises Exception: an error of a task that the user cannot fix.
        """
        failures, before = [], list(self._tasks)
        for outcome in self._worker.poll(owner=self):
            task = next((task for task in self._tasks if task.job is outcome.job), None)
            if task is None:
                continue
            self._tasks.remove(task)
            if outcome.error is None:
                task.done(outcome.value)
            elif isinstance(outcome.error, SAMLiverTumorError):
                self._say(str(outcome.error))
            else:
                text = _("{title}: failed ({error}).")
                self._say(text.format(title=task.title, error=type(outcome.error).__name__))
                failures.append(outcome.error)
        # a task cancelled from inside reports nothing
        self._tasks = [task for task in self._tasks if not task.job.is_cancelled()]
        if failures:
            raise failures[0]
        return self._tasks != before
