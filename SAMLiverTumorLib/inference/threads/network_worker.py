"""`NetworkWorker`: one thread that runs the network, so that the GUI thread never waits for it.

The GUI thread submits jobs and polls for their outcomes. The worker's thread calls nothing back, because it must not
touch Qt or MRML.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from SAMLiverTumorLib.errors import Cancelled


@dataclass(eq=False)
class Job:
    """A job of the worker, and the handle to cancel it.

    :param key: subject of the job, for example (volume, segment, slice). A new job replaces older ones with the same
        key, whose outcomes are dropped.
    :param work: called as `work(job.is_cancelled)` in the worker's thread.
    :param idle: run only when no other job waits, and dropped first.
    :param owner: who polls the outcome, if several share a worker.
    """

    key: Hashable
    work: Callable[[Callable[[], bool]], Any]
    idle: bool = False
    owner: Hashable = None
    number: int = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask it to stop soon and drop its outcome; no effect if it is finished."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        """Whether it was cancelled or replaced by a newer job."""
        return self._cancelled.is_set()


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of a job: its value, or the error it raised."""

    job: Job
    value: Any = None
    error: BaseException | None = None


class NetworkWorker:
    """A daemon thread with a queue; started by the first job, ended by `stop`.

    There is one thread for the whole session, because the network's memory pools and compiled plans are per thread.

    >>> worker = NetworkWorker()
    >>> job = worker.submit("slice 12", lambda is_cancelled: 6 * 7)
    >>> worker.wait(5.0)
    True
    >>> [outcome.value for outcome in worker.poll()]
    [42]
    """

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._idle: deque[Job] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._numbers = itertools.count(1)

    def submit(self, key: Hashable, work: Callable[[Callable[[], bool]], Any], owner: Hashable = None) -> Job:
        """Queue a job. Others with the same key are cancelled, finished ones included; so is a running idle job.

        :raises RuntimeError: the worker was stopped.
        """
        with self._changed:
            for job in (*self._waiting, self._running, *(outcome.job for outcome in self._outcomes)):
                if job is not None and job.key == key:
                    job.cancel()
            if self._running is not None and self._running.idle:
                self._running.cancel()
            return self._add(Job(key, work, owner=owner), self._waiting)

    def submit_idle(self, key: Hashable, work: Callable[[Callable[[], bool]], Any]) -> Job:
        """Queue a job that runs when no other waits; its outcome is not reported."""
        with self._changed:
            return self._add(Job(key, work, idle=True), self._idle)

    def drop_idle(self) -> None:
        """Drop all idle jobs, for example because the user has moved to another part of the volume."""
        with self._changed:
            self._idle.clear()
            if self._running is not None and self._running.idle:
                self._running.cancel()

    def poll(self, owner: Hashable = None) -> list[Outcome]:
        """The owner's outcomes since the last call, oldest first, without those of cancelled jobs."""
        with self._changed:
            outcomes = [outcome for outcome in self._outcomes if outcome.job.owner == owner]
            self._outcomes = deque(outcome for outcome in self._outcomes if outcome.job.owner != owner)
        return [outcome for outcome in outcomes if not outcome.job.is_cancelled()]

    @property
    def busy(self) -> bool:
        """Whether a job that is neither idle nor cancelled is queued, running or not yet polled."""
        with self._changed:
            jobs = (*self._waiting, self._running, *(outcome.job for outcome in self._outcomes))
            return any(job is not None and not job.idle and not job.is_cancelled() for job in jobs)

    def wait(self, seconds: float) -> bool:
        """Block until no job but idle ones is queued or running; for tests and scripts."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and (self._running is None or self._running.idle), timeout=seconds
            )

    def stop(self, seconds: float = 2.0) -> bool:
        """Cancel all jobs and end the thread.

        :return: whether it ended in time; otherwise the daemon thread ends with the process.
        """
        with self._changed:
            self._stopped = True
            for job in (*self._waiting, *self._idle, self._running):
                if job is not None:
                    job.cancel()
            self._waiting.clear()
            self._idle.clear()
            self._outcomes.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            return True
        thread.join(seconds)
        return not thread.is_alive()

    def _add(self, job: Job, queue: deque[Job]) -> Job:
        if self._stopped:
            raise RuntimeError("the worker was stopped")
        job.number = next(self._numbers)
        queue.append(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="SAMLiverTumor network", daemon=True)
            self._thread.start()
        self._changed.notify_all()
        return job

    def _next(self) -> Job | None:
        """Wait for the next job; None when stopped. Called with the lock held."""
        while True:
            for queue in (self._waiting, self._idle):
                while queue:
                    job = queue.popleft()
                    if not job.is_cancelled():
                        return job
            self._changed.notify_all()
            if self._stopped:
                return None
            self._changed.wait()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._running = self._next()
                job = self._running
            if job is None:
                return
            outcome = self._outcome(job)
            with self._changed:
                if outcome is not None and not job.idle and not job.is_cancelled():
                    self._outcomes.append(outcome)

    @staticmethod
    def _outcome(job: Job) -> Outcome | None:
        try:
            return Outcome(job, value=job.work(job.is_cancelled))
        except Cancelled:
            return None
        except BaseException as error:  # the GUI thread raises it again, unless the user can fix it
            return Outcome(job, error=error)
