"""`SearchJobs`: searches a volume for tumors by text and writes the result as one undoable step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.pending_channel import prepare_channels
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.inference.threads.network_worker import Job
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode
from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.object_writer import ObjectWriter
from SAMLiverTumorLib.mrml.session.open_object import FOUND, SliceShare, VolumeKey
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.mrml.session.protocols import Worker
from SAMLiverTumorLib.versions import versions

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.text_search import Found


@dataclass(eq=False)
class _Running:
    target: PromptedSegment
    source: VolumeSource
    state: tuple
    volumeKey: VolumeKey
    settings: Settings
    job: Job | None = None
    #: (slices done, total); set by the worker's thread.
    progress: tuple[int, int] = (0, 0)


class SearchJobs:
    """At most one search runs; nothing is written before the whole volume has been searched.

    The result is one share of the segment's open object, next to those of prompts. Undo removes it as a whole, a new
    search replaces it, and Accept makes it permanent.

    :param pool: a `PredictorPool`, used in the worker's thread only.
    :param record: starts an undo step of a segment, with a name.
    """

    def __init__(
        self, worker: Worker, pool: object, objects: ObjectWriter, record: Callable[[PromptedSegment, str], None]
    ) -> None:
        self._worker, self._pool, self._objects, self._record = worker, pool, objects, record
        self._running: _Running | None = None
        #: Called with the segment of a search that found nothing, failed or was cancelled.
        self.onNothing: Callable[[PromptedSegment], None] = lambda target: None

    @property
    def busy(self) -> bool:
        """Whether a search is running."""
        if self._running is not None and self._running.job.is_cancelled():
            self._running = None  # cancelled by the worker's owner
        return self._running is not None

    @property
    def progress(self) -> tuple[int, int] | None:
        """(slices done, total) of the running search; the total is 0 until it is known."""
        return self._running.progress if self.busy else None

    def isRunning(self, target: PromptedSegment) -> bool:
        """Whether a search for the segment is running."""
        return self.busy and self._running.target is target

    def start(
        self,
        target: PromptedSegment,
        source: VolumeSource,
        settings: Settings,
        concept: str,
        liver: LabelSource | None = None,
    ) -> None:
        """Search a volume for a concept, replacing any search that is running.

        :param settings: with a model that takes text prompts.
        :param liver: nothing outside it is searched or marked.
        :raises InputError: the volume cannot be used as it is.
        """
        self.cancel()
        volume, grid, pool = source.volume(), gridFromNode(source.node), self._pool
        run = _Running(target, source, source.state(), source.key, settings)

        def progress(done: int, total: int) -> None:
            run.progress = done, total

        def work(cancelled: Callable[[], bool]) -> Found:
            # imports torch and scipy, which would block the GUI thread
            from SAMLiverTumorLib.inference.text_search import find

            prepare_channels(settings.further, cancelled)
            within: np.ndarray | None = liver.onGrid(grid)[0] if liver is not None else None
            return find(
                volume,
                pool,
                concept,
                settings.model,
                settings.window,
                settings.channels,
                within,
                further=settings.further,
                progress=progress,
                cancel=cancelled,
            )

        run.job = self._worker.submit((id(self), "find"), work, owner=id(self))
        self._running = run

    def poll(self) -> tuple[list[str], list[BaseException]]:
        """Write what was found; returns lines for the user, and errors the user cannot fix."""
        lines: list[str] = []
        failures: list[BaseException] = []
        for outcome in self._worker.poll(id(self)):
            run = self._running
            if run is None or run.job is not outcome.job:
                continue
            self._running = None
            if isinstance(outcome.error, SAMLiverTumorError):
                lines.append(str(outcome.error))
            elif outcome.error is not None:
                failures.append(outcome.error)
            elif not run.target.exists or not run.source.isStill(run.state):
                lines.append(_("The volume changed meanwhile, so the result was discarded; search again."))
            else:
                lines.append(self._write(run, outcome.value))
            self.onNothing(run.target)
        return lines, failures

    def cancel(self, target: PromptedSegment | None = None) -> bool:
        """Stop the search, or only one for `target`; nothing of it is kept. Returns whether one was running."""
        if not self.busy or target not in (None, self._running.target):
            return False
        target = self._running.target
        self._running.job.cancel()
        self._running = None
        self.onNothing(target)
        return True

    def _write(self, run: _Running, found: Found) -> str:
        """Write the result into the segment as one step; returns a line for the user."""
        before = run.target.objectOn(run.volumeKey).slices.get(FOUND)
        share = None
        if found.mask.count:
            provenance = {**found.provenance, "versions": versions()}
            share = SliceShare(None, found.mask, provenance["models"][0], provenance=provenance)
        if share is not None or before is not None:
            try:
                self._record(run.target, _("search"))
                self._objects.set(run.target, run.volumeKey, FOUND, share)
                prompts = run.target.nodes.prompts()
                self._objects.recordProvenance(run.target, run.volumeKey, prompts, run.settings)
            except SAMLiverTumorError as error:
                return str(error)
        if share is None:
            return _("No tumor was found on {count} slices.").format(count=found.slices)
        text = _("Found {count} pieces, {ml} ml, on {slices} slices: check each of them.")
        if found.lesions == 1:
            text = _("Found {count} piece, {ml} ml, on {slices} slices: check it.")
        return text.format(count=found.lesions, ml=f"{found.mask.volume_ml:.1f}", slices=found.slices)
