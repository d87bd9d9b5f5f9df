"""Conversion of a `LabelFile` to a segmentation node and back, with names, colors, terminology and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import fits_grid, onto_grid, refuse_lost_place
from SAMLiverTumorLib.io.labels.label_file import LabelFile, free_name
from SAMLiverTumorLib.io.labels.segment_details import TAGS, SegmentDetails, details_of_tags
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.nodes.conversions import Grid
from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource, segmentSource
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import boxImage
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment


def addSegmentation(scene: slicer.vtkMRMLScene, labels: LabelFile) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation with the segments of a label file, on its grid and without a parent transform.

    Segments without codes or a color get the codes that match their name and the next color of the palette.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", labels.name.split(".")[0])
    node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    _setReferenceGeometry(segmentation, labels)
    for name in labels.entries:
        details = labels.details.get(name, SegmentDetails())
        segment = segmentation.GetSegment(addTumorSegment(node, name, details.color))
        segment.SetTerminology(str(details.meaning(name)))
        for tag, value in details.tags.items():
            segment.SetTag(tag, value)
        # a label file has the geometry attributes of a volume
        mask = Mask.from_array(labels.segments[name], labels)
        if mask.count:
            representation = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
            segment.AddRepresentation(representation, boxImage(mask.array, mask.origin, labels.ijk_to_ras))
            segment.SetLabelValue(1)
    # segments that do not overlap share a layer: smaller files
    segmentation.CollapseBinaryLabelmaps(False)
    return node


@dataclass(frozen=True, eq=False)
class HeldSegments:
    """Segments read from the scene, to be resampled onto a grid in any thread.

    :param name: the segmentation's.
    :param segments: voxels, and colors, codes and provenance of each.
    """

    name: str
    segments: tuple[tuple[LabelSource, SegmentDetails], ...]

    def onGrid(self, grid: Grid, resample: bool = False) -> LabelFile:
        """As `labelsOnGrid`.

        :raises InputError: a segment lies on another voxel grid.
        """
        layers, entries, details, notes = [], {}, {}, []
        for source, detail in self.segments:
            name = free_name(source.name, entries)
            mask = source.array == source.value
            if mask.any():
                labels = LabelFile(source.name, (mask.view(np.uint8),), {name: (0, 1)}, source.ijk_to_ras)
                refuse_lost_place(labels, grid.ijk_to_ras, grid.dimensions)
                if not resample and not fits_grid(labels, grid.ijk_to_ras, grid.dimensions):
                    raise InputError(
                        f"Segment '{source.name}' lies on other voxels than '{grid.name}'; choose the volume it was "
                        "made on, or have it resampled."
                    )
                moved, notesOnIt = onto_grid(labels, grid.ijk_to_ras, grid.dimensions)
                layers.append(moved.layers[0])
                notes.extend(notesOnIt)
            else:
                layers.append(np.zeros(grid.dimensions[::-1], np.uint8))
            entries[name] = (len(layers) - 1, 1)
            details[name] = detail
        return LabelFile(self.name, tuple(layers), entries, np.array(grid.ijk_to_ras), True, details, tuple(notes))


def heldSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIds: Sequence[str] | None = None, copied: bool = False
) -> HeldSegments:
    """Read segments from the scene.

    :param segmentIds: which; all by default.
    :param copied: copy the voxels, for segments that may be written to meanwhile.
    :raises InputError: no segment; no binary labelmap; a non-linear transform.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentIds is None:
        segmentIds = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    if not segmentIds:
        raise InputError(f"Segmentation '{segmentationNode.GetName()}' has no segment; outline something first.")
    segments = []
    for segmentId in segmentIds:
        source = segmentSource(segmentationNode, segmentId)
        details = segmentDetails(segmentation.GetSegment(segmentId))
        segments.append((source.copied() if copied else source, details))
    return HeldSegments(segmentationNode.GetName(), tuple(segments))


def labelsOnGrid(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    grid: Grid,
    segmentIds: Sequence[str] | None = None,
    resample: bool = False,
) -> LabelFile:
    """Segments on a grid (world RAS; any object with the attributes of `Grid`), each on its own layer.

    :param segmentIds: which; all by default.
    :param resample: resample segments on another grid by nearest neighbor instead of refusing them.
    :raises InputError: no segment; one on other voxels; no binary labelmap; a non-linear transform.
    """
    return heldSegments(segmentationNode, segmentIds).onGrid(grid, resample)


def segmentDetails(segment: slicer.vtkSegment) -> SegmentDetails:
    """Color, terminology and provenance of a segment."""
    tags = {}
    for tag in TAGS:
        value = vtk.reference("")
        if segment.GetTag(tag, value):
            tags[tag] = str(value)
    return details_of_tags(tags, tuple(segment.GetColor()))


def _setReferenceGeometry(segmentation: slicer.vtkSegmentation, labels: LabelFile) -> None:
    """Set the geometry that Slicer edits the segments on: the whole grid instead of the box that holds voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(labels.dimensions)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(labels.ijk_to_ras))
    segmentation.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(image),
    )
