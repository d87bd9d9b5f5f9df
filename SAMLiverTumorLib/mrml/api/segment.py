"""`segmentNodes`: volume and markups nodes in, a segment out; panel, Python console and program share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import slicer

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.image.channels import FurtherChannel
from SAMLiverTumorLib.image.window import Window, window_for
from SAMLiverTumorLib.inference.model_choice import AUTO
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Result, Settings, segment
from SAMLiverTumorLib.mrml.nodes.conversions import promptsFromNodes, volumeFromNode
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.segments.segments import (
    SegmentWriter,
    addTumorSegment,
    createSegmentation,
    provenance,
    setProvenance,
)
from SAMLiverTumorLib.prompts import Prompts


class Segmented(NamedTuple):
    """Where a result went, and the result."""

    segmentationNode: slicer.vtkMRMLSegmentationNode
    segmentId: str
    result: Result


def segmentNodes(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    includeNode: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    excludeNode: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    segmentName: str = "Liver tumor",
    plane: str = "axial",
    window: Window | str | None = AUTO,
    model: str = AUTO,
    channels: str = "single",
    pool: PredictorPool | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
    further: Sequence[FurtherChannel] = (),
    quality: str = "full",
) -> Segmented:
    """Segment with what the nodes say and put the mask into a segment of the scene.

    Nothing in the scene changes unless a mask was made: volume and markups are only read, and the
    segmentation and segment are added when the network is done.

    :param segmentationNode: where to write; None makes one for the volume.
    :param segmentName: the segment to add to; made if there is none of that name.
    :param plane: "axial", "coronal" or "sagittal": the slices that the prompts apply to.
    :param window: preset name, "LOW,HIGH", "percentile" (for MR), a `Window`, or "auto" for the one the model does best
        with.
    :param model: registry id, checkpoint file, or "auto".
    :param pool: keep one between calls, so that models stay loaded and slices encoded.
    :param confirm: asked before a model is downloaded, when no pool is given; the default declines.
    :param progress: told of (slices done, slices in all).
    :param segmentEditorNode: the user's Segment Editor settings, whose masking and overwrite mode are then
        kept to. Without it editing is allowed everywhere and no other segment is changed.
    :param further: other phases or modalities for the network to see; see `mrml.nodes.channel_nodes.furtherChannels`.
    :param quality: "full" or "best"; see `inference.segment_slices.Settings`.
    :raises SAMLiverTumorError: with a text for the user.

    >>> segmentNodes(volumeNode, roiNode=roiNode, confirm=lambda question: True)   # doctest: +SKIP
    """
    prompts = promptsFromNodes(includeNode, excludeNode, roiNode)
    if isinstance(window, str):
        window = window_for(window, volumeFromNode(volumeNode))
    return segmentPrompts(
        volumeNode,
        prompts,
        segmentationNode,
        segmentName,
        Settings(model, plane, window, channels, quality, tuple(further)),
        pool or PredictorPool(confirm, cancel=cancel),
        progress,
        cancel,
        segmentEditorNode,
    )


def segmentPrompts(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    prompts: Prompts,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    segmentName: str,
    settings: Settings,
    pool: PredictorPool,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
) -> Segmented:
    """As `segmentNodes`, with prompts that need no markups nodes."""
    result = segment(volumeFromNode(volumeNode), prompts, pool, settings, progress, cancel)
    if not result.mask.count:
        raise PromptError("The network marked no voxel; move the prompts or try another window. Nothing was changed.")
    scene = volumeNode.GetScene()
    before = _nodeIds(scene)
    segmentId, added = "", False
    try:
        if segmentationNode is None:
            segmentationNode = createSegmentation(scene, volumeNode)
        segmentId = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(segmentName)
        added = not segmentId
        if added:
            segmentId = addTumorSegment(segmentationNode, segmentName)
        # read before voxels change: a damaged record could not be added to afterwards
        provenance(segmentationNode, segmentId)
        rules = EditorRules(segmentEditorNode)
        SegmentWriter(scene, segmentationNode, volumeNode, rules).write(segmentId, result.mask)
        setProvenance(segmentationNode, segmentId, result.provenance)
    except BaseException:
        if added:
            segmentationNode.GetSegmentation().RemoveSegment(segmentId)
        for nodeId in _nodeIds(scene) - before:
            scene.RemoveNode(scene.GetNodeByID(nodeId))
        raise
    return Segmented(segmentationNode, segmentId, result)


def _nodeIds(scene: slicer.vtkMRMLScene) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
