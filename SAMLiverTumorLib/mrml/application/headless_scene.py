"""A working MRML scene on PyPI's slicer-core, outside the Slicer application.

In Slicer, the application creates the scene and the logics that parts of MRML rely on; here we create them ourselves.
Nothing else in `mrml/` depends on which of the two is running.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import slicer
import vtk


def inSlicerApplication() -> bool:
    """Whether this runs inside the 3D Slicer application, which has a scene of its own."""
    return getattr(slicer, "app", None) is not None


def createScene() -> slicer.vtkMRMLScene:
    """Create an empty scene and register it where Slicer's Python expects it.

    Sets `slicer.mrmlScene` and `slicer.modules` (segmentations, volumes, markups) to the new scene; earlier scenes stay
    readable but are no longer current.

    :raises RuntimeError: inside the Slicer application; use `slicer.mrmlScene` there.

    >>> scene = createScene()
    >>> scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    0
    """
    if inSlicerApplication():
        raise RuntimeError("createScene() replaces the application's scene; use slicer.mrmlScene inside Slicer")
    scene = slicer.vtkMRMLScene()
    applicationLogic = slicer.vtkSlicerApplicationLogic()
    applicationLogic.SetSliceLogics(vtk.vtkCollection())
    applicationLogic.SetViewLogics(vtk.vtkCollection())
    applicationLogic.SetMRMLScene(scene)
    cacheFolder = _temporaryFolder()
    applicationLogic.SetTemporaryPath(str(cacheFolder))
    _enableBundles(scene, cacheFolder)

    colorLogic = slicer.vtkMRMLColorLogic()
    colorLogic.SetMRMLApplicationLogic(applicationLogic)
    colorLogic.SetMRMLScene(scene)
    applicationLogic.SetColorLogic(colorLogic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)

    logics = {
        # markups and segmentations register the node classes and defaults that storage needs
        "markups": slicer.vtkSlicerMarkupsLogic(),
        "segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "volumes": slicer.vtkSlicerVolumesLogic(),
    }
    for name, logic in logics.items():
        logic.SetMRMLApplicationLogic(applicationLogic)
        logic.SetMRMLScene(scene)
        applicationLogic.SetModuleLogic(name.capitalize(), logic)

    slicer.mrmlScene = scene
    # The logics live only while they are current: they hold the scene, so attaching them to the scene would keep every
    # scene of a long test run in memory.
    slicer.modules = SimpleNamespace(
        applicationLogic=applicationLogic,
        **{name: SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()},
    )
    return scene


def _enableBundles(scene: slicer.vtkMRMLScene, cacheFolder: Path) -> None:
    """Allow reading MRB files, which are unpacked through the scene's data manager and cache folder."""
    cacheManager = slicer.vtkCacheManager()
    cacheManager.SetRemoteCacheDirectory(str(cacheFolder))
    dataManager = slicer.vtkDataIOManager()
    dataManager.SetCacheManager(cacheManager)
    scene.SetCacheManager(cacheManager)
    scene.SetDataIOManager(dataManager)


def _temporaryFolder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sam-liver-tumor-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
