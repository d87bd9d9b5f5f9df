"""`SliceRunner`: brings segments to what their prompts say, slice by slice, through the worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import PendingChannel
from SAMLiverTumorLib.inference.segment_slices import Settings, SliceMask, embed_slice, segment_slice
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import Arrival, SliceJobs, VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import Plan, PlannedSlice, SliceKey, View
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.open_object import FOUND, OpenObject, SliceShare
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import Worker
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedRuns
from SAMLiverTumorLib.plane import slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

_NEIGHBORS = (1, -1, 2, -2)


class SliceRunner:
    """Submits slices whose prompts have changed and writes what comes back, if it is still wanted.

    :param pool: a `PredictorPool`, used in the worker's thread only.
    """

    def __init__(self, worker: Worker, pool: object, objects: ObjectWriter) -> None:
        self.chosen = Settings()
        #: Asked, whenever something is submitted, what else the network is to see.
        self.further: Callable[[], tuple[PendingChannel, ...]] = tuple
        self.jobs = SliceJobs(worker, self)
        self._worker, self._pool, self._objects = worker, pool, objects

    @property
    def settings(self) -> Settings:
        """What was chosen, with the further phases as they are now."""
        further = self.further()
        return replace(self.chosen, further=further) if further else self.chosen

    def choose(self, settings: Settings) -> bool:
        """Segment with other settings from now on; whether they are others."""
        if settings == self.chosen:
            return False
        self.chosen = settings
        self.dropIdle()
        return True

    def plan(self, target: PromptedSegment, source: VolumeSource) -> Plan:
        """The slices to segment.

        :raises SAMLiverTumorError: the prompts, or the volume, cannot be used.
        """
        return target.plan(source.volume(), self.settings.orientation)

    def adopt(self, target: PromptedSegment, source: VolumeSource, runs: SavedRuns) -> str:
        """Take the prompts of a segment as settled when it meets a volume: a loaded scene has their voxels already.

        :param runs: how tumors were followed, where that came with the scene.
        :return: what to tell the user; empty if nothing.
        """
        if source.key in target.objects:
            return ""
        target.keep(OpenObject(source.key))
        try:
            plan = self.plan(target, source)
        except SAMLiverTumorError:
            return ""  # told when the prompts are used
        slices = {key: SliceShare(planned.promptKey) for key, planned in plan.slices.items()}
        target.keep(OpenObject(source.key, slices))
        try:
            target.keep(runs.restored(target, source, plan) or target.objectOn(source.key))
        except SAMLiverTumorError as error:
            return str(error)
        return ""

    def reconcile(
        self,
        target: PromptedSegment,
        source: VolumeSource,
        plan: Plan,
        submit: bool = True,
        again: frozenset[SliceKey] = frozenset(),
        others: frozenset[SliceKey] = frozenset(),
    ) -> None:
        """Take back the slices that have no prompts any more, and submit those that have others than before.

        :param submit: False only takes back.
        :param again: slices to submit though nothing changed.
        :param others: slices that a propagation sees to.
        :raises SAMLiverTumorError: the segment cannot be written.
        """
        part = target.objectOn(source.key)
        isFollowing = part.propagation is not None and (
            plan.slices or any(anchor.prompts is None for anchor in part.propagation.anchors)
        )
        for key, share in part.slices.items():
            if key == FOUND or (share.isFollowed and isFollowing):
                continue
            if key not in plan.slices and key not in others:
                self._objects.set(target, source.key, key, None)
        if part.propagation is not None and not isFollowing:
            target.keep(replace(target.objectOn(source.key), propagation=None))
        for key in self.jobs.slicesOf(target):
            if key not in plan.slices:
                self.jobs.cancelSlice(target, key)
        for key, planned in plan.slices.items():
            if key in others:
                self.jobs.cancelSlice(target, key)
                continue
            share = target.objectOn(source.key).slices.get(key)
            if share is not None and share.promptKey == planned.promptKey and key not in again:
                self.jobs.cancelSlice(target, key)
            elif not self.jobs.waitsFor(target, key, planned.promptKey):
                self.jobs.cancelSlice(target, key)
                if submit:
                    self._submit(target, key, planned, source)
        self._objects.recordProvenance(target, source.key, plan.prompts, self.settings)

    def write(self, arrivals: list[Arrival]) -> tuple[list[str], list[BaseException]]:
        """Put results into their segments: lines for the user, and errors that are not the user's to mend."""
        lines, failures, touched = [], [], []
        for arrival in arrivals:
            if isinstance(arrival.error, SAMLiverTumorError):
                lines.append(str(arrival.error))
            elif arrival.error is not None:
                failures.append(arrival.error)
            else:
                value: SliceMask = arrival.value
                try:
                    share = SliceShare(arrival.promptKey, value.mask, value.model)
                    self._objects.set(arrival.target, arrival.volumeKey, arrival.key, share)
                    touched.append(arrival)
                    lines.append(_told(arrival.key, value))
                except SAMLiverTumorError as error:
                    lines.append(str(error))
        for arrival in {arrival.target: arrival for arrival in touched}.values():
            try:
                prompts = arrival.target.nodes.prompts()
                self._objects.recordProvenance(arrival.target, arrival.volumeKey, prompts, self.settings)
            except SAMLiverTumorError as error:
                lines.append(str(error))
        return lines, failures

    def cancel(self) -> bool:
        """Drop what is on its way; whether there was anything.

        The slices count as settled with what they have: a click elsewhere must not start them again.
        """
        self._worker.drop_idle()
        dropped = self.jobs.cancel()
        for lost in dropped:
            part = lost.target.objectOn(lost.volumeKey)
            share = replace(part.slices.get(lost.key, SliceShare(None)), promptKey=lost.promptKey)
            lost.target.keep(part.withShare(lost.key, share))
        return bool(dropped)

    def prefetch(self, view: View | None, volume: Volume | None, target: PromptedSegment | None) -> None:
        """Have the slices beside the present one encoded when the worker has nothing else to do."""
        self._worker.drop_idle()
        if view is None or volume is None or view.index is None:
            return
        hasPoints = target is None or target.known.include or not target.known.roi
        kinds = frozenset({"points"} if hasPoints else {"box"})
        for step in _NEIGHBORS:
            if 0 <= view.index + step < slice_count(volume, view.name):
                plane = slice_plane(volume, view.name, view.index + step)
                work = partial(embed_slice, volume, plane, kinds, self._pool, self.settings)
                self._worker.submit_idle((id(self), "prefetch", view.name, plane.index), work)

    def dropIdle(self) -> None:
        """Forget the slices that were to be encoded ahead."""
        self._worker.drop_idle()

    def _submit(self, target: PromptedSegment, key: SliceKey, planned: PlannedSlice, source: VolumeSource) -> None:
        work = partial(segment_slice, source.volume(), planned.plane, planned.seen, self._pool, self.settings)
        self.jobs.submit(target, key, planned.promptKey, source, work)


def _told(key: SliceKey, value: SliceMask) -> str:
    name, where = key
    place = _("{name} slice {index}") if isinstance(where, int) else _("{name} slice")
    place = place.format(name=name, index=where)
    if not value.mask.count:
        text = _("On the {place} the network marked nothing; add a point or move the box.")
        return text.format(place=place)
    text = _("{place}: {count} voxels ({model}).")
    return text.format(place=place.capitalize(), count=value.mask.count, model=value.result.model)
