"""MRML nodes to core types and back: a volume node is a `Volume`, markups nodes are `Prompts`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume

# Marks the markups nodes that this extension made and may change; everything else is the user's.
ROLE_ATTRIBUTE = "SAMLiverTumor.Role"
INCLUDE, EXCLUDE, BOX = "include", "exclude", "box"

_CLASSES = {
    INCLUDE: "vtkMRMLMarkupsFiducialNode",
    EXCLUDE: "vtkMRMLMarkupsFiducialNode",
    BOX: "vtkMRMLMarkupsROINode",
}
_COLORS = {INCLUDE: (0.15, 0.85, 0.25), EXCLUDE: (0.95, 0.2, 0.2), BOX: (1.0, 0.85, 0.1)}


def volumeFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The node's voxels, without a copy, and where they lie in world RAS (parent transforms included).

    :raises InputError: no image in the node, more than one value per voxel, a non-linear parent
        transform, or anything `Volume` refuses.
    """
    if volumeNode is None:
        raise InputError("No volume is selected; load a CT and select it.")
    grid = gridFromNode(volumeNode)
    return Volume(slicer.util.arrayFromVolume(volumeNode), grid.ijk_to_ras, grid.name)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a volume's voxels lie, without its voxels: `Volume`'s geometry under the same names."""

    dimensions: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    name: str


def gridFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """The volume's geometry in world RAS; unlike `volumeFromNode` it never looks at the voxels.

    :raises InputError: no image in the node, or a non-linear parent transform.
    """
    name = volumeNode.GetName() or "volume"
    imageData = volumeNode.GetImageData()
    if imageData is None or imageData.GetPointData().GetScalars() is None:
        raise InputError(f"Volume '{name}' has no image data; load it again or choose another one.")
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    ijkToWorld = nodeToWorldMatrix(volumeNode) @ slicer.util.arrayFromVTKMatrix(ijkToRas)
    return Grid(tuple(imageData.GetDimensions()), ijkToWorld, name)


def spacingNote(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """That the volume's millimeters cannot be true, for the user; empty where they can, or nothing is known of them."""
    try:
        grid = gridFromNode(volumeNode) if volumeNode is not None else None
    except InputError:
        grid = None
    return doubtful_spacing(grid.dimensions, grid.ijk_to_ras, grid.name) if grid is not None else ""


