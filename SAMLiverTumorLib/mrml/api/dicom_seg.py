"""Segmentations of the scene as DICOM SEG, through Slicer's own exporter if possible, else this library's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.dicom.zipped import is_place
from SAMLiverTumorLib.mrml.application.headless_scene import inSlicerApplication
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode
from SAMLiverTumorLib.mrml.nodes.label_nodes import labelsOnGrid

# Slicer's attribute for the DICOM instances that a volume was loaded from.
_INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"

FOLDER_ATTRIBUTE, SERIES_ATTRIBUTE = "SAMLiverTumor.DicomFolder", "SAMLiverTumor.DicomSeries"
"""Attributes of a volume: the DICOM folder it was loaded from, and which series of several there."""

RESAMPLED_ATTRIBUTE = "SAMLiverTumor.Resampled"
"""Attribute of a volume whose slices are not those of its series: it was resampled onto a regular grid."""


def exportDicomSeg(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    folder: Path | str,
    dicomFolder: Path | str | None = None,
    deriveFrameOfReference: bool = False,
) -> Path:
    """Write all segments as one DICOM SEG into a folder.

    If the volume was loaded from Slicer's DICOM database, Slicer writes the file and adds it to the database (it
    leaves out empty segments, after asking). With `dicomFolder`, and outside the application, this library writes it;
    that file also holds the provenance, and empty segments.

    :param volumeNode: the CT that was outlined; segments must lie on its voxel grid.
    :param dicomFolder: the folder of the CT's files, to write with this library.
    :param deriveFrameOfReference: identifiers that they lack may be made from the series' UID; see `read_source`.
    :return: the file.
    :raises InputError: there is no segment, or the CT's DICOM files are not known.
    :raises OutputError: the folder does not exist, or the file cannot be written.

    >>> exportDicomSeg(segmentationNode, volumeNode, "/data/out")                            # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OutputError(f"Folder '{folder}' does not exist; create it first, or choose another.")
    if not segmentationNode.GetSegmentation().GetNumberOfSegments():
        raise InputError(f"Segmentation '{segmentationNode.GetName()}' has no segment; outline something first.")
    if dicomFolder is not None:
        path = _freePath(folder, segmentationNode.GetName())
        saveDicomSeg(segmentationNode, volumeNode, path, dicomFolder, deriveFrameOfReference=deriveFrameOfReference)
        return path
    if not isInDatabase(volumeNode):
        raise InputError(unknownFiles(volumeNode))
    if volumeNode.GetAttribute(RESAMPLED_ATTRIBUTE):
        # Slicer's exporter knows no other slices than the volume's
        path, (files, series) = _freePath(folder, segmentationNode.GetName()), databaseFiles(volumeNode)
        saveDicomSeg(segmentationNode, volumeNode, path, files, series, deriveFrameOfReference=deriveFrameOfReference)
        return path
    return _exportBySlicer(segmentationNode, volumeNode, folder)


def saveDicomSeg(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    path: Path | str,
    dicomFolder: Path | str,
    series: str | int | None = None,
    segmentIds: Sequence[str] | None = None,
    overwrite: bool = False,
    deriveFrameOfReference: bool = False,
) -> tuple[str, ...]:
    """Write segments as a DICOM SEG through highdicom, with this project's provenance.

    Positions in the file are those of the DICOM files, whatever the volume's parent transform in the scene.

    :param dicomFolder: the folder of the volume's files.
    :param series: which series, if there are several; see `read_dicom`.
    :param segmentIds: which segments; all by default.
    :param deriveFrameOfReference: as of `exportDicomSeg`.
    :return: notes for the reader.
    :raises InputError: segments and volume, or volume and series, lie on different voxel grids.
    :raises OutputError: it cannot be written.
    """
    labels = labelsOnGrid(segmentationNode, gridFromNode(volumeNode), segmentIds)
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    labels = replace(labels, ijk_to_ras=slicer.util.arrayFromVTKMatrix(ijkToRas))
    notes = write_dicom_seg(labels, read_source(dicomFolder, series, deriveFrameOfReference), Path(path), overwrite)
    return (*labels.notes, *notes)


def rememberedFiles(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> tuple[Path, str | None] | None:
    """(folder or file, series) that this project loaded a volume from; None where that is not known, or gone."""
    folder = volumeNode.GetAttribute(FOLDER_ATTRIBUTE)
    if not folder or not is_place(Path(folder)):
        return None
    return Path(folder), volumeNode.GetAttribute(SERIES_ATTRIBUTE) or None


def isInDatabase(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the volume was loaded from Slicer's DICOM database and all its files are still known there."""
    uids = (volumeNode.GetAttribute(_INSTANCES_ATTRIBUTE) or "").split()
    if not uids or not inSlicerApplication():
        return False
    return all(slicer.dicomDatabase.fileForInstance(uid) for uid in uids)


def databaseFiles(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> tuple[Path, str] | None:
    """(folder, SeriesInstanceUID) of the files that a volume was loaded from; None if it is not `isInDatabase`."""
    if not isInDatabase(volumeNode):
        return None
    uids = volumeNode.GetAttribute(_INSTANCES_ATTRIBUTE).split()
    folders = {Path(slicer.dicomDatabase.fileForInstance(uid)).parent for uid in uids}
    return Path(os.path.commonpath(folders)), slicer.dicomDatabase.instanceValue(uids[0], "0020,000E")


def unknownFiles(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The message for the user if the DICOM files of a volume are not known."""
    return (
        f"The DICOM files of '{volumeNode.GetName()}' are not known; load it through the DICOM module, or "
        "name the folder of its files."
    )


def _exportBySlicer(segmentationNode, volumeNode, folder: Path) -> Path:
    """Export through Slicer's plug-in, which takes what is in the volume's study in the subject hierarchy."""
    import DICOMSegmentationPlugin  # a module of Slicer since 5.12

    hierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(segmentationNode.GetScene())
    item = hierarchyNode.GetItemByDataNode(segmentationNode)
    study = hierarchyNode.GetItemParent(hierarchyNode.GetItemByDataNode(volumeNode))
    hierarchyNode.SetItemParent(item, study)
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    exporter = DICOMSegmentationPlugin.DICOMSegmentationPluginClass()
    exportables = exporter.examineForExport(item)
    if not exportables:
        raise InputError(f"Slicer cannot export '{segmentationNode.GetName()}' as DICOM; see its DICOM module.")
    for exportable in exportables:
        exportable.directory = str(folder)
    before = set(folder.iterdir())
    error = exporter.export(exportables)
    written = sorted(set(folder.iterdir()) - before)
    if error or not written:
        raise OutputError(f"Slicer could not write the DICOM SEG: {error or 'no file came out'}.")
    return written[0]


def _freePath(folder: Path, name: str) -> Path:
    """NAME.dcm, or NAME with a number if that exists already."""
    stem = "".join(c if c.isalnum() or c in " -_" else "_" for c in name).strip() or "segmentation"
    path, n = folder / f"{stem}.dcm", 1
    while path.exists():
        n += 1
        path = folder / f"{stem} {n}.dcm"
    return path
