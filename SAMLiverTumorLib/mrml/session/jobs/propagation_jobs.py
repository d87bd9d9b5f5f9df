"""`PropagationJobs`: propagates prompted slices through the volume and writes each slice as it arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from SAMLiverTumorLib.errors import PromptError, SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import prepare_channels
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.prompted_slice import PromptedSlice, PropagatedSlice
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.inference.threads.network_worker import Job
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode
from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource
from SAMLiverTumorLib.mrml.session.jobs.propagation_plan import (
    PlannedOnStack,
    areSame,
    leading,
    plannedOn,
    propagatedKey,
)
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import Plan, SliceKey, View
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.open_object import SliceShare, VolumeKey
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import Worker


@dataclass(eq=False)
class _Running:
    target: PromptedSegment
    source: VolumeSource
    state: tuple
    volumeKey: VolumeKey
    stack: PlaneStack
    planned: dict[int, PlannedOnStack]
    settings: Settings
    job: Job | None = None
    #: Filled by the worker's thread; appending to and popping from a deque is thread-safe.
    arrived: deque[tuple[PropagatedSlice, Propagation]] = field(default_factory=deque)
    count: int = 0


class PropagationJobs:
    """At most one propagation runs per segment.

    :param pool: a `PredictorPool`, used in the worker's thread only.
    """

    def __init__(self, worker: Worker, pool: object, objects: ObjectWriter) -> None:
        self._worker, self._pool, self._objects = worker, pool, objects
        self._running: dict[PromptedSegment, _Running] = {}
        #: The region that a tumor must stay inside, read at each start; raises `InputError` if it cannot be read.
        self.inside: Callable[[], LabelSource | None] = lambda: None

    @property
    def busy(self) -> bool:
        """Whether any propagation is running."""
        for target in [target for target, run in self._running.items() if run.job.is_cancelled()]:
            del self._running[target]  # cancelled by the worker's owner
        return bool(self._running)

    @property
    def count(self) -> int:
        """Number of slices written by the propagations that are running."""
        return sum(run.count for run in self._running.values())

    def isRunning(self, target: PromptedSegment) -> bool:
        """Whether a propagation of the segment is running."""
        return self.busy and target in self._running

    def start(
        self,
        target: PromptedSegment,
        source: VolumeSource,
        plan: Plan,
        view: View,
        settings: Settings,
        direction: str,
        drawn: Mask | None,
    ) -> None:
        """Propagate what is prompted in a view's orientation through the volume.

        :param drawn: the segment's voxels on the view's slice, propagated if nothing is prompted.
        :raises PromptError: there is nothing to propagate.
        """
        self.cancel(target)
        stack, known, prompted = self._beginning(target, source, plan, view, drawn)
        if not prompted:
            raise PromptError(
                _("Prompt this slice, or draw the tumor on it, before propagating it through the volume.")
            )
        self._submit(target, source, plan, stack, prompted, settings, direction, known)

    def canStart(
        self, target: PromptedSegment, source: VolumeSource, plan: Plan, view: View, drawn: Mask | None
    ) -> bool:
        """Whether there is anything to propagate; see `start`."""
        return bool(self._beginning(target, source, plan, view, drawn)[2])

    def _beginning(
        self, target: PromptedSegment, source: VolumeSource, plan: Plan, view: View, drawn: Mask | None
    ) -> tuple[PlaneStack, Propagation | None, list[PromptedSlice]]:
        """The stack of planes, the propagation to continue, and the slices to start from, none if all are empty."""
        part = target.objectOn(source.key)
        stack, known = PlaneStack.through(source.volume(), view.plane(source.volume())), part.propagation
        if known is not None and areSame(known.stack, stack):
            # corrected slices stay as they are, and slices already reached are not computed again
            stack, chosen = known.stack, self._chosen(plan, known.stack, known)
        else:
            known, chosen = None, leading(plan, stack, view)
        prompted = []
        for index, each in chosen.items():
            share = part.slices.get(each.key)
            isShown = share is not None and share.promptKey == each.planned.promptKey and share.mask is not None
            prompted.append(PromptedSlice(index, each.planned.seen, share.mask if isShown else None))
        drawnBefore = [anchor.index for anchor in known.anchors if anchor.prompts is None] if known is not None else []
        prompted += [PromptedSlice(index) for index in drawnBefore if index not in chosen]
        if not prompted and drawn is not None and drawn.count:
            prompted = [PromptedSlice(view.index if stack.base is None else 0, None, drawn)]
        if all(each.mask is not None and not each.mask.count for each in prompted):
            prompted = []
        return stack, known, prompted

    def update(
        self, target: PromptedSegment, source: VolumeSource, plan: Plan, settings: Settings, submit: bool
    ) -> frozenset[SliceKey]:
        """Update an earlier propagation where prompts on its slices have changed.

        :param submit: False only reports which slices belong to the propagation.
        :return: the slices of the plan that belong to the propagation and are not segmented on their own.
        """
        run = self._running.get(target) if self.isRunning(target) else None
        known = target.objectOn(source.key).propagation
        stack = run.stack if run is not None else known.stack if known is not None else None
        if stack is None or stack.volume is not source.volume():
            return frozenset()
        planned = plannedOn(plan, stack)
        if submit and planned and self._areOthers(target, source, planned, plan, run):
            self.cancel(target)
            known = target.objectOn(source.key).propagation
            chosen = self._chosen(plan, stack, known).items()
            prompted = [PromptedSlice(index, each.planned.seen) for index, each in chosen]
            self._submit(target, source, plan, stack, prompted, settings, "both", known)
        return frozenset(each.key for each in planned.values())

    def poll(self) -> tuple[list[str], list[BaseException]]:
        """Write the slices that have arrived; returns lines for the user, and errors the user cannot fix."""
        lines: list[str] = []
        failures: list[BaseException] = []
        for run in list(self._running.values()):
            self._write(run, lines)
        for outcome in self._worker.poll(id(self)):
            run = next((run for run in self._running.values() if run.job is outcome.job), None)
            if run is None:
                continue
            self._write(run, lines)
            if self._running.pop(run.target, None) is None:
                continue
            if isinstance(outcome.error, SAMLiverTumorError):
                lines.append(str(outcome.error))
            elif outcome.error is not None:
                failures.append(outcome.error)
            elif run.target.exists:
                self._finish(run, outcome.value)
                lines += propagationLines(outcome.value)
        return lines, failures

    def cancel(self, target: PromptedSegment | None = None) -> bool:
        """Stop one segment's propagation, or all, and keep the finished slices; returns whether any was running."""
        stopped = [run for each, run in self._running.items() if target in (None, each)]
        for run in stopped:
            run.job.cancel()
            self._write(run, [])
            self._running.pop(run.target, None)
        return bool(stopped)

    def drop(self, target: PromptedSegment | None = None) -> None:
        """Discard one segment's propagation, or all, including slices not written yet."""
        for run in [run for each, run in self._running.items() if target in (None, each)]:
            run.job.cancel()
            del self._running[run.target]

    def _submit(
        self,
        target: PromptedSegment,
        source: VolumeSource,
        plan: Plan,
        stack: PlaneStack,
        prompted: list[PromptedSlice],
        settings: Settings,
        direction: str,
        previous: Propagation | None,
    ) -> None:
        planned = plannedOn(plan, stack)
        run = _Running(target, source, source.state(), source.key, stack, planned, settings)
        roi, pool = plan.prompts.box if plan.isThrough else None, self._pool
        inside, grid = self.inside(), gridFromNode(source.node)

        def work(cancelled: Callable[[], bool]) -> Propagation:
            # these import scipy, which would block the GUI thread
            from SAMLiverTumorLib.inference.propagation.continuation import Continuation
            from SAMLiverTumorLib.inference.propagation.slice_step import Limits

            prepare_channels(settings.further, cancelled)
            limits = Limits(None if inside is None else inside.onGrid(grid)[0], roi)
            continuation = Continuation(stack, prompted, pool, settings, direction, limits, previous, cancelled)
            for each in continuation.steps():
                run.arrived.append((each, continuation.result))
            return continuation.result

        run.job = self._worker.submit((id(self), id(target)), work, owner=id(self))
        self._running[target] = run

    @staticmethod
    def _chosen(plan: Plan, stack: PlaneStack, known: Propagation | None) -> dict[int, PlannedOnStack]:
        """The slices that guide a propagation; of a box through slices, only those where it started."""
        anchors = {anchor.index for anchor in known.anchors} if known is not None else set()
        return {
            index: each
            for index, each in plannedOn(plan, stack).items()
            if not plan.isThrough or index in anchors or len(each.planned.seen.points)
        }

    def _areOthers(
        self,
        target: PromptedSegment,
        source: VolumeSource,
        planned: dict[int, PlannedOnStack],
        plan: Plan,
        run: _Running | None,
    ) -> bool:
        """Whether the prompts differ from those that the propagation was made with."""
        if run is not None:
            before = {index: each.planned.promptKey for index, each in run.planned.items()}
            return before != {index: each.planned.promptKey for index, each in planned.items()}
        part = target.objectOn(source.key)
        if any(a.prompts is not None and a.index not in planned for a in part.propagation.anchors):
            return True
        shares = {index: part.slices.get(each.key) for index, each in planned.items()}
        return any(
            share is None or share.isPropagated or share.promptKey != planned[index].planned.promptKey
            for index, share in shares.items()
        )

    def _write(self, run: _Running, lines: list[str]) -> None:
        """Write what has arrived into the segment; if the volume has changed meanwhile, the run ends."""
        if not run.arrived:
            return
        if not run.target.exists or not run.source.isStill(run.state):
            self._running.pop(run.target, None)
            run.job.cancel()
            run.arrived.clear()
            lines.append(_("The volume changed meanwhile, so the result was discarded; segment again."))
            return
        try:
            while run.arrived:
                each, result = run.arrived.popleft()
                self._writeSlice(run, each, result)
                self._keep(run, result)
                run.count += 1
            prompts = run.target.nodes.prompts()
            self._objects.recordProvenance(run.target, run.volumeKey, prompts, run.settings)
        except SAMLiverTumorError as error:
            lines.append(str(error))

    def _writeSlice(self, run: _Running, each: PropagatedSlice, result: Propagation) -> None:
        slices = run.target.objectOn(run.volumeKey).slices
        prompted, key = run.planned.get(each.index), propagatedKey(run.stack, each.index)
        if prompted is None:
            share = None if each.mask is None else SliceShare(None, each.mask, each.model, isPropagated=True)
            if share is not None or (key in slices and slices[key].isPropagated):
                self._objects.set(run.target, run.volumeKey, key, share)
            return
        promptKey, shown = prompted.planned.promptKey, slices.get(prompted.key)
        isAnchor = any(anchor.index == each.index for anchor in result.anchors)
        if isAnchor and shown is not None and not shown.isPropagated and shown.promptKey == promptKey:
            return  # already shown; a prompted slice is not changed
        self._objects.set(run.target, run.volumeKey, prompted.key, SliceShare(promptKey, each.mask, each.model))
        if key != prompted.key and key in slices:
            self._objects.set(run.target, run.volumeKey, key, None)

    def _finish(self, run: _Running, result: Propagation) -> None:
        """Keep the result and mark its prompted slices as settled: those it did not reach are empty."""
        if not result.cancelled:
            for index, prompted in run.planned.items():
                share = run.target.objectOn(run.volumeKey).slices.get(prompted.key)
                promptKey = prompted.planned.promptKey
                if index in result.slices and share is not None:
                    settled = replace(share, promptKey=promptKey, isPropagated=False)
                    run.target.keep(run.target.objectOn(run.volumeKey).withShare(prompted.key, settled))
                elif share is None or share.promptKey != promptKey or index not in result.slices:
                    self._objects.set(run.target, run.volumeKey, prompted.key, SliceShare(promptKey))
        self._keep(run, result)

    @staticmethod
    def _keep(run: _Running, result: Propagation) -> None:
        run.target.keep(replace(run.target.objectOn(run.volumeKey), propagation=result))


def propagationLines(result: Propagation) -> list[str]:
    """The outcome of a propagation, for the user: where and why it stopped, and the slices it reached."""
    reached = result.reached
    if not reached:
        return [_("The tumor was not propagated to any slice.")]
    names = {"up": _("Up"), "down": _("Down")}
    ended = _("{direction}: stopped at slice {index}, {reason}.")
    lines = [
        ended.format(direction=names[stop.direction], index=stop.index, reason=stop.reason) for stop in result.stops
    ]
    text = _("Propagated through {count} slices, {first} to {last}; the log says why it stopped there.")
    return [*lines, text.format(count=len(reached), first=reached[0], last=reached[-1])]
