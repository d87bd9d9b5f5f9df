"""For scripts, Slicer's Python console and the panel: a case of 3D-IRCADb as volume and segmentation nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import slicer

from SAMLiverTumorLib.io.ircadb.cases import IrcadbCase, Outlined, read_ircadb
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import boxImage, volumeLattice
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, setProvenance

FOLDER_TAG = "SAMLiverTumor.IrcadbFolder"
"""Tag of a segment: its folder in MASKS_DICOM, as its authors spelled it."""


def loadIrcadbCase(
    path: Path | str,
    scene: slicer.vtkMRMLScene | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add a case to the scene: its CT, and a segmentation with every structure that is outlined in it.

    The first segment is "liver tumor": all liver tumors as one. What its reader noted, such as where masks and
    LABELLED_DICOM differ, is in `read_ircadb(path).notes`. 3D-IRCADb is CC BY-NC-ND 3.0; bring your own copy.

    :param path: the case's folder or zip file, as it was delivered or unpacked.
    :param scene: Slicer's own by default.
    :return: (volume node, segmentation node).
    :raises InputError: it is no case, or not whole; nothing is added then.

    >>> volumeNode, segmentationNode = loadIrcadbCase("3Dircadb1.1")   # doctest: +SKIP
    """
    return addIrcadbCase(scene or slicer.mrmlScene, read_ircadb(path, progress=progress))


def addIrcadbCase(
    scene: slicer.vtkMRMLScene, case: IrcadbCase
) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add a case that was read; see `loadIrcadbCase`."""
    *_, nodes = addingIrcadbCase(scene, case)
    return nodes


def addingIrcadbCase(
    scene: slicer.vtkMRMLScene, case: IrcadbCase
) -> Iterator[tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]]:
    """The same structure by structure, for a window that has to stay alive in between; yields the nodes after each."""
    volumeNode = addVolumeNode(scene, case.volume)
    segmentationNode = createSegmentation(scene, volumeNode, f"{case.name} structures")
    yield volumeNode, segmentationNode
    for each in case.segments:
        _addSegment(segmentationNode, case, each)
        yield volumeNode, segmentationNode


def _addSegment(segmentationNode: slicer.vtkMRMLSegmentationNode, case: IrcadbCase, outlined: Outlined) -> None:
    structure, mask = outlined.structure, outlined.mask
    segmentId = addTumorSegment(segmentationNode, structure.name, structure.color)
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    segment.SetTerminology(str(structure.term))
    folders = [structure.folder] if structure.folder else [each.structure.folder for each in case.tumors]
    segment.SetTag(FOLDER_TAG, ", ".join(folders))
    entry = {"source": "3D-IRCADb", "case": case.name, "folders": folders, "license": "CC BY-NC-ND 3.0"}
    setProvenance(segmentationNode, segmentId, entry)
    if mask.count:
        lattice = volumeLattice(case.volume.ijk_to_ras, segmentationNode)
        image = boxImage(mask.array, np.array(mask.origin), lattice)
        name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
        segment.AddRepresentation(name, image)
        segment.SetLabelValue(1)
