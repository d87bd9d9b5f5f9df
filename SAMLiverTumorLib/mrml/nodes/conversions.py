"""Conversions between MRML nodes and core types: volume node and `Volume`, markups nodes and `Prompts`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.nifti.slicer_note import slicer_note
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.mrml.nodes.liver_window import LEVEL, WIDTH
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume

# Marks the markups nodes that this extension made and may change; all others are the user's.
ROLE_ATTRIBUTE = "SAMLiverTumor.Role"
INCLUDE, EXCLUDE, BOX = "include", "exclude", "box"

_CLASSES = {
    INCLUDE: "vtkMRMLMarkupsFiducialNode",
    EXCLUDE: "vtkMRMLMarkupsFiducialNode",
    BOX: "vtkMRMLMarkupsROINode",
}
_COLORS = {INCLUDE: (0.15, 0.85, 0.25), EXCLUDE: (0.95, 0.2, 0.2), BOX: (1.0, 0.85, 0.1)}


def volumeFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The node's voxels, without a copy, and their position in world RAS (parent transforms included).

    :raises InputError: no image in the node, more than one value per voxel, a non-linear parent
        transform, or anything `Volume` refuses.
    """
    if volumeNode is None:
        raise InputError("No volume is selected; load a CT and select it.")
    grid = gridFromNode(volumeNode)
    return Volume(slicer.util.arrayFromVolume(volumeNode), grid.ijk_to_ras, grid.name)


@dataclass(frozen=True, eq=False)
class Grid:
    """A volume's geometry without its voxels, with the attribute names of `Volume`."""

    dimensions: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    name: str


def gridFromNode(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """The volume's geometry in world RAS; unlike `volumeFromNode` it does not read the voxels.

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
    """A warning for the user that the volume's spacing or place cannot be right, or that its file contradicts itself.

    Empty if nothing speaks against it, or if it is unknown.
    """
    try:
        grid = gridFromNode(volumeNode) if volumeNode is not None else None
    except InputError:
        grid = None
    if grid is None:
        return ""
    storageNode = volumeNode.GetStorageNode()
    path = storageNode.GetFullNameFromFileName() if storageNode is not None else None
    lost = doubtful_spacing(grid.dimensions, grid.ijk_to_ras, grid.name)
    return " ".join(filter(None, (lost, slicer_note(Path(path)) if path else "")))


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

    Control points that are still being placed (preview) or undefined are ignored, and so is an ROI that has not been
    drawn yet.

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
    """The ROI as a box in world RAS (mm); None if there is none or it has not been drawn.

    Negative sizes and axes of the other hand, as scripts write them, are the same box: Slicer turns them when it reads
    them.

    :raises InputError: the ROI is not a box, is inside out, which marks all but the box, or spans no box.
    """
    if roiNode is None:
        return None
    if roiNode.GetROIType() not in (roiNode.ROITypeBox, roiNode.ROITypeBoundingBox):
        raise InputError(f"ROI '{roiNode.GetName()}' is not a box; set its type to Box in the Markups module.")
    if not isDrawn(roiNode):
        return None
    if roiNode.GetInsideOut():
        raise InputError(
            f"ROI '{roiNode.GetName()}' is inside out: it marks everything but the box. Switch Inside out off in the "
            "Markups module."
        )
    # Slicer draws the box from this matrix and size, so the box segmented is the box shown. Under a scaling transform
    # both the matrix's columns and the world size include the scale.
    objectToWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    lengths = np.linalg.norm(objectToWorld[:3, :3], axis=0)
    if not (np.isfinite(objectToWorld).all() and lengths.all()):
        raise InputError(f"The axes of ROI '{roiNode.GetName()}' span no box; draw it anew in the Markups module.")
    axes = objectToWorld[:3, :3] / lengths
    sizeWorld = [0.0, 0.0, 0.0]
    roiNode.GetSizeWorld(sizeWorld)
    return Box(objectToWorld[:3, 3], axes, sizeWorld)


def isDrawn(roiNode: slicer.vtkMRMLMarkupsROINode) -> bool:
    """Whether the ROI spans a box or rectangle and is not being placed."""
    points, defined = roiNode.GetNumberOfControlPoints(), roiNode.GetNumberOfDefinedControlPoints()
    return np.count_nonzero(np.array(roiNode.GetSize()) > 0) >= 2 and (defined > 0 or points == 0)


def createPromptNodes(
    scene: slicer.vtkMRMLScene, name: str = "Tumor"
) -> tuple[slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLMarkupsROINode]:
    """Empty nodes for include points (green), exclude points (red) and the box (yellow).

    Undo recognizes them by the attribute `ROLE_ATTRIBUTE`. Find them by node reference or by that attribute, never by
    name.
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
    # creating a display for existing voxels computes a window from their histogram (230 ms for 130 slices); a CT has
    # its own window
    if volume.looks_like_hounsfield:
        createVolumeDisplay(volumeNode, volume)
    slicer.util.updateVolumeFromArray(volumeNode, np.ascontiguousarray(volume.array))
    if not volume.looks_like_hounsfield:
        createVolumeDisplay(volumeNode, volume)
    return volumeNode


def createVolumeDisplay(volumeNode: slicer.vtkMRMLScalarVolumeNode, volume: Volume) -> None:
    """Give a new volume node a display; a CT is shown in the window of `liver_window`."""
    volumeNode.CreateDefaultDisplayNodes()
    if volume.looks_like_hounsfield:
        displayNode = volumeNode.GetDisplayNode()
        displayNode.SetAutoWindowLevel(False)
        displayNode.SetWindowLevel(WIDTH, LEVEL)


def _styleDisplay(displayNode: slicer.vtkMRMLMarkupsDisplayNode, color: tuple[float, float, float]) -> None:
    displayNode.SetSelectedColor(color)
    displayNode.SetColor(color)
    displayNode.SetActiveColor([min(1.0, c + 0.3) for c in color])
    displayNode.SetPointLabelsVisibility(False)
    displayNode.SetPropertiesLabelVisibility(False)
    # in percent of the view, so that points are visible at any zoom
    displayNode.SetUseGlyphScale(True)
    displayNode.SetGlyphScale(3.0)
    displayNode.SetFillOpacity(0.05)
    displayNode.SetOpacity(1.0)
