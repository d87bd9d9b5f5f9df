"""Reads and writes boxes of voxels of a segmentation, without touching the rest of it.

A segment's binary labelmap covers only the extent that holds voxels, may be shared by several segments (each with its
own label value), and is in the segmentation node's own coordinates, not in world coordinates. "Lattice" here is a 4x4
affine from voxel indices to those coordinates.
"""

from __future__ import annotations

import zlib

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mrml.nodes.conversions import nodeToWorldMatrix

# Affines read from files are rounded (single precision in NIfTI): grids that agree to this fraction of a voxel count as
# the same, since voxels are matched by nearest neighbor.
_GRID_TOLERANCE_VOXELS = 0.05


def segmentLabelmap(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str
) -> tuple[slicer.vtkOrientedImageData | None, int]:
    """The segment's internal labelmap and its label value; None if it has no voxels yet.

    :raises InputError: no such segment, or the segmentation is not kept as binary labelmaps.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId) if segmentId else None
    if segment is None:
        raise InputError(f"Segmentation '{segmentationNode.GetName()}' has no segment with the ID '{segmentId}'.")
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentationNode.GetSegmentation().GetSourceRepresentationName() != name:
        raise InputError(
            f"Segmentation '{segmentationNode.GetName()}' is not stored as binary labelmaps; in the Segmentations "
            "module, Representations, make 'Binary labelmap' the source representation."
        )
    labelmap = segment.GetRepresentation(name)
    return (None if _isEmpty(labelmap) else labelmap), segment.GetLabelValue()


def volumeLattice(ijkToWorld: np.ndarray, segmentationNode: slicer.vtkMRMLSegmentationNode) -> np.ndarray:
    """A volume's world affine in the segmentation node's own coordinates.

    :raises InputError: the segmentation is under a non-linear transform.
    """
    return np.linalg.inv(nodeToWorldMatrix(segmentationNode)) @ ijkToWorld


def imageLattice(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """4x4 affine from the image's voxel indices to its coordinates."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def referenceLattice(segmentationNode: slicer.vtkMRMLSegmentationNode) -> np.ndarray | None:
    """The lattice that the segmentation is edited on (its reference image geometry); None if unset."""
    converter = slicer.vtkSegmentationConverter
    geometry = segmentationNode.GetSegmentation().GetConversionParameter(
        converter.GetReferenceImageGeometryParameterName()
    )
    image = slicer.vtkOrientedImageData()
    if not geometry or not converter.DeserializeImageGeometry(geometry, image, False):
        return None
    return imageLattice(image)


def latticeShift(
    lattice: np.ndarray, volumeLatticeMatrix: np.ndarray, dimensions: tuple[int, int, int]
) -> np.ndarray | None:
    """Whole voxels to add to a volume's (i, j, k) to get the lattice's; None if the grids differ."""
    volumeToLattice = np.linalg.inv(lattice) @ volumeLatticeMatrix
    shift = np.rint(volumeToLattice[:3, 3])
    # the deviation grows linearly over the volume, so its corners decide
    corners = np.array(np.meshgrid(*((0, size - 1) for size in dimensions))).reshape(3, -1)
    mapped = volumeToLattice[:3, :3] @ corners + volumeToLattice[:3, 3:]
    if np.abs(mapped - corners - shift[:, None]).max() > _GRID_TOLERANCE_VOXELS:
        return None
    return shift.astype(int)


def readBox(labelmap: slicer.vtkOrientedImageData | None, labelValue: int, start, shape) -> np.ndarray:
    """Whether each voxel of a box has the label value.

    :param start: (i, j, k) of the box's first voxel in the labelmap's indices.
    :param shape: (k, j, i) voxels.
    :return: bool array (k, j, i); False beyond the labelmap.
    """
    box = np.zeros(shape, bool)
    if labelmap is None:
        return box
    extent = np.array(labelmap.GetExtent()).reshape(3, 2)
    scalars = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape((extent[:, 1] - extent[:, 0] + 1)[::-1])
    low = np.maximum(start, extent[:, 0])
    high = np.minimum(np.array(start) + shape[::-1], extent[:, 1] + 1)
    if (low < high).all():
        inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))[::-1]
        there = tuple(slice(a - e, b - e) for a, b, e in zip(low, high, extent[:, 0], strict=True))[::-1]
        box[inside] = scalars[there] == labelValue
    return box


def boxImage(box: np.ndarray, start, lattice: np.ndarray) -> slicer.vtkOrientedImageData:
    """An oriented image of just the box (bool, (k, j, i)) with its first voxel at index `start`."""
    image = slicer.vtkOrientedImageData()
    extent = np.column_stack([start, np.array(start) + box.shape[::-1] - 1])
    image.SetExtent([int(x) for x in extent.ravel()])
    image.GetPointData().SetScalars(
        numpy_to_vtk(np.ascontiguousarray(box, np.uint8).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    )
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(lattice))
    return image


def labelmapsWithVoxels(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkOrientedImageData]:
    """Every layer of the segmentation that holds voxels."""
    segmentation = segmentationNode.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    layers = [segmentation.GetLayerDataObject(n, name) for n in range(segmentation.GetNumberOfLayers(name))]
    return [layer for layer in layers if not _isEmpty(layer)]


def voxelStamp(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> tuple:
    """Changes whenever a segment's labelmap may have changed; cheap."""
    return tuple(
        (segmentId, labelmap.__this__, labelmap.GetMTime(), value)
        for segmentId, labelmap, value in _labelmaps(segmentationNode)
    )


def voxelDigest(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> int:
    """A hash of the voxels of all segments, independent of names, colors and storage."""
    digest = 0
    for segmentId, labelmap, value in _labelmaps(segmentationNode):
        extent = np.array(labelmap.GetExtent()).reshape(3, 2)[::-1]
        scalars = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(extent[:, 1] - extent[:, 0] + 1)
        box = scalars == value
        filled = [np.flatnonzero(box.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        if not len(filled[0]):
            continue
        part = box[tuple(slice(f[0], f[-1] + 1) for f in filled)]
        place = (segmentId, part.shape, [int(f[0] + e) for f, e in zip(filled, extent[:, 0], strict=True)])
        digest = zlib.crc32(np.packbits(part), zlib.crc32(repr(place).encode(), digest))
    return digest


def voxelCount(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> int:
    """The number of voxels of a segment."""
    for each, labelmap, value in _labelmaps(segmentationNode):
        if each == segmentId:
            return int(np.count_nonzero(vtk_to_numpy(labelmap.GetPointData().GetScalars()) == value))
    return 0


def _labelmaps(segmentationNode) -> list[tuple[str, slicer.vtkOrientedImageData, int]]:
    if segmentationNode is None:
        return []
    segmentation = segmentationNode.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    found = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        labelmap = segment.GetRepresentation(name)
        if not _isEmpty(labelmap):
            found.append((segmentId, labelmap, segment.GetLabelValue()))
    return found


def _isEmpty(labelmap) -> bool:
    return labelmap is None or labelmap.IsEmpty()
