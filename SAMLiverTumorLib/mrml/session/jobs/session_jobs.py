"""`SessionJobs`: everything that a prompt session is computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.session.jobs.propagation_jobs import PropagationJobs
from SAMLiverTumorLib.mrml.session.jobs.search_jobs import SearchJobs
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import View
from SAMLiverTumorLib.mrml.session.jobs.slice_runner import SliceRunner
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import Worker


@dataclass(frozen=True, eq=False)
class Written:
    """What was written since the last poll.

    :param lines: for the user.
    :param failures: errors of jobs that the user cannot fix.
    """

    lines: list[str]
    failures: list[BaseException]


class SessionJobs:
    """Single slices, propagations and searches, polled and stopped together.

    :param pool: a `PredictorPool`, used in the worker's thread only.
    :param objects: writes what comes back.
    :param record: starts an undo step of a segment.
    """

    def __init__(
        self, worker: Worker, pool: object, objects: ObjectWriter, record: Callable[[PromptedSegment, str], None]
    ) -> None:
        self._objects = objects
        self.slices = SliceRunner(worker, pool, objects)
        self.propagations = PropagationJobs(worker, pool, objects)
        self.searches = SearchJobs(worker, pool, objects, record)

    @property
    def busy(self) -> bool:
        """Whether anything that the user waits for is running."""
        return self.slices.jobs.busy or self.propagations.busy or self.searches.busy

    @property
    def waiting(self) -> int:
        """The number of single slices being segmented."""
        return len(self.slices.jobs.slicesOf())

    @property
    def progress(self) -> str:
        """Their progress, for the user; empty if nothing is running."""
        if self.propagations.busy:
            return _("Propagating the tumor: {count} slices ...").format(count=self.propagations.count)
        if self.searches.busy:
            done, total = self.searches.progress
            return _("Searching for tumors: {done} of {total} slices ...").format(done=done, total=total or "?")
        if count := self.waiting:
            text = _("Segmenting {count} slices ...") if count > 1 else _("Segmenting {count} slice ...")
            return text.format(count=count)
        return ""

    def isBusyWith(self, target: PromptedSegment) -> bool:
        """Whether anything is being computed for the segment."""
        return bool(
            self.slices.jobs.slicesOf(target) or self.propagations.isRunning(target) or self.searches.isRunning(target)
        )

    def propagate(self, target: PromptedSegment, source: VolumeSource, view: View, direction: str) -> None:
        """Propagate what is prompted, or else drawn, on slices of a view through the volume.

        :raises SAMLiverTumorError: there is nothing to propagate, or the segment or the volume cannot be used.
        """
        plan = self.slices.plan(target, source)
        drawn = self._objects.voxelsOn(target, source.key, view.plane(source.volume()))
        self.propagations.start(target, source, plan, view, self.slices.settings, direction, drawn)

    def canPropagate(self, target: PromptedSegment, source: VolumeSource, view: View) -> bool:
        """Whether `propagate` has anything to start from."""
        try:
            plan = self.slices.plan(target, source)
            drawn = self._objects.voxelsOn(target, source.key, view.plane(source.volume()))
            return self.propagations.canStart(target, source, plan, view, drawn)
        except SAMLiverTumorError:
            # pressed, the button says what is wrong
            return True

    def poll(self) -> Written | None:
        """Write what has arrived from the worker; None if nothing arrived and no progress was made."""
        arrivals, dropped = self.slices.jobs.poll()
        before = self._state()
        propagated, broken = self.propagations.poll()
        found, failed = self.searches.poll()
        if not any((arrivals, dropped, propagated, broken, found, failed)) and before == self._state():
            return None
        lines, failures = self.slices.write(arrivals)
        lines = [*lines, *propagated, *found]
        if dropped:
            lines.append(_("The volume changed meanwhile, so the result was discarded; segment again."))
        return Written(lines, [*failures, *broken, *failed])

    def cancel(self) -> str:
        """Stop everything at the user's request; returns a line for the user, empty if nothing was running.

        Prompts whose slices were being segmented count as settled. A propagation keeps its finished slices, a search
        keeps nothing.
        """
        stopped, searched = self.propagations.cancel(), self.searches.cancel()
        if not (self.slices.cancel() or stopped or searched):
            return ""
        return _("Stopped; finished slices are kept.") if stopped else _("Cancelled.")

    def drop(self, target: PromptedSegment | None = None) -> None:
        """Discard the jobs of one segment, or all, including results not written yet."""
        self.slices.jobs.cancel(target)
        self.propagations.drop(target)
        self.searches.cancel(target)

    def _state(self) -> tuple:
        return self.propagations.busy, self.propagations.count, self.searches.progress
