"""`SliceJobs`: slices waiting for the network, and whether their results are still wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import slicer.util

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.inference.threads.network_worker import Job
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode, volumeFromNode
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import SliceKey
from SAMLiverTumorLib.mrml.session.open_object import VolumeKey
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import Worker
from SAMLiverTumorLib.volume import Volume


class VolumeSource:
    """A volume node's voxels as a `Volume`, rebuilt only when the voxels or their position have changed.

    :param node: the volume.
    :raises InputError: see `volumeFromNode`.
    """

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        self.node = node
        self._state: tuple | None = None
        self._volume: Volume | None = None

    def volume(self) -> Volume:
        """The current volume; the same object as long as nothing changes.

        Its array is a view that keeps the node's memory alive even if the node is deleted.
        """
        state = self.state()
        if state != self._state:
            self._volume, self._state = volumeFromNode(self.node), state
        return self._volume

    def state(self) -> tuple:
        """Changes whenever the volume's voxels, geometry or parent transform change; cheap to compute."""
        grid = gridFromNode(self.node)
        scalars = self.node.GetImageData().GetPointData().GetScalars()
        return grid.dimensions, grid.ijk_to_ras.tobytes(), scalars.__this__, scalars.GetMTime()

    def isStill(self, state: tuple) -> bool:
        """Whether the volume is in the scene and unchanged since `state` was read."""
        if self.node.GetScene() is None:
            return False
        try:
            return self.state() == state
        except SAMLiverTumorError:  # its image is gone, or it now has a non-linear transform
            return False

    @property
    def key(self) -> VolumeKey:
        """Identifies the voxel grid that masks belong to, wherever it is moved."""
        return self.node.GetID(), gridFromNode(self.node).dimensions


@dataclass(eq=False)
class _Pending:
    job: Job
    target: PromptedSegment
    key: SliceKey
    promptKey: object
    source: VolumeSource
    state: tuple
    volumeKey: VolumeKey


@dataclass(frozen=True, eq=False)
class Arrival:
    """The outcome of one slice."""

    target: PromptedSegment
    key: SliceKey
    promptKey: object
    volumeKey: VolumeKey
    value: Any = None
    error: BaseException | None = None


class SliceJobs:
    """The jobs of one session, at most one per slice of each segment."""

    def __init__(self, worker: Worker, owner: object) -> None:
        self._worker, self._owner = worker, owner
        self._pending: dict[tuple[PromptedSegment, SliceKey], _Pending] = {}

    def submit(
        self, target: PromptedSegment, key: SliceKey, promptKey: object, source: VolumeSource, work: Callable
    ) -> None:
        """Queue a slice, replacing an older job for the same slice."""
        self.cancelSlice(target, key)
        job = self._worker.submit((id(self._owner), id(target), key), work, owner=id(self._owner))
        self._pending[target, key] = _Pending(job, target, key, promptKey, source, source.state(), source.key)

    def waitsFor(self, target: PromptedSegment, key: SliceKey, promptKey: object) -> bool:
        """Whether the slice is queued with exactly these prompts, and the volume has not changed."""
        pending = self._pending.get((target, key))
        return pending is not None and pending.promptKey == promptKey and pending.source.isStill(pending.state)

    def cancelSlice(self, target: PromptedSegment, key: SliceKey) -> None:
        """Cancel a slice's job, if it has one."""
        pending = self._pending.pop((target, key), None)
        if pending is not None:
            pending.job.cancel()

    def cancel(self, target: PromptedSegment | None = None) -> list[Arrival]:
        """Cancel the jobs of one segment, or all; returns them as arrivals without values."""
        dropped = [p for p in self._pending.values() if target is None or p.target is target]
        for pending in dropped:
            self.cancelSlice(pending.target, pending.key)
        return [Arrival(p.target, p.key, p.promptKey, p.volumeKey) for p in dropped]

    def slicesOf(self, target: PromptedSegment | None = None) -> list[SliceKey]:
        """The slices of one segment, or all, that are queued or running."""
        for pending in [p for p in self._pending.values() if p.job.is_cancelled()]:
            del self._pending[pending.target, pending.key]  # cancelled by the worker's owner
        return [p.key for p in self._pending.values() if target is None or p.target is target]

    @property
    def busy(self) -> bool:
        """Whether any slice is queued or running."""
        return bool(self.slicesOf())

    def poll(self) -> tuple[list[Arrival], int]:
        """The arrivals since the last call, and how many results were discarded because the volume changed."""
        arrivals, dropped = [], 0
        byJob = {pending.job: pending for pending in self._pending.values()}
        for outcome in self._worker.poll(id(self._owner)):
            pending = byJob.get(outcome.job)
            if pending is None:
                continue
            del self._pending[pending.target, pending.key]
            if not pending.target.exists:
                continue
            if not pending.source.isStill(pending.state):
                dropped += 1
                continue
            arrivals.append(
                Arrival(pending.target, pending.key, pending.promptKey, pending.volumeKey, outcome.value, outcome.error)
            )
        return arrivals, dropped
