"""A scan of a cohort segmented as `sam-liver-tumor segment` does it: one request for each tumor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job
from SAMLiverTumorLib.errors import Cancelled, PromptError
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segmentation_request import SegmentationRequest, run_request
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    import slicer


@dataclass(frozen=True, eq=False)
class Segmented:
    """A scan's segments, not yet written.

    :param segments: JSON-ready: name, voxels, ml and slices seen of each.
    :param models: ids of the models that had a part in it.
    :param notes: for the reader.
    """

    segmentationNode: slicer.vtkMRMLSegmentationNode
    segments: tuple[dict, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...]


def segment_scan(
    job: Job, settings: BatchSettings, pool: PredictorPool, cancel: Callable[[], bool] | None = None
) -> Segmented:
    """Read a scan and segment all that is asked for in it.

    :raises SAMLiverTumorError: the scan, the liver or prompts cannot be used, or nothing was marked; `Cancelled` where
        `cancel` says so: a part of a scan is no result.
    """
    from SAMLiverTumorLib.datasets.cases import read_scan
    from SAMLiverTumorLib.io.labels.region import liver_on
    from SAMLiverTumorLib.mrml.api.write_result import writeResult
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.segments.segments import createSegmentation

    if not job.tumors and settings.text is None:
        raise PromptError(f"No row of the prompts names '{job.name}'.")
    notes: list[str] = []
    volume = read_scan(job.image, settings.series, notes.append)
    liver = liver_on(job.liver, volume, settings.liver_label, notes.append) if job.liver is not None else None
    volumeNode = addVolumeNode(createScene(), volume)
    node = createSegmentation(volumeNode.GetScene(), volumeNode)
    segments: list[dict] = []
    models: dict[str, None] = {}
    for name, request in requests_of(job, settings, volume, liver):
        try:
            result = run_request(volume, request, pool, cancel=cancel)
        except PromptError as error:
            if len(job.tumors) < 2:
                raise
            raise PromptError(f"'{name}': {error}") from error
        if result.cancelled:
            raise Cancelled("Cancelled; nothing of this scan was kept.")
        writeResult(volumeNode, result.mask, result.provenance, node, name, isNew=True)
        ml = round(result.mask.volume_ml, 6)
        segments.append({"name": name, "voxels": result.mask.count, "ml": ml, "slices": result.slices_seen})
        models |= dict.fromkeys(model["id"] for model in result.provenance["models"])
        notes.extend(result.notes)
    return Segmented(node, tuple(segments), tuple(models), tuple(notes))


def requests_of(
    job: Job, settings: BatchSettings, volume: Volume, liver: np.ndarray | None
) -> list[tuple[str, SegmentationRequest]]:
    """What to run on a scan: (name of the segment that it makes, request).

    :param liver: bool (k, j, i) on the volume's voxels, or None.
    :raises SAMLiverTumorError: a box that is none, or an unknown window or quality.
    """
    network = settings.network(volume)
    if settings.text is not None:
        request = SegmentationRequest("text", concept=settings.text, liver=liver, settings=network)
        return [(settings.segment_name, request)]
    prompts = [(tumor.segment, tumor.prompts()) for tumor in job.tumors]
    if settings.mode == "slice":
        return [(name, SegmentationRequest("slices", each, settings=network)) for name, each in prompts]
    return [
        (name, SegmentationRequest("volume", each, liver=liver, direction=settings.direction, settings=network))
        for name, each in prompts
    ]
