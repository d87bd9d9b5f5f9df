"""Probability and uncertainty of a segment as scalar volume nodes, to overlay on the CT.

The nodes hold whole percent, 8 bits per voxel, and only the box that holds values: for a CT of 800 slices a tumor's
two maps take one megabyte instead of 400. They are under the CT's parent transform.
"""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.mrml.application.i18n import tr
from SAMLiverTumorLib.mrml.nodes.heat_colors import heatColorNode
from SAMLiverTumorLib.voxel_map import VoxelMap

# Marks the nodes that we may change and remove; its value says which of the two maps a node is.
MAP_ATTRIBUTE = "SAMLiverTumor.Map"
SEGMENT_ATTRIBUTE = "SAMLiverTumor.MapSegment"
PROBABILITY, UNCERTAINTY = "probability", "uncertainty"

VOLUME_ROLE = "SAMLiverTumor.MapOf"
"""Node reference from a map to its CT."""

# Voxels are shown from this percentage; below it only the CT is visible.
_LEAST_SHOWN = {PROBABILITY: 5, UNCERTAINTY: 10}


def showProbability(
    scene: slicer.vtkMRMLScene, volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentName: str, values: VoxelMap
) -> slicer.vtkMRMLScalarVolumeNode:
    """Write the probability of a segment to its node, made if there is none; 50 percent and more is inside.

    :param volumeNode: the CT that the map was made on.
    :param segmentName: the segment's name, for the node's.
    """
    return _show(scene, volumeNode, segmentName, values, PROBABILITY)


def showUncertainty(
    scene: slicer.vtkMRMLScene, volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentName: str, values: VoxelMap
) -> slicer.vtkMRMLScalarVolumeNode:
    """Write the uncertainty of a segment to its node, made if there is none; see `inference.uncertainty.entropy`.

    :param volumeNode: the CT that the map was made on.
    :param segmentName: the segment's name, for the node's.

    >>> node = showUncertainty(scene, volumeNode, "Liver tumor", fusion.uncertainty)        # doctest: +SKIP
    >>> compositeNode.SetForegroundVolumeID(node.GetID())                                   # doctest: +SKIP
    """
    return _show(scene, volumeNode, segmentName, values, UNCERTAINTY)


def mapNode(
    scene: slicer.vtkMRMLScene, volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentName: str, kind: str
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The node of a kind ("probability" or "uncertainty") made for a segment on a CT; None if there is none."""
    return next((node for node in mapNodes(scene, volumeNode, segmentName) if _kind(node) == kind), None)


def mapNodes(
    scene: slicer.vtkMRMLScene,
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
    segmentName: str | None = None,
) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """All maps, or those of one CT, or of one segment on it."""
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene):
        wanted = _kind(node) is not None
        wanted &= volumeNode is None or node.GetNodeReferenceID(VOLUME_ROLE) == volumeNode.GetID()
        wanted &= segmentName is None or node.GetAttribute(SEGMENT_ATTRIBUTE) == segmentName
        if wanted:
            found.append(node)
    return found


def _show(scene, volumeNode, segmentName: str, values: VoxelMap, kind: str) -> slicer.vtkMRMLScalarVolumeNode:
    node = mapNode(scene, volumeNode, segmentName, kind)
    isNew = node is None
    if isNew:
        title = {PROBABILITY: tr("{name} probability"), UNCERTAINTY: tr("{name} uncertainty")}[kind]
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", title.format(name=segmentName))
        node.SetAttribute(MAP_ATTRIBUTE, kind)
        node.SetAttribute(SEGMENT_ATTRIBUTE, segmentName)
        node.SetNodeReferenceID(VOLUME_ROLE, volumeNode.GetID())
    wasModified = node.StartModify()
    # the node has the CT's own frame, so that the parent transform moves both
    node.CopyOrientation(volumeNode)
    node.SetOrigin(_firstVoxelRas(volumeNode, values))
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(values.percent))
    node.EndModify(wasModified)
    if isNew:
        _display(scene, node, kind)
    return node


def _firstVoxelRas(volumeNode: slicer.vtkMRMLScalarVolumeNode, values: VoxelMap) -> list[float]:
    """The position of a map's first voxel in the CT's own RAS (mm), before its parent transform."""
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    return list(ijkToRas.MultiplyPoint([*map(float, values.origin), 1.0])[:3])


def _display(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLScalarVolumeNode, kind: str) -> None:
    """Set up the display of a new map; later changes by the user are kept."""
    node.CreateDefaultDisplayNodes()
    displayNode = node.GetDisplayNode()
    displayNode.SetAndObserveColorNodeID(heatColorNode(scene).GetID())
    displayNode.SetAutoWindowLevel(False)
    displayNode.SetWindowLevelMinMax(0, 100)
    displayNode.SetThreshold(_LEAST_SHOWN[kind], 100)
    displayNode.SetApplyThreshold(True)
    # an interpolation between zero and its neighbor would look like a value
    displayNode.SetInterpolate(False)


def _kind(node: slicer.vtkMRMLNode) -> str | None:
    return node.GetAttribute(MAP_ATTRIBUTE)
