"""`writeResult`: a mask and its provenance into a segment of the scene, all or nothing."""

from __future__ import annotations

import slicer

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.segments.segments import (
    SegmentWriter,
    addTumorSegment,
    createSegmentation,
    provenance,
    setProvenance,
)


def writeResult(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    mask: Mask,
    entry: dict,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    segmentName: str = "Liver tumor",
    segmentEditorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
    isNew: bool = False,
) -> tuple[slicer.vtkMRMLSegmentationNode, str]:
    """Add a mask to a segment, and to its provenance how the mask came about.

    :param mask: on the volume's voxels; an empty one makes an empty segment.
    :param entry: provenance, plain JSON values.
    :param segmentationNode: where to write; None makes one for the volume.
    :param segmentName: the segment to add to; made if there is none of that name.
    :param segmentEditorNode: the user's Segment Editor settings, whose masking and overwrite mode are then kept to.
        Without it editing is allowed everywhere and no other segment is changed.
    :param isNew: make a segment even where there is one of that name.
    :return: (segmentation node, the segment's ID).
    :raises SAMLiverTumorError: it cannot be written; the scene is as it was then.
    """
    scene = volumeNode.GetScene()
    before = _nodeIds(scene)
    segmentId, added = "", False
    try:
        if segmentationNode is None:
            segmentationNode = createSegmentation(scene, volumeNode)
        if not isNew:
            segmentId = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(segmentName)
        added = not segmentId
        if added:
            segmentId = addTumorSegment(segmentationNode, segmentName)
        # read before voxels change: a damaged record could not be added to afterwards
        provenance(segmentationNode, segmentId)
        if mask.count:
            rules = EditorRules(segmentEditorNode)
            SegmentWriter(scene, segmentationNode, volumeNode, rules).write(segmentId, mask)
        setProvenance(segmentationNode, segmentId, entry)
    except BaseException:
        if added:
            segmentationNode.GetSegmentation().RemoveSegment(segmentId)
        for nodeId in _nodeIds(scene) - before:
            scene.RemoveNode(scene.GetNodeByID(nodeId))
        raise
    return segmentationNode, segmentId


def _nodeIds(scene: slicer.vtkMRMLScene) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
