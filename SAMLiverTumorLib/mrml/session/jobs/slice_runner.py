"""`SliceRunner`: keeps segments up to date with their prompts, slice by slice, through the worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import PendingChannel
from SAMLiverTumorLib.inference.segment_slices import Settings, SliceMask, embed_slice, segment_slice
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import Arrival, SliceJobs, VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import Plan, PlannedSlice, SliceKey, View
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.open_object import FOUND, OpenObject, SliceShare, inBox
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import Worker
from SAMLiverTumorLib.mrml.session.saved_propagations import SavedPropagations
from SAMLiverTumorLib.plane import Plane, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume, apply_affine

_NEIGHBORS = (1, -1, 2, -2)


class SliceRunner:
    """Submits slices whose prompts have changed and writes the results that are still wanted.

    :param pool: a `PredictorPool`, used in the worker's thread only.
    """

    def __init__(self, worker: Worker, pool: object, objects: ObjectWriter) -> None:
        self.chosen = Settings()
        #: Returns further channels for the network; called at each submission.
        self.further: Callable[[], tuple[PendingChannel, ...]] = tuple
        self.jobs = SliceJobs(worker, self)
        self._worker, self._pool, self._objects = worker, pool, objects

    @property
    def settings(self) -> Settings:
        """The chosen settings with the current further phases."""
        further = self.further()
        return replace(self.chosen, further=further) if further else self.chosen

    def choose(self, settings: Settings) -> bool:
        """Use other settings from now on; returns whether they differ."""
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

    def adopt(self, target: PromptedSegment, source: VolumeSource, saved: SavedPropagations) -> str:
        """Treat a segment's prompts as settled when it is first used with a volume: a loaded scene has their voxels.

        :param saved: propagations that were saved with the scene.
        :return: a line for the user; empty if there is nothing to say.
        """
        if source.key in target.objects:
            return ""
        target.keep(OpenObject(source.key))
        try:
            plan = self.plan(target, source)
        except SAMLiverTumorError:
            return ""  # reported when the prompts are used
        slices = {key: SliceShare(planned.promptKey) for key, planned in {**plan.slices, **plan.lone}.items()}
        target.keep(OpenObject(source.key, slices))
        try:
            target.keep(saved.restored(target, source, plan) or target.objectOn(source.key))
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
    ) -> frozenset[SliceKey]:
        """Remove the masks of slices that no longer have prompts, and submit those whose prompts have changed.

        :param submit: False only removes.
        :param again: slices to submit even if nothing has changed.
        :param others: slices that a propagation handles.
        :return: slices where exclude points alone cut pieces off.
        :raises SAMLiverTumorError: the segment cannot be written.
        """
        part = target.objectOn(source.key)
        isPropagating = part.propagation is not None and (
            plan.slices or any(anchor.prompts is None for anchor in part.propagation.anchors)
        )
        for key, share in part.slices.items():
            if key == FOUND or (share.isPropagated and isPropagating):
                continue
            if key in plan.lone and share.promptKey == plan.lone[key].promptKey:
                continue
            if key not in plan.slices and key not in others:
                self._objects.set(target, source.key, key, None)
        if part.propagation is not None and not isPropagating:
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
        if submit:
            lone = {key: each for key, each in plan.lone.items() if key not in others}
            self._cutPieces(target, source, lone, again)
        self._objects.recordProvenance(target, source.key, plan.prompts, self.settings)
        shares = target.objectOn(source.key).slices
        return frozenset(key for key in plan.lone if key in shares and shares[key].cut is not None)

    def _cutPieces(
        self,
        target: PromptedSegment,
        source: VolumeSource,
        lone: dict[SliceKey, PlannedSlice],
        again: frozenset[SliceKey],
    ) -> None:
        """On slices with exclude points alone, remove the connected pieces of the segment under the points.

        A point that lies on none is settled all the same: what is painted or found there later is not its business, and
        a click elsewhere must not remove it.
        """
        for key, planned in lone.items():
            share = target.objectOn(source.key).slices.get(key)
            if share is not None and (share.cut is not None or key not in again):
                continue
            voxels = self._objects.voxelsOn(target, source.key, planned.plane)
            piece = piecesAt(voxels, planned, source.volume()) if voxels is not None else None
            self._objects.set(target, source.key, key, SliceShare(planned.promptKey, cut=piece))

    def write(self, arrivals: list[Arrival]) -> tuple[list[str], list[BaseException]]:
        """Write results into their segments; returns lines for the user, and errors the user cannot fix."""
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
                    lines.append(_sliceLine(arrival.key, value))
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
        """Cancel everything queued or running; returns whether there was anything.

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
        """Encode the neighbors of the current slice when the worker is idle."""
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
        """Cancel the slices queued for encoding in advance."""
        self._worker.drop_idle()

    def _submit(self, target: PromptedSegment, key: SliceKey, planned: PlannedSlice, source: VolumeSource) -> None:
        work = partial(segment_slice, source.volume(), planned.plane, planned.seen, self._pool, self.settings)
        self.jobs.submit(target, key, planned.promptKey, source, work)


def piecesAt(voxels: Mask, planned: PlannedSlice, volume: Volume) -> Mask | None:
    """The connected pieces of a slice's voxels that the slice's exclude points lie on; None if they lie on none."""
    from SAMLiverTumorLib.image.lesion_components import label_lesions

    axis = planned.plane.axis
    onSlice = inBox(voxels, *_sliceBox(planned.plane, volume))
    # arrays are (k, j, i)
    labels, _count = label_lesions(np.squeeze(onSlice, 2 - axis))
    excluded = planned.seen.points[np.asarray(planned.seen.labels) == 0]
    pointsRas = apply_affine(planned.plane.to_ras, np.column_stack([excluded, np.zeros(len(excluded))]))
    found = set()
    for ijk in np.rint(apply_affine(volume.ras_to_ijk, pointsRas)).astype(int):
        place = tuple(np.delete(ijk, axis)[::-1])
        if all(0 <= n < size for n, size in zip(place, labels.shape, strict=True)):
            found.add(int(labels[place]))
    found.discard(0)
    if not found:
        return None
    return Mask.from_array(
        np.expand_dims(np.isin(labels, list(found)), 2 - axis), volume, _sliceBox(planned.plane, volume)[0]
    )


def _sliceBox(plane: Plane, volume: Volume) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First voxel (i, j, k) and shape (k, j, i) of a slice of the volume's grid."""
    origin, size = [0, 0, 0], list(volume.dimensions)
    origin[plane.axis], size[plane.axis] = plane.index, 1
    return tuple(origin), tuple(size[::-1])


def _sliceLine(key: SliceKey, value: SliceMask) -> str:
    name, where = key
    place = _("{name} slice {index}") if isinstance(where, int) else _("{name} slice")
    place = place.format(name=name, index=where)
    if not value.mask.count:
        text = _("On the {place} the network marked nothing; add a point or move the box.")
        return text.format(place=place)
    text = _("{place}: {count} voxels ({model}).")
    return text.format(place=place.capitalize(), count=value.mask.count, model=value.result.model)
