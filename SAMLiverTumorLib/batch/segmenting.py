"""A scan of a cohort segmented by the very functions that `sam-liver-tumor segment` calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job
from SAMLiverTumorLib.errors import Cancelled, PromptError
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.prompts import Prompts
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    import slicer

Cancel = Callable[[], bool] | None


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


@dataclass(frozen=True, eq=False)
class _Marked:
    """One segment's result: its mask is in the scene."""

    voxels: int
    ml: float
    slices: int
    provenance: dict
    notes: tuple[str, ...] = ()


def segment_scan(job: Job, settings: BatchSettings, pool: PredictorPool, cancel: Cancel = None) -> Segmented:
    """Read a scan and segment all that is asked for in it.

    :raises SAMLiverTumorError: the scan, the liver or prompts cannot be used, or nothing was marked; `Cancelled` where
        `cancel` says so: a part of a scan is no result.
    """
    from SAMLiverTumorLib.datasets.cases import read_scan
    from SAMLiverTumorLib.io.labels.region import labels_on
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.segments.segments import createSegmentation

    if not job.tumors and settings.text is None:
        raise PromptError(f"No row of the prompts names '{job.name}'.")
    notes: list[str] = []
    volume = read_scan(job.image, settings.series, notes.append)
    liver = labels_on(job.liver, volume) if job.liver is not None else None
    scene = createScene()
    volumeNode = addVolumeNode(scene, volume)
    node = createSegmentation(scene, volumeNode)
    names = [tumor.segment for tumor in job.tumors] or [settings.segment_name]
    if settings.text is not None:
        marked = [_by_text(volume, volumeNode, node, liver, settings, pool, cancel)]
    elif settings.mode == "volume":
        each = [(tumor.segment, tumor.prompts()) for tumor in job.tumors]
        marked = [_followed(volume, volumeNode, node, n, p, liver, settings, pool, cancel) for n, p in each]
    else:
        each = [(tumor.segment, tumor.prompts()) for tumor in job.tumors]
        marked = [_on_slices(volume, volumeNode, node, n, p, settings, pool, cancel) for n, p in each]
    segments = tuple(
        {"name": name, "voxels": m.voxels, "ml": round(m.ml, 6), "slices": m.slices}
        for name, m in zip(names, marked, strict=True)
    )
    models = dict.fromkeys(model["id"] for m in marked for model in m.provenance["models"])
    return Segmented(node, segments, tuple(models), (*notes, *(note for m in marked for note in m.notes)))


def _by_text(volume: Volume, volumeNode, node, liver: np.ndarray | None, settings, pool, cancel: Cancel) -> _Marked:
    from SAMLiverTumorLib.inference.text_search import find

    network = settings.network(volume)
    found = find(
        volume, pool, settings.text, network.model, network.window, network.channels, liver=liver, cancel=cancel
    )
    _refuse_part(found.cancelled)
    _add(volumeNode, node, settings.segment_name, found.mask, found.provenance)
    return _Marked(found.mask.count, found.mask.volume_ml, found.slices, found.provenance)


def _followed(
    volume: Volume, volumeNode, node, name: str, prompts: Prompts, liver, settings, pool, cancel: Cancel
) -> _Marked:
    from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
    from SAMLiverTumorLib.inference.propagation.segment_volume import limits_of, segment_volume
    from SAMLiverTumorLib.inference.uncertainty.fusion import fuse

    stack, network = PlaneStack(volume, settings.plane), settings.network(volume)
    result = segment_volume(stack, prompts, pool, network, direction=settings.direction, liver=liver, cancel=cancel)
    _refuse_part(result.cancelled)
    if not result.reached:
        raise PromptError(f"No voxel was marked for '{name}'; move its prompts or try another window.")
    # `segment` fuses in any case; without further passes the first one stays as it is
    limits = limits_of(stack, prompts, liver)
    fusion = fuse(result, pool, network, direction=settings.direction, limits=limits, cancel=cancel)
    mask = fusion.mask()
    _add(volumeNode, node, name, mask, fusion.provenance)
    return _Marked(mask.count, mask.volume_ml, len(result.slices), fusion.provenance, fusion.notes)


def _on_slices(
    volume: Volume, volumeNode, node, name: str, prompts: Prompts, settings, pool, cancel: Cancel
) -> _Marked:
    from SAMLiverTumorLib.mrml.api.segment import segmentPrompts

    result = segmentPrompts(volumeNode, prompts, node, name, settings.network(volume), pool, cancel=cancel).result
    return _Marked(result.mask.count, result.mask.volume_ml, len(result.slices), result.provenance, result.notes)


def _refuse_part(cancelled: bool) -> None:
    """:raises Cancelled: it was cut short."""
    if cancelled:
        raise Cancelled("Cancelled; nothing of this scan was kept.")


def _add(volumeNode, node, name: str, mask, provenance: dict) -> None:
    from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, setProvenance

    segmentId = addTumorSegment(node, name)
    if mask.count:
        SegmentWriter(volumeNode.GetScene(), node, volumeNode).write(segmentId, mask)
    setProvenance(node, segmentId, provenance)
