"""`exportSegments`: writes segments of the scene to common file formats, without saving the scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.atomic import check_output
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.mrml.api.dicom_seg import unknownFiles
from SAMLiverTumorLib.mrml.api.export_labels import ending_of, writeNifti
from SAMLiverTumorLib.mrml.api.export_surfaces import saveSurface
from SAMLiverTumorLib.mrml.nodes.conversions import Grid, gridFromNode, nodeToWorldMatrix
from SAMLiverTumorLib.mrml.nodes.label_nodes import HeldSegments, addSegmentation, heldSegments
from SAMLiverTumorLib.mrml.scene_files import saveSegmentation

DICOM, SEGMENTATION, NIFTI, STL, OBJ = ".dcm", ".seg.nrrd", ".nii.gz", ".stl", ".obj"
FORMATS = (DICOM, SEGMENTATION, NIFTI, STL, OBJ)

# Header and scene have the same grid if voxel centers agree to this: NIfTI stores its affine in single precision.
_SAME_GRID_MM = 1e-2


@dataclass(frozen=True, eq=False)
class SegmentExport:
    """A file to be written.

    :param write: writes it and returns notes for the reader.
    :param isOfScene: whether `write` must run in the thread that owns the scene, as Slicer's own writers must.
    """

    path: Path
    write: Callable[[], tuple[str, ...]]
    isOfScene: bool


def exportSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    path: Path | str,
    segmentIds: Sequence[str] | None = None,
    dicomFolder: Path | str | None = None,
    series: str | None = None,
    overwrite: bool = False,
    deriveFrameOfReference: bool = False,
) -> tuple[str, ...]:
    """Write segments to a file whose extension is one of `FORMATS`.

    Label maps and DICOM SEG are written on the volume's grid in the volume's own coordinates, ignoring its parent
    transform; surfaces are written at their position in the scene.

    :param volumeNode: the volume that was outlined.
    :param segmentIds: which; all by default.
    :param dicomFolder: the folder of the volume's DICOM files, for DICOM SEG.
    :param series: which series, if there are several; see `read_dicom`.
    :param deriveFrameOfReference: identifiers that they lack may be made from the series' UID; see `read_source`.
    :return: notes for the reader.
    :raises InputError: nothing outlined, segments on another grid than the volume, or files of another series.
    :raises OutputError: unknown extension; the file exists; it cannot be written.

    >>> exportSegments(segmentationNode, volumeNode, "tumor.nii.gz")                         # doctest: +SKIP
    """
    prepared = prepareExport(
        segmentationNode, volumeNode, path, segmentIds, dicomFolder, series, overwrite, deriveFrameOfReference
    )
    return prepared.write()


def prepareExport(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    path: Path | str,
    segmentIds: Sequence[str] | None = None,
    dicomFolder: Path | str | None = None,
    series: str | None = None,
    overwrite: bool = False,
    deriveFrameOfReference: bool = False,
) -> SegmentExport:
    """As `exportSegments`, but only read from the scene; nothing is written yet."""
    path = Path(path)
    ending = ending_of(path)
    check_output(path, overwrite)
    held = heldSegments(segmentationNode, segmentIds, copied=True)
    if not any(source.array.any() for source, _ in held.segments):
        names = listed((source.name for source, _ in held.segments), quoted=True)
        raise InputError(f"Nothing is outlined in {names}; outline something first.")
    if ending in (STL, OBJ):
        ids = segmentIds or list(segmentationNode.GetSegmentation().GetSegmentIDs())
        return SegmentExport(path, partial(_surface, segmentationNode, ids, path, overwrite), True)
    if ending == SEGMENTATION:
        isPart = segmentIds is not None and len(segmentIds) < segmentationNode.GetSegmentation().GetNumberOfSegments()
        node = _apart(segmentationNode, held) if isPart else segmentationNode
        return SegmentExport(path, partial(_segmentation, node, path, overwrite), True)
    onVolume = _OnVolume(held, gridFromNode(volumeNode), _ownAffine(volumeNode))
    if ending == DICOM:
        if dicomFolder is None:
            raise InputError(unknownFiles(volumeNode))
        write = partial(_dicomSeg, onVolume, path, Path(dicomFolder), series, overwrite, deriveFrameOfReference)
        return SegmentExport(path, write, False)
    return SegmentExport(path, partial(_nifti, onVolume, path, _fileOf(volumeNode), overwrite), False)


@dataclass(frozen=True, eq=False)
class _OnVolume:
    """Segments, and the volume whose grid they are written on.

    :param grid: the volume's grid in the scene.
    :param ijk_to_ras: the affine in its file.
    """

    held: HeldSegments
    grid: Grid
    ijk_to_ras: np.ndarray

    def labels(self) -> LabelFile:
        return replace(self.held.onGrid(self.grid), ijk_to_ras=self.ijk_to_ras)

    @property
    def notes(self) -> tuple[str, ...]:
        if np.allclose(self.grid.ijk_to_ras, self.ijk_to_ras, atol=1e-6):
            return ()
        return (f"The file matches that of '{self.grid.name}', without the transform that moves it in the scene.",)


def _dicomSeg(
    onVolume: _OnVolume, path: Path, folder: Path, series: str | None, overwrite: bool, derive: bool
) -> tuple[str, ...]:
    from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
    from SAMLiverTumorLib.io.dicom.source import read_source

    labels = onVolume.labels()
    source = read_source(folder, series, derive)
    return (*labels.notes, *write_dicom_seg(labels, source, path, overwrite), *onVolume.notes)


def _nifti(onVolume: _OnVolume, path: Path, source: Path | None, overwrite: bool) -> tuple[str, ...]:
    labels = onVolume.labels()
    if source is not None and not _hasGrid(source, labels):
        source = None
    return (*labels.notes, *writeNifti(labels, path, source, overwrite), *onVolume.notes)


def _segmentation(node: slicer.vtkMRMLSegmentationNode, path: Path, overwrite: bool) -> tuple[str, ...]:
    saveSegmentation(node, path, overwrite)
    return ()


def _surface(
    node: slicer.vtkMRMLSegmentationNode, segmentIds: Sequence[str], path: Path, overwrite: bool
) -> tuple[str, ...]:
    ml = saveSurface(node, segmentIds, path, overwrite)
    return (f"The surface encloses {ml:.3f} ml; it is in LPS, mm.",)


def _apart(segmentationNode: slicer.vtkMRMLSegmentationNode, held: HeldSegments) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation of one segment only, in the node's own coordinates and for the same volume."""
    (source, details), *others = held.segments
    if others:
        raise InputError("A .seg.nrrd holds one segment or all of them; choose one.")
    ijkToNode = np.linalg.inv(nodeToWorldMatrix(segmentationNode)) @ source.ijk_to_ras
    labels = LabelFile(held.name, (source.array,), {source.name: (0, 1)}, ijkToNode, True, {source.name: details})
    scene = slicer.vtkMRMLScene()
    node = addSegmentation(scene, labels)
    # remove it from the scene, which is deleted here
    scene.RemoveNode(node)
    geometry = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    known = segmentationNode.GetSegmentation().GetConversionParameter(geometry)
    if known:
        node.GetSegmentation().SetConversionParameter(geometry, known)
    return node


def _ownAffine(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _fileOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Path | None:
    """The NIfTI file that a volume was loaded from or saved to."""
    from SAMLiverTumorLib.io.labels.nifti_writer import is_nifti

    storageNode = volumeNode.GetStorageNode()
    path = Path(storageNode.GetFullNameFromFileName() or "") if storageNode is not None else None
    return path if path is not None and is_nifti(path) else None


def _hasGrid(path: Path, labels: LabelFile) -> bool:
    """Whether a file still has the labels' grid, according to its header."""
    import SimpleITK as sitk

    from SAMLiverTumorLib.io.images import image_affine

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return False
    if reader.GetSize()[:3] != labels.dimensions or reader.GetDimension() != 3:
        return False
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (*labels.dimensions, 1)
    apart = corners @ (image_affine(reader) - labels.ijk_to_ras).T
    return bool(np.abs(apart).max() < _SAME_GRID_MM)
