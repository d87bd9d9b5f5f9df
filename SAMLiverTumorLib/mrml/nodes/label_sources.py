"""Segments and label maps of the scene, for comparison voxel by voxel on one volume's grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import slicer
import slicer.util
from vtk.util.numpy_support import vtk_to_numpy

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.mrml.nodes.conversions import Grid, gridFromNode, nodeToWorldMatrix
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import imageLattice, segmentLabelmap

_EMPTY = np.zeros((1, 1, 1), np.uint8)


@dataclass(frozen=True, eq=False)
class LabelSource:
    """The voxels of an array that have one value, and their position.

    Made in the GUI thread without reading voxels; `onGrid` reads them, in any thread.

    :param name: its name in messages.
    :param array: integers of shape (k, j, i), a view that keeps the node's memory alive.
    :param value: the value of its voxels.
    :param ijk_to_ras: 4x4 affine of the array to world RAS (mm), parent transforms included.
    :param others: further voxels that belong to it, such as tumors cut out of a liver.
    """

    name: str
    array: np.ndarray
    value: int
    ijk_to_ras: np.ndarray
    others: tuple[LabelSource, ...] = ()

    def copied(self) -> LabelSource:
        """A copy with its own memory, for a segment that may be written to meanwhile."""
        others = tuple(other.copied() for other in self.others)
        return replace(self, array=(self.array == self.value).view(np.uint8), value=1, others=others)

    def onGrid(self, grid: Grid) -> tuple[np.ndarray, tuple[str, ...]]:
        """A bool array (k, j, i) on a grid, and notes on the resampling: see `io.labels.grids.onto_grid`."""
        if self.others:
            masks, notes = zip(*(each.onGrid(grid) for each in (replace(self, others=()), *self.others)), strict=True)
            return np.logical_or.reduce(masks), tuple(note for each in notes for note in each)
        mask = self.array == self.value
        if not mask.any():
            return np.zeros(grid.dimensions[::-1], bool), ()
        labels = LabelFile(self.name, (mask.view(np.uint8),), {"1": (0, 1)}, self.ijk_to_ras)
        moved, notes = onto_grid(labels, grid.ijk_to_ras, grid.dimensions)
        return moved.layers[0].view(bool), notes


def segmentSource(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> LabelSource:
    """A segment of a segmentation.

    :raises InputError: no such segment, not kept as a binary labelmap, or under a non-linear transform.
    """
    labelmap, labelValue = segmentLabelmap(segmentationNode, segmentId)
    name = segmentationNode.GetSegmentation().GetSegment(segmentId).GetName()
    nodeToWorld = nodeToWorldMatrix(segmentationNode)
    if labelmap is None:
        return LabelSource(name, _EMPTY, 1, nodeToWorld)
    extent = np.array(labelmap.GetExtent()).reshape(3, 2)
    array = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape((extent[:, 1] - extent[:, 0] + 1)[::-1])
    lattice = imageLattice(labelmap)
    lattice[:3, 3] += lattice[:3, :3] @ extent[:, 0]  # the array begins at the extent's first voxel
    return LabelSource(name, array, labelValue, nodeToWorld @ lattice)


def labelSource(labelNode: slicer.vtkMRMLLabelMapVolumeNode, value: int) -> LabelSource:
    """The voxels of a label map that have a value.

    :raises InputError: the label map has no image, its voxels are not single integers, or it is under a non-linear
        transform.
    """
    grid = gridFromNode(labelNode)
    return LabelSource(f"{grid.name}, label {value}", labelArray(labelNode), value, grid.ijk_to_ras)


def labelArray(labelNode: slicer.vtkMRMLLabelMapVolumeNode) -> np.ndarray:
    """The label map's voxels (k, j, i), a view.

    :raises InputError: it has no image, or its voxels are not single integers.
    """
    name = gridFromNode(labelNode).name
    array = slicer.util.arrayFromVolume(labelNode)
    if array.ndim != 3 or array.dtype.kind not in "iu":
        raise InputError(
            f"'{name}' does not hold one integer per voxel; convert it to a label map (Volumes module, Convert)."
        )
    return array


def labelName(labelNode: slicer.vtkMRMLLabelMapVolumeNode, value: int) -> str:
    """A label value with its name in the label map's color table, if it has one: "2: tumor", else "2"."""
    displayNode = labelNode.GetDisplayNode()
    colorNode = displayNode.GetColorNode() if displayNode is not None else None
    isInTable = colorNode is not None and 0 <= value < colorNode.GetNumberOfColors()
    name = colorNode.GetColorName(value) if isInTable and colorNode.GetColorDefined(value) else ""
    return f"{value}: {name}" if name and name != str(value) else str(value)
