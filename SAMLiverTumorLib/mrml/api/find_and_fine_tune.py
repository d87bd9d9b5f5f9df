"""`findTumors` and `fineTune`: tumors found by text, and a training run on a segment of the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from SAMLiverTumorLib.inference.model_choice import LIVER_TUMOR
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.inference.segmentation_request import SegmentationRequest, SegmentationResult
from SAMLiverTumorLib.mrml.api.segment import segmentRequest
from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource
from SAMLiverTumorLib.mrml.segments.segments import segmentArray

if TYPE_CHECKING:
    from SAMLiverTumorLib.training.runs.process import TrainingProcess

Segment = tuple[slicer.vtkMRMLSegmentationNode, str]
"""A segmentation node and the ID of one of its segments."""


def findTumors(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    liverSegment: Segment | None = None,
    segmentName: str = "Liver tumor",
    concept: str = LIVER_TUMOR,
    settings: Settings | None = None,
    pool: PredictorPool | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> tuple[str, SegmentationResult]:
    """Search a volume by text alone and add what is found to a segment.

    :param liverSegment: nothing outside it is looked at or marked.
    :param segmentName: the segment to add to; made if there is none of that name.
    :param settings: its model, "auto", a registry id or a weight file, has to know text; the search is axial.
    :param confirm: asked before a model is downloaded, when no pool is given; the default declines.
    :return: (the segment's ID, what was found).
    :raises SAMLiverTumorError: with a text for the user; nothing has changed then, also where nothing was found.

    >>> segmentId, found = findTumors(volumeNode, segmentationNode, (organsNode, "liver"))   # doctest: +SKIP
    """
    liver = segmentArray(*liverSegment, volumeNode) if liverSegment is not None else None
    request = SegmentationRequest("text", concept=concept, liver=liver, settings=settings or Settings())
    segmented = segmentRequest(volumeNode, request, segmentationNode, segmentName, pool, confirm, progress, cancel)
    return segmented.segmentId, segmented.result


def fineTune(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    outFolder: str | Path,
    liverSegment: Segment | None = None,
    process: Callable[[Path], TrainingProcess] | None = None,
    **settings: Any,
) -> TrainingProcess:
    """Start a training run on the tumors of a segment, in a process of its own that goes on when Slicer is closed.

    :param outFolder: the run's folder: the case, `progress.jsonl` and, at the end, the new model's file.
    :param liverSegment: the liver, where it is outlined; text then learns to name it as well.
    :param process: makes the process of a folder; by default one with Slicer's own Python.
    :param settings: of `training.settings.TrainSettings`, such as `base`, `train` or `epochs`.
    :return: the run, to ask `running` and `new_events()`, or to `cancel()`.
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
