"""`segmentNodes` and `segmentRequest`: a volume node and prompts in, a segment out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import slicer

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.inference.segmentation_request import SegmentationRequest, SegmentationResult, run_request
from SAMLiverTumorLib.mrml.api.write_result import writeResult
from SAMLiverTumorLib.mrml.nodes.conversions import promptsFromNodes, volumeFromNode


class Segmented(NamedTuple):
    """Where a result went, and the result."""

    segmentationNode: slicer.vtkMRMLSegmentationNode
    segmentId: str
    result: SegmentationResult


def segmentNodes(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    includeNode: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    excludeNode: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    segmentName: str = "Liver tumor",
    settings: Settings | None = None,
    pool: PredictorPool | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
) -> Segmented:
    """Segment the slices that markups nodes prompt, and put the mask into a segment.

    :param settings: which network, on which slices, with which window and further channels; see `Settings`,
        `window_for` and `furtherChannels`.

    The other parameters, and what it raises, are those of `segmentRequest`.

    >>> settings = Settings(orientation="coronal", window=parse_window("liver"))              # doctest: +SKIP
    >>> segmentNodes(volumeNode, roiNode=roiNode, settings=settings, pool=pool)               # doctest: +SKIP
    """
    prompts = promptsFromNodes(includeNode, excludeNode, roiNode)
    request = SegmentationRequest(prompts=prompts, settings=settings or Settings())
    return segmentRequest(
        volumeNode, request, segmentationNode, segmentName, pool, confirm, progress, cancel, segmentEditorNode
    )


def segmentRequest(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    request: SegmentationRequest,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    segmentName: str = "Liver tumor",
    pool: PredictorPool | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
) -> Segmented:
    """Run a request of any mode on a volume node and put the mask into a segment.

    Nothing in the scene changes unless a mask was made: volume and markups are only read, and the segmentation and
    segment are added when the network is done.

    :param segmentationNode: where to write; None makes one for the volume.
    :param segmentName: the segment to add to; made if there is none of that name.
    :param pool: keep one between calls, so that models stay loaded and slices encoded.
    :param confirm: asked before a model is downloaded, when no pool is given; the default declines.
    :param progress: called with (slices done, slices in all or None).
    :param cancel: asked between slices; see `run_request`.
    :param segmentEditorNode: the user's Segment Editor settings, whose masking and overwrite mode are then kept to.
        Without it editing is allowed everywhere and no other segment is changed.
    :raises SAMLiverTumorError: with a text for the user; nothing has changed then.

    >>> request = SegmentationRequest("volume", promptsFromNodes(roiNode=roiNode))            # doctest: +SKIP
    >>> segmentRequest(volumeNode, request, pool=pool)                                        # doctest: +SKIP
    """
    pool = pool or PredictorPool(confirm, cancel=cancel)
    result = run_request(volumeFromNode(volumeNode), request, pool, progress, cancel)
    if not result.mask.count:
        raise PromptError(f"Nothing was found on {result.slices_seen} slices. Nothing was changed.")
    node, segmentId = writeResult(
        volumeNode, result.mask, result.provenance, segmentationNode, segmentName, segmentEditorNode
    )
    return Segmented(node, segmentId, result)
