"""Segments as closed surfaces, written as STL or OBJ, by Slicer's own conversion and model writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.safe_names import writable_name
from SAMLiverTumorLib.mrml.application.vtk_messages import capturedVtkMessages
from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import boxImage

SUFFIXES = (".stl", ".obj")


def segmentSurface(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, smoothing: float = 0.0
) -> vtk.vtkPolyData:
    """The closed surface of a segment, in world RAS (mm); empty if the segment is.

    The surface runs midway between the centers of voxels inside and outside. The segmentation itself and the surface it
    shows are not changed.

    :param smoothing: from 0 (none, the default) to 1; Slicer shows 0.5. Smoothing shrinks small and thin parts.
    :raises InputError: no such segment, not kept as a binary labelmap, or under a non-linear transform.
    """
    if not 0 <= smoothing <= 1:
        raise InputError(f"A smoothing of {smoothing:g} is not between 0 and 1.")
    source = segmentSource(segmentationNode, segmentId)
    mask = source.array == source.value
    if not mask.any():
        return vtk.vtkPolyData()
    # converting a labelmap of a whole CT takes half a second longer than the box around a tumor
    ends = [np.flatnonzero(mask.any(axis=axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))]
    mask = mask[tuple(slice(first, last + 1) for first, last in ends)]
    origin = np.array([first for first, _ in ends[::-1]])
    converter = slicer.vtkSegmentationConverter
    segment = slicer.vtkSegment()
    segment.AddRepresentation(
        converter.GetSegmentationBinaryLabelmapRepresentationName(), boxImage(mask, origin, source.ijk_to_ras)
    )
    segment.SetLabelValue(1)
    segmentation = slicer.vtkSegmentation()
    segmentation.SetSourceRepresentationName(converter.GetSegmentationBinaryLabelmapRepresentationName())
    segmentation.AddSegment(segment, "surface")
    rule = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule
    for name, value in (
        (rule.GetSmoothingFactorParameterName(), f"{smoothing:g}"),
        (rule.GetDecimationFactorParameterName(), "0"),
    ):
        segmentation.SetConversionParameter(name, value)
    surfaceName = converter.GetSegmentationClosedSurfaceRepresentationName()
    with capturedVtkMessages() as messages:
        if not segmentation.CreateRepresentation(surfaceName, True):
            raise InputError(f"Segment '{source.name}' cannot be turned into a surface: {messages}")
    surface = segment.GetRepresentation(surfaceName)
    if np.linalg.det(source.ijk_to_ras[:3, :3]) < 0:
        # Slicer's conversion inverts the triangles of such grids, which 3D printers treat as a hole
        reverse = vtk.vtkReverseSense()
        reverse.SetInputData(surface)
        reverse.Update()
        surface = reverse.GetOutput()
    copy = vtk.vtkPolyData()
    copy.DeepCopy(surface)
    return copy


def saveSurface(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentIds: Sequence[str],
    path: Path | str,
    overwrite: bool = False,
    smoothing: float = 0.0,
    coordinates: str = "LPS",
) -> float:
    """Write the surfaces of segments into one STL or OBJ file (mm).

    :param coordinates: "LPS", as Slicer writes and expects models, or "RAS". The file states which.
    :return: the volume that the surfaces enclose, in ml.
    :raises InputError: nothing outlined, or as `segmentSurface`.
    :raises OutputError: unknown extension, the file exists, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"'{path}' has to end in .stl or .obj to hold a surface.")
    surfaces = [segmentSurface(segmentationNode, segmentId, smoothing) for segmentId in segmentIds]
    surfaces = [surface for surface in surfaces if surface.GetNumberOfCells()]
    if not surfaces:
        raise InputError(f"Segmentation '{segmentationNode.GetName()}' has no voxel to make a surface of.")
    together = vtk.vtkAppendPolyData()
    for surface in surfaces:
        together.AddInputData(surface)
    together.Update()
    modelNode = slicer.vtkMRMLModelNode()
    modelNode.SetAndObserveMesh(together.GetOutput())
    storageNode = slicer.vtkMRMLModelStorageNode()
    system = {"LPS": storageNode.CoordinateSystemLPS, "RAS": storageNode.CoordinateSystemRAS}[coordinates]
    storageNode.SetCoordinateSystem(system)
    with (
        atomic_path(path, overwrite) as temporary,
        writable_name(temporary) as named,
        capturedVtkMessages() as messages,
    ):
        storageNode.SetFileName(str(named))
        if not storageNode.WriteData(modelNode):
            raise OutputError(f"'{path}' cannot be written: {messages}")
        if path.suffix.lower() == ".obj":
            _dropMaterial(named)
    return sum(enclosedMl(surface) for surface in surfaces)


def enclosedMl(surface: vtk.vtkPolyData) -> float:
    """Volume in ml that a closed surface of triangles encloses; negative where its triangles face inward."""
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    triangles.Update()
    mesh = triangles.GetOutput()
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    corners = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    # relative to a nearby point: scanner coordinates are large compared with a lesion
    a, b, c = (points - points.mean(axis=0))[corners].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0 / 1000.0)


def _dropMaterial(path: Path) -> None:
    """Remove references to a material file, which the writer mentions but does not write."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(x for x in lines if not x.startswith(("mtllib", "usemtl"))), encoding="utf-8")
