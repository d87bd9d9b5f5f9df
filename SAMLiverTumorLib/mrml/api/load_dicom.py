"""`loadDicomSeries`: loads one series of a DICOM folder as a volume node, for scripts and Slicer's console."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
import slicer.util

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.series import DicomSeries, read_dicom
from SAMLiverTumorLib.mrml.api.dicom_seg import FOLDER_ATTRIBUTE, RESAMPLED_ATTRIBUTE, SERIES_ATTRIBUTE
from SAMLiverTumorLib.mrml.application.headless_scene import inSlicerApplication
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
from SAMLiverTumorLib.volume import Volume, apply_affine

# Slicer's attribute for the DICOM instances that a volume was loaded from, in slice order.
_INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"

_SAME_PLACE_MM = 0.1


def loadDicomSeries(
    folder: str | Path,
    series: str | int | None = None,
    scene: slicer.vtkMRMLScene | None = None,
    note: Callable[[str], None] = print,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Load one DICOM series as a volume node whose geometry and values are checked against the headers.

    Inside Slicer the folder is imported into the DICOM database (files are referenced, not copied) and loaded by
    DICOMUtils, so that the volume is in the subject hierarchy and segmentations of it can be exported as DICOM. If
    Slicer's geometry differs from the headers, and outside the application, this library's own reader makes the node.

    :param folder: a folder (searched recursively), or a file.
    :param series: series number or SeriesInstanceUID, needed where there are several.
    :param scene: where to add the node; None for Slicer's own.
    :param note: called with lines about the series, such as duplicate images.
    :raises InputError: no or several series, or one that cannot be read correctly; the scene is then unchanged.

    >>> volumeNode = loadDicomSeries("/data/patient1", series=4)                             # doctest: +SKIP
    """
    read = read_dicom(folder, series)
    for text in read.notes:
        note(text)
    scene = scene or slicer.mrmlScene
    volumeNode = _loadedBySlicer(Path(folder), read, scene, note) if inSlicerApplication() else None
    if volumeNode is None:
        volumeNode = addVolumeNode(scene, read.volume)
        volumeNode.SetName(read.frames[0].description or read.volume.name)
        uids = dict.fromkeys(frame.instance_uid for frame in read.frames if frame.instance_uid)
        volumeNode.SetAttribute(_INSTANCES_ATTRIBUTE, " ".join(uids))
    volumeNode.SetAttribute(FOLDER_ATTRIBUTE, str(Path(folder).absolute()))
    if series is not None:
        volumeNode.SetAttribute(SERIES_ATTRIBUTE, str(series))
    if read.resampled:
        volumeNode.SetAttribute(RESAMPLED_ATTRIBUTE, "1")
    return volumeNode


def _loadedBySlicer(
    folder: Path, read: DicomSeries, scene: slicer.vtkMRMLScene, note: Callable[[str], None]
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The series loaded through Slicer's DICOM database and plug-ins; None if that gives another volume."""
    from DICOMLib import DICOMUtils

    if scene is not slicer.mrmlScene or not slicer.dicomDatabase.isOpen:
        return None
    source = folder if folder.is_dir() else folder.parent
    if not DICOMUtils.importDicom(str(source)):
        return None
    # by an instance instead of the series: of several phases in one series, load only the requested one
    nodes = [scene.GetNodeByID(nodeId) for nodeId in DICOMUtils.loadByInstanceUID(read.frames[0].instance_uid)]
    volumes = [node for node in nodes if node is not None and node.IsA("vtkMRMLScalarVolumeNode")]
    for node in volumes:
        if _samePlace(node, read.volume):
            if not np.array_equal(slicer.util.arrayFromVolume(node), read.volume.array):
                slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(read.volume.array))
                note("Slicer read other values; they were replaced by those that the headers give.")
            return node
    for node in filter(None, nodes):
        parentNode = node.GetParentTransformNode() if node.IsA("vtkMRMLTransformableNode") else None
        scene.RemoveNode(node)
        if parentNode is not None:
            scene.RemoveNode(parentNode)
    note("Slicer placed the series otherwise than its headers say; it was read by SAM Liver Tumor instead.")
    return None


def _samePlace(volumeNode: slicer.vtkMRMLScalarVolumeNode, expected: Volume) -> bool:
    """Whether a node has the expected grid, to a tenth of a millimeter."""
    try:
        volume = volumeFromNode(volumeNode)
    except InputError:  # no image, or a non-linear transform
        return False
    corners = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * np.array(expected.dimensions)
    apart = apply_affine(volume.ijk_to_ras, corners) - apply_affine(expected.ijk_to_ras, corners)
    return volume.dimensions == expected.dimensions and bool(np.linalg.norm(apart, axis=1).max() < _SAME_PLACE_MM)
