"""`NetworkWorker`: the one thread that runs the network, so that whoever asks never waits for it.

Jobs go in from the GUI thread, outcomes come out by polling; nothing is called back from the worker's thread,
where neither Qt nor MRML may be touched.
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
    """Something the worker is to do; also the handle to cancel it by.

    :param key: what the job is about, for example (volume, segment, slice). A new job takes the place of an
        older one with the same key, whose outcome nobody wants any more.
    :param work: called as `work(job.is_cancelled)` in the worker's thread.
    :param idle: done only when nothing else waits, and dropped first.
    :param owner: who gets the outcome, where several share a worker.
    """

    key: Hashable
    work: Callable[[Callable[[], bool]], Any]
    idle: bool = False
    owner: Hashable = None
    number: int = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Have it end soon and its outcome dropped; harmless when it is over."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        """Whether somebody cancelled it or a newer job took its place."""
        return self._cancelled.is_set()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job: its value, or the error it ended with."""

    job: Job
    value: Any = None
    error: BaseException | None = None


class NetworkWorker:
    """A daemon thread with a queue; made with the first job, gone with `stop`.

    One thread for the whole session: the network's memory pools and compiled plans are kept per thread.

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
        """Queue a job; others of the same key are cancelled, finished ones included, and idle jobs give way.

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
        """Queue a job for when there is nothing else to do; its outcome is not reported."""
        with self._changed:
            return self._add(Job(key, work, idle=True), self._idle)

    def drop_idle(self) -> None:
        """Forget the idle jobs, for instance because the user has gone to another part of the volume."""
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
        """Whether a job that somebody waits for is queued, running or not yet polled."""
        with self._changed:
            jobs = (*self._waiting, self._running, *(outcome.job for outcome in self._outcomes))
            return any(job is not None and not job.idle and not job.is_cancelled() for job in jobs)

    def wait(self, seconds: float) -> bool:
        """Block until nothing that somebody waits for is queued or running; for tests and scripts."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and (self._running is None or self._running.idle), timeout=seconds
            )

    def stop(self, seconds: float = 2.0) -> bool:
        """Cancel everything and end the thread.

        :return: whether it ended in time; a daemon thread that did not goes with the process.
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
        """The next job, waiting for one; None when stopped. Called with the lock held."""
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
        except BaseException as error:  # reported to the GUI thread, which raises what is not the user's to mend
            return Outcome(job, error=error)
