"""`Tasks`: what the panel has done in the worker's thread besides segmenting, such as downloads."""

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
    """Jobs with a title, progress and a callback in the thread that polls.

    :param say: gets what went wrong, where the user can mend it.
    """

    def __init__(self, worker: NetworkWorker, say: Callable[[str], None]) -> None:
        self._worker, self._say = worker, say
        self._tasks: list[_Task] = []

    @property
    def busy(self) -> bool:
        """Whether anything is on its way; poll while it is so."""
        return bool(self._tasks)

    @property
    def title(self) -> str:
        """What is being done; empty if nothing."""
        return self._tasks[0].title if self._tasks else ""

    @property
    def progress(self) -> tuple[int, int | None]:
        """How far the first task is: (done, total), the total None where unknown."""
        return self._tasks[0].progress if self._tasks else (0, None)

    def start(
        self,
        key: str,
        title: str,
        work: Callable[[Callable[[], bool], Progress], Any],
        done: Callable[[Any], None],
    ) -> None:
        """Have `work(is_cancelled, progress)` done in the worker's thread, then `done(value)` in this one."""
        task = _Task(None, title, done)

        def progress(count: int, total: int | None) -> None:
            task.progress = count, total

        self._tasks = [other for other in self._tasks if other.job.key != (id(self), key)]
        task.job = self._worker.submit((id(self), key), lambda cancelled: work(cancelled, progress), owner=self)
        self._tasks.append(task)

    def cancel(self) -> bool:
        """Drop everything; whether there was anything."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.job.cancel()
        return bool(tasks)

    def poll(self) -> bool:
        """Call back for what is done; whether anything has ended.

        :raises Exception: what a task failed with that is no fault of the user's.
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
        # what was cancelled from inside reports nothing
        self._tasks = [task for task in self._tasks if not task.job.is_cancelled()]
        if failures:
            raise failures[0]
        return self._tasks != before
