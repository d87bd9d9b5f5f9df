"""The figure of an uncertainty map: `.venv/bin/python Testing/uncertainty_figure.py [docs/pictures/uncertainty.png]`.

A tumor of the sample case from one box on one slice, fused over three orientations, with real networks: the prompted
slice, the next best slice, and a coronal slice, rendered by Slicer's own slice views.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

# The fourth largest tumor of the sample case, as in the demo and the screenshots.
NUMBER = 4
TILE = (340, 340)
# Step of the color values; finer noise would double the file size.
STEP = 8
# Width of a tile in millimeters; the tumor is about 40 mm wide.
FIELD_MM = 84.0


def main(arguments: list[str]) -> int:
    """Segment, fuse, render three tiles, and write the figure."""
    out = Path(arguments[0]) if arguments else ROOT / "docs" / "pictures" / "uncertainty.png"
    from bench.accuracy_prompts import box_anchor

    from SAMLiverTumorLib.cli.demo import TUMOR_LABEL, largest_components
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
    from SAMLiverTumorLib.inference.propagation.propagator import propagate
    from SAMLiverTumorLib.inference.segment_slices import Settings
    from SAMLiverTumorLib.inference.uncertainty.fusion import fuse
    from SAMLiverTumorLib.inference.uncertainty.next_best_slice import next_best_slice
    from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble
    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.io.labels.grids import onto_grid
    from SAMLiverTumorLib.io.labels.reader import read_labels
    from SAMLiverTumorLib.plane import ORIENTATIONS
    from SAMLiverTumorLib.resources import sample_case

    files = sample_case()
    volume = read_volume(files["ct"])
    labels, _ = onto_grid(read_labels(files["label"]), volume.ijk_to_ras, volume.dimensions)
    lesion = largest_components(labels.segments[TUMOR_LABEL], NUMBER)[NUMBER - 1]
    stack, pool = PlaneStack(volume, "axial"), PredictorPool(lambda question: True)
    anchor = box_anchor(stack, lesion)
    fusion = fuse(propagate(stack, [anchor], pool, Settings()), pool, Settings(), Ensemble(ORIENTATIONS))
    best = next_best_slice(fusion)
    render(volume, fusion, best, anchor, out)
    print(f"{out}: next best slice {best.orientation} {best.index}, {best.reason}; prompted slice {anchor.index}")
    return 0


def render(volume, fusion, best, anchor, out: Path) -> None:
    """Write the figure of three tiles."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    from SAMLiverTumorLib.io.atomic import atomic_path
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.nodes.probability_nodes import showUncertainty
    from SAMLiverTumorLib.mrml.rendering.offscreen_views import SliceView
    from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, createSegmentation
    from SAMLiverTumorLib.volume import apply_affine

    scene = createScene()
    slicer.modules.applicationLogic.GetColorLogic().AddDefaultColorNodes()
    volumeNode = addVolumeNode(scene, volume)
    volumeNode.GetDisplayNode().SetWindowLevel(220, 80)
    segmentationNode = createSegmentation(scene, volumeNode)
    SegmentWriter(scene, segmentationNode, volumeNode).write(addTumorSegment(segmentationNode, "Tumor"), fusion.mask())
    displayNode = segmentationNode.GetDisplayNode()
    displayNode.SetOpacity2DFill(0.0)
    displayNode.SetSliceIntersectionThickness(3)
    mapNode = showUncertainty(scene, volumeNode, "Tumor", fusion.uncertainty)
    u0, v0, u1, v1 = anchor.prompts.box
    plane = fusion.first.stack.plane(anchor.index)
    prompted = apply_affine(plane.to_ras, np.array([[(u0 + u1) / 2, (v0 + v1) / 2, 0]]))[0]
    tiles = (
        ("Axial", prompted, False, f"prompted slice {anchor.index}", anchor.prompts.box),
        ("Axial", np.array([*prompted[:2], best.center_ras[2]]), True, f"next best slice {best.index}", None),
        ("Coronal", prompted, True, "coronal", None),
    )
    append, views = vtk.vtkImageAppend(), {}
    with tempfile.TemporaryDirectory() as folder:
        for n, (orientation, center, withMap, title, box) in enumerate(tiles):
            # a second view of the same orientation would show no background
            view = views[orientation] = views.get(orientation) or SliceView(scene, orientation, volumeNode, TILE)
            view.show(center)
            view.sliceNode.SetFieldOfView(FIELD_MM, FIELD_MM, view.sliceNode.GetFieldOfView()[2])
            view.sliceNode.JumpSliceByCentering(*center)
            composite = view.logic.GetSliceCompositeNode()
            composite.SetForegroundVolumeID(mapNode.GetID() if withMap else None)
            composite.SetForegroundOpacity(0.65)
            view.logic.UpdatePipeline()
            drawn = [_text(title)]
            if box is not None:
                drawn.append(_rectangle(view, plane, box))
            if n == len(tiles) - 1:
                drawn.append(_colorBar(mapNode))
            for actor in drawn:
                view.renderer.AddViewProp(actor)
            view.save(Path(folder) / f"{n}.png")
            for actor in drawn:
                view.renderer.RemoveViewProp(actor)
            reader = vtk.vtkPNGReader()
            reader.SetFileName(str(Path(folder) / f"{n}.png"))
            reader.Update()
            append.AddInputData(reader.GetOutput())
        append.Update()
        colors = vtk_to_numpy(append.GetOutput().GetPointData().GetScalars())
        colors[:] = np.minimum(np.rint(colors / STEP) * STEP, 255)
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(out, overwrite=True) as temporary:
            writer = vtk.vtkPNGWriter()
            writer.SetCompressionLevel(9)
            writer.SetInputData(append.GetOutput())
            writer.SetFileName(str(temporary))
            writer.Write()


