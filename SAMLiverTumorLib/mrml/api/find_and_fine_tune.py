"""For scripts and Slicer's Python console: tumors found by text, and a training on what is outlined in the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.model_choice import AUTO, LIVER_TUMOR
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.mrml.nodes.conversions import volumeFromNode
from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, segmentArray, setProvenance
from SAMLiverTumorLib.versions import versions

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.text_search import Found
    from SAMLiverTumorLib.training.runs.process import TrainingProcess

Segment = tuple[slicer.vtkMRMLSegmentationNode, str]
"""A segmentation node and the ID of one of its segments."""


def findTumors(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    liverSegment: Segment | None = None,
    model: str = AUTO,
    segmentName: str = "Liver tumor",
    concept: str = LIVER_TUMOR,
    window: Window | None = None,
    pool: PredictorPool | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> tuple[str, Found]:
    """Search a volume by text alone and add what is found to a segment.

    :param liverSegment: nothing outside it is looked at or marked.
    :param model: registry id or weight file that knows text; "auto" takes a registered one.
    :param segmentName: the segment to add to; made if there is none of that name.
    :param confirm: asked before a model is downloaded, when no pool is given; the default declines.
    :return: (the segment's ID, what was found).
    :raises SAMLiverTumorError: with a text for the user; nothing has changed then, also where nothing was found.

    >>> segmentId, found = findTumors(volumeNode, segmentationNode, (organsNode, "liver"))   # doctest: +SKIP
    """
    from SAMLiverTumorLib.inference.text_search import find

    liver = segmentArray(*liverSegment, volumeNode) if liverSegment is not None else None
    pool = pool or PredictorPool(confirm, cancel=cancel)
    volume = volumeFromNode(volumeNode)
    found = find(volume, pool, concept, model, window, liver=liver, progress=progress, cancel=cancel)
    if not found.mask.count:
        raise PromptError(f"Nothing was found on {found.slices} slices. Nothing was changed.")
    segmentation = segmentationNode.GetSegmentation()
    segmentId = segmentation.GetSegmentIdBySegmentName(segmentName)
    added = not segmentId
    if added:
        segmentId = addTumorSegment(segmentationNode, segmentName)
    try:
        SegmentWriter(volumeNode.GetScene(), segmentationNode, volumeNode).write(segmentId, found.mask)
        setProvenance(segmentationNode, segmentId, {**found.provenance, "versions": versions()})
    except BaseException:
        if added:
            segmentation.RemoveSegment(segmentId)
        raise
    return segmentId, found


def fineTune(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    outFolder: str | Path,
    liverSegment: Segment | None = None,
    process: Callable[[Path], TrainingProcess] | None = None,
    **settings: Any,
) -> TrainingProcess:
    """Start a training on the tumors of a segment, in a process of its own that goes on when Slicer is closed.

    :param outFolder: the run's folder: the case, `progress.jsonl` and, at the end, the new model's file.
    :param liverSegment: the liver, where it is outlined; text then learns to name it as well.
    :param process: makes the process of a folder; by default one with Slicer's own Python.
    :param settings: of `training.settings.TrainSettings`, such as `base`, `train` or `epochs`.
    :return: the training, to ask `running` and `new_events()`, or to `cancel()`.
    :raises SAMLiverTumorError: with a text for the user.

    >>> training = fineTune(volumeNode, segmentationNode, segmentId, "my-run", epochs=10)   # doctest: +SKIP
    """
    from SAMLiverTumorLib.mrml.api.training_case import sceneCase
    from SAMLiverTumorLib.training.runs.process import TrainingProcess, slicer_python
    from SAMLiverTumorLib.training.settings import LIVER_TUMOR, TrainSettings, from_mapping

    folder = Path(outFolder).absolute()
    liver = segmentSource(*liverSegment).copied() if liverSegment is not None else None
    defaults = TrainSettings() if liver is not None else TrainSettings(concepts=(LIVER_TUMOR,))
    chosen = from_mapping(settings, defaults)
    images, labels = sceneCase(volumeNode, segmentationNode, segmentId, liver).write(folder / "data")
    training = process(folder) if process is not None else TrainingProcess(folder, slicer_python())
    training.start(replace(chosen, images=(str(images),), labels=(str(labels),), out=str(folder)))
    return training
