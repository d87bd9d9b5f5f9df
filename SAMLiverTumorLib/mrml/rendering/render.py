"""Renders images of a saved scene in a separate process: without OpenGL only the images are missing.

    python -m SAMLiverTumorLib.mrml.rendering.render SCENE.mrb OUTDIR --center R,A,S

writes `axial.png`, `coronal.png` (slices through the point) and `three_d.png`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, OutputError, SAMLiverTumorError
from SAMLiverTumorLib.resources import LIBRARY_PARENT

PICTURES = ("axial.png", "coronal.png", "three_d.png")
SIZE = (900, 700)

_GL_ADVICE = "on Debian or Ubuntu 'apt-get install libegl1 libgl1 libosmesa6' provides it; a display is not needed."
_NO_GL = f"No images were rendered, because no OpenGL library was found: {_GL_ADVICE}"
_NO_GL_STATUS = 3


def renderScene(
    mrbPath: Path | str, outFolder: Path | str, centerRas: tuple[float, float, float], timeoutSeconds: float = 180.0
) -> str | None:
    """Render the three images of a scene file in another process.

    :param centerRas: world point in mm that the slices go through.
    :return: None if all images were written, else a sentence that says why not. Nothing is raised: missing images must
        not cost a result.
    """
    root = str(LIBRARY_PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    center = ",".join(f"{x:.3f}" for x in centerRas)
    # "=" because argparse treats a leading minus as an option
    command = [
        sys.executable,
        "-m",
        "SAMLiverTumorLib.mrml.rendering.render",
        str(mrbPath),
        str(outFolder),
        f"--center={center}",
    ]
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=timeoutSeconds
        )
    except subprocess.TimeoutExpired:
        return f"Rendering took more than {timeoutSeconds:.0f} s and was stopped; no images were rendered."
    except OSError as error:
        return f"No images were rendered: {error}."
    if result.returncode == 0:
        return None
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    if result.returncode == 2 and lines:
        return f"No images were rendered: {lines[-1]}"
    if result.returncode == _NO_GL_STATUS or any(_speaksOfGl(line) for line in lines):
        return _NO_GL
    if result.returncode < 0:
        return f"No images were rendered, because OpenGL crashed (signal {-result.returncode}): {_GL_ADVICE}"
    return f"No images were rendered: {lines[-1] if lines else f'exit status {result.returncode}'}"


def renderPictures(mrbPath: Path | str, outFolder: Path | str, centerRas: tuple[float, float, float]) -> None:
    """Render the three images in this process; it may crash without OpenGL.

    :raises InputError: no such scene, or no volume in it.
    :raises OutputError: the folder does not exist or cannot be written.
    """
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.rendering.offscreen_views import SliceView, ThreeDView
    from SAMLiverTumorLib.mrml.scene_files import loadScene

    outFolder = Path(outFolder)
    if not outFolder.is_dir() or not os.access(outFolder, os.W_OK):
        raise OutputError(f"Folder '{outFolder}' does not exist or cannot be written.")
    scene = createScene()
    loadScene(scene, mrbPath)
    volumeNode = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    if volumeNode is None:
        raise InputError(f"'{mrbPath}' holds no volume to render.")
    center = np.array(centerRas, dtype=float)
    _prepare(scene, volumeNode)
    bounds = _contentBounds(scene, center)
    for name, orientation in (("coronal.png", "Coronal"), ("axial.png", "Axial")):
        view = SliceView(scene, orientation, volumeNode, SIZE)
        view.show(center)
        view.save(outFolder / name)
    # show an axial slice below the tumors in the 3D image, for orientation, where it hides none of them
    view.show(np.array([*center[:2], bounds[2, 0]]))
    view.sliceNode.SetSliceVisible(True)
    threeD = ThreeDView(scene, SIZE)
    threeD.show(bounds)
    threeD.save(outFolder / "three_d.png")


def _prepare(scene, volumeNode) -> None:
    """Set up the display of segments: a clear outline, a faint fill, surfaces in 3D."""
    import slicer.util

    displayNode = volumeNode.GetDisplayNode()
    if displayNode is not None:
        displayNode.SetInterpolate(True)
    for segmentationNode in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene):
        segmentationNode.CreateClosedSurfaceRepresentation()
        if segmentationNode.GetDisplayNode() is None:
            segmentationNode.CreateDefaultDisplayNodes()
        displayNode = segmentationNode.GetDisplayNode()
        displayNode.SetSliceIntersectionThickness(3)
        displayNode.SetOpacity2DOutline(1.0)
        displayNode.SetOpacity2DFill(0.18)
        displayNode.SetOpacity3D(1.0)
    for markupsNode in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode", scene):
        # points lie inside the tumors
        markupsNode.GetDisplayNode().SetOccludedVisibility(True)
        markupsNode.GetDisplayNode().SetOccludedOpacity(0.7)
    for roiNode in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode", scene):
        # handles and center are for dragging; in an image the center would look like a prompt
        for n in range(roiNode.GetNumberOfControlPoints()):
            roiNode.SetNthControlPointVisibility(n, False)
        displayNode = roiNode.GetDisplayNode()
        displayNode.SetHandlesInteractive(False)
        displayNode.SetFillOpacity(0.04)


def _contentBounds(scene, center: np.ndarray) -> np.ndarray:
    """World box (3, 2) in mm around segments and prompts."""
    import slicer.util

    boxes = []
    for className in ("vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode"):
        for node in slicer.util.getNodesByClass(className, scene):
            bounds = [0.0, -1.0] * 3
            node.GetRASBounds(bounds)
            box = np.array(bounds).reshape(3, 2)
            if (box[:, 0] <= box[:, 1]).all():
                boxes.append(box)
    if not boxes:
        return np.column_stack([center - 50.0, center + 50.0])
    return np.column_stack([np.min(boxes, axis=0)[:, 0], np.max(boxes, axis=0)[:, 1]])


def _speaksOfGl(line: str) -> bool:
    return "cannot open shared object file" in line or "OSMesa not found" in line


def _glWorks() -> bool:
    """Whether VTK finds OpenGL for an off-screen window.

    It tries X, EGL and OSMesa in turn, and reports a missing OSMesa only in a warning; the window then claims to
    support OpenGL and crashes when it renders.
    """
    import vtk

    from SAMLiverTumorLib.mrml.application.vtk_messages import capturedVtkMessages

    with capturedVtkMessages() as messages:
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        return bool(window.SupportsOpenGL()) and not any(_speaksOfGl(line) for line in messages.lines)


def main(arguments: list[str] | None = None) -> int:
    """Command line of the rendering process; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m SAMLiverTumorLib.mrml.rendering.render", description=__doc__.split("\n")[0]
    )
    parser.add_argument("scene", type=Path, help="scene file (.mrb)")
    parser.add_argument("folder", type=Path, help="existing folder for the images")
    parser.add_argument("--center", required=True, help="R,A,S in mm; write --center=-10,20,30 for negative numbers")
    options = parser.parse_args(arguments)
    try:
        center = tuple(float(x) for x in options.center.split(","))
        if len(center) != 3:
            raise ValueError
    except ValueError:
        parser.error(f"--center {options.center}: three numbers R,A,S in mm are needed")
    if not _glWorks():
        print(_NO_GL, file=sys.stderr)
        return _NO_GL_STATUS
    try:
        renderPictures(options.scene, options.folder, center)
    except SAMLiverTumorError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