def _text(title: str):
    """A title in the upper left corner."""
    import vtk

    actor = vtk.vtkTextActor()
    actor.SetInput(title)
    actor.GetTextProperty().SetFontSize(20)
    actor.GetTextProperty().SetColor(1, 1, 1)
    actor.GetTextProperty().SetShadow(True)
    actor.SetPosition(12, TILE[1] - 32)
    return actor


def _rectangle(view, plane, box):
    """The prompt box in the view's pixels."""
    import slicer.util
    import vtk

    u0, v0, u1, v1 = box
    corners = np.array([(u0, v0, 0, 1), (u1, v0, 0, 1), (u1, v1, 0, 1), (u0, v1, 0, 1)]) @ plane.to_ras.T
    rasToView = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.sliceNode.GetXYToRAS()))
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    for x, y, *_ in corners @ rasToView.T:
        points.InsertNextPoint(x, y, 0)
    lines.InsertNextCell(5)
    for n in (0, 1, 2, 3, 0):
        lines.InsertCellPoint(n)
    data = vtk.vtkPolyData()
    data.SetPoints(points)
    data.SetLines(lines)
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(data)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(1.0, 0.85, 0.1)
    actor.GetProperty().SetLineWidth(2)
    return actor


def _colorBar(mapNode):
    """The color bar of the uncertainty."""
    import vtk

    bar = vtk.vtkScalarBarActor()
    table = vtk.vtkLookupTable()
    table.DeepCopy(mapNode.GetDisplayNode().GetColorNode().GetLookupTable())
    table.SetTableRange(0, 100)
    bar.SetLookupTable(table)
    bar.SetTitle("uncertainty, %")
    bar.SetNumberOfLabels(3)
    bar.SetLabelFormat("%.0f")
    bar.SetOrientationToHorizontal()
    bar.SetUnconstrainedFontSize(True)
    for property_ in (bar.GetTitleTextProperty(), bar.GetLabelTextProperty()):
        property_.SetFontSize(14)
        property_.SetColor(1, 1, 1)
        property_.SetItalic(False)
        property_.SetShadow(True)
    bar.SetPosition(0.42, 0.02)
    bar.SetPosition2(0.52, 0.17)
    return bar


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