def nodeToWorldMatrix(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """4x4 affine from the node's own RAS to world RAS, in mm.

    :raises InputError: the node is under a non-linear transform.
    """
    transformNode = node.GetParentTransformNode()
    if transformNode is None:
        return np.eye(4)
    if not transformNode.IsTransformToWorldLinear():
        raise InputError(
            f"'{node.GetName()}' is under the non-linear transform '{transformNode.GetName()}'; "
            "harden it (Transforms module) and try again."
        )
    matrix = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def promptsFromNodes(
    includeNode: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    excludeNode: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
) -> Prompts:
    """What the user placed, in world RAS (mm); the nodes are only read.

    Control points that are still being placed (preview) or were undefined do not count, nor does an
    ROI that has not been drawn yet.

    :raises InputError: the ROI is not a box.
    """
    return Prompts(definedPointsRas(includeNode), definedPointsRas(excludeNode), boxFromNode(roiNode))


def definedPointsRas(markupsNode: slicer.vtkMRMLMarkupsNode | None) -> np.ndarray:
    """World RAS (n, 3) in mm of the control points whose position is defined."""
    points = []
    for n in range(markupsNode.GetNumberOfControlPoints() if markupsNode else 0):
        if markupsNode.GetNthControlPointPositionStatus(n) == slicer.vtkMRMLMarkupsNode.PositionDefined:
            pointRas = [0.0, 0.0, 0.0]
            markupsNode.GetNthControlPointPositionWorld(n, pointRas)
            points.append(pointRas)
    return np.array(points, dtype=float).reshape(-1, 3)


def boxFromNode(roiNode: slicer.vtkMRMLMarkupsROINode | None) -> Box | None:
    """The ROI as a box in world RAS (mm), None where there is none or it has not been drawn.

    :raises InputError: the ROI is not a box.
    """
    if roiNode is None:
        return None
    if roiNode.GetROIType() not in (roiNode.ROITypeBox, roiNode.ROITypeBoundingBox):
        raise InputError(f"ROI '{roiNode.GetName()}' is not a box; set its type to Box in the Markups module.")
    if not isDrawn(roiNode):
        return None
    # The matrix and size that Slicer draws the box from: what the user sees is what is segmented. Under
    # a transform that scales, the scale is in the matrix's columns and in the world size alike.
    objectToWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    axes = objectToWorld[:3, :3] / np.linalg.norm(objectToWorld[:3, :3], axis=0)
    sizeWorld = [0.0, 0.0, 0.0]
    roiNode.GetSizeWorld(sizeWorld)
    return Box(objectToWorld[:3, 3], axes, sizeWorld)


def isDrawn(roiNode: slicer.vtkMRMLMarkupsROINode) -> bool:
    """Whether the ROI spans a box or rectangle and is not just being placed."""
    points, defined = roiNode.GetNumberOfControlPoints(), roiNode.GetNumberOfDefinedControlPoints()
    return np.count_nonzero(np.array(roiNode.GetSize()) > 0) >= 2 and (defined > 0 or points == 0)


def createPromptNodes(
    scene: slicer.vtkMRMLScene, name: str = "Tumor"
) -> tuple[slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLMarkupsROINode]:
    """Empty nodes for include points (green), exclude points (red) and the box (yellow).

    They carry the attribute `ROLE_ATTRIBUTE`, by which undo knows them for ours; find them by node
    reference or by that attribute, never by name.
    """
    return tuple(createPromptNode(scene, role, name) for role in _CLASSES)


def createPromptNode(scene: slicer.vtkMRMLScene, role: str, name: str = "Tumor") -> slicer.vtkMRMLMarkupsNode:
    """One of the nodes that `createPromptNodes` makes."""
    node = scene.AddNewNodeByClass(_CLASSES[role], f"{name} {role}")
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    node.CreateDefaultDisplayNodes()
    _styleDisplay(node.GetDisplayNode(), _COLORS[role])
    if role != BOX:
        node.SetControlPointLabelFormat("%d")
    return node


def isOurs(node: slicer.vtkMRMLNode) -> bool:
    """Whether the node is one of our prompt nodes, which undo may change."""
    return node is not None and node.GetAttribute(ROLE_ATTRIBUTE) in (INCLUDE, EXCLUDE, BOX)


def addVolumeNode(scene: slicer.vtkMRMLScene, volume: Volume) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume node to the scene with a copy of the voxels and no parent transform."""
    volumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", volume.name)
    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.ijk_to_ras))
    # a display made for voxels that are there looks for a window in their histogram: 230 ms for 130 slices, and a CT
    # has its own
    if volume.looks_like_hounsfield:
        createVolumeDisplay(volumeNode, volume)
    slicer.util.updateVolumeFromArray(volumeNode, np.ascontiguousarray(volume.array))
    if not volume.looks_like_hounsfield:
        createVolumeDisplay(volumeNode, volume)
    return volumeNode


def createVolumeDisplay(volumeNode: slicer.vtkMRMLScalarVolumeNode, volume: Volume) -> None:
    """Give a new volume node a display; a CT is shown at width 250, level 60 HU.

    That is wider and brighter than the radiologist's 150/30: enhanced liver (100 to 120 HU in the portal
    venous phase) stays grey, so that tumors in it can be seen.
    """
    volumeNode.CreateDefaultDisplayNodes()
    if volume.looks_like_hounsfield:
        displayNode = volumeNode.GetDisplayNode()
        displayNode.SetAutoWindowLevel(False)
        displayNode.SetWindowLevel(250, 60)


def _styleDisplay(displayNode: slicer.vtkMRMLMarkupsDisplayNode, color: tuple[float, float, float]) -> None:
    displayNode.SetSelectedColor(color)
    displayNode.SetColor(color)
    displayNode.SetActiveColor([min(1.0, c + 0.3) for c in color])
    displayNode.SetPointLabelsVisibility(False)
    displayNode.SetPropertiesLabelVisibility(False)
    # in percent of the view, so that a point is as easy to see on a lesion as on the whole liver
    displayNode.SetUseGlyphScale(True)
    displayNode.SetGlyphScale(3.0)
    displayNode.SetFillOpacity(0.05)
    displayNode.SetOpacity(1.0)
