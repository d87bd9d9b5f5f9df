"""For scripts, Slicer's Python console and the panel: loads a 3D-IRCADb case as volume and segmentation nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import slicer

from SAMLiverTumorLib.io.ircadb.cases import IrcadbCase, Outlined, read_ircadb
from SAMLiverTumorLib.mrml.api.dicom_seg import FOLDER_ATTRIBUTE
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import boxImage, volumeLattice
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, setProvenance

FOLDER_TAG = "SAMLiverTumor.IrcadbFolder"
"""Tag of a segment: its folder in MASKS_DICOM, in the original spelling."""


def loadIrcadbCase(
    path: Path | str,
    scene: slicer.vtkMRMLScene | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add a case to the scene: its CT, and a segmentation with every outlined structure.

    The first segment is "liver tumor": all liver tumors as one. The reader's notes, such as differences between masks
    and LABELLED_DICOM, are in `read_ircadb(path).notes`. 3D-IRCADb is CC BY-NC-ND 3.0; use your own copy.

    :param path: the case's folder or zip file, as delivered or unpacked.
    :param scene: Slicer's own by default.
    :return: (volume node, segmentation node).
    :raises InputError: not a case, or incomplete; then nothing is added.

    >>> volumeNode, segmentationNode = loadIrcadbCase("3Dircadb1.1")   # doctest: +SKIP
    """
    return addIrcadbCase(scene or slicer.mrmlScene, read_ircadb(path, progress=progress))


def addIrcadbCase(
    scene: slicer.vtkMRMLScene, case: IrcadbCase
) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add a case that has been read; see `loadIrcadbCase`."""
    *_, nodes = addingIrcadbCase(scene, case)
    return nodes


def addingIrcadbCase(
    scene: slicer.vtkMRMLScene, case: IrcadbCase
) -> Iterator[tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]]:
    """Add a case structure by structure, so that the GUI stays responsive; yields the nodes after each."""
    volumeNode = addVolumeNode(scene, case.volume)
    if case.dicom_folder is not None:
        volumeNode.SetAttribute(FOLDER_ATTRIBUTE, str(case.dicom_folder))
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
