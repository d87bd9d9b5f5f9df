"""Slicer's slice and 3D views, off-screen: the application's displayable managers without its window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import slicer.util
import vtk

_SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
_DARK = (0.075, 0.085, 0.105)
_LIGHTER = (0.20, 0.23, 0.28)


class _View:
    """A render window with the displayable managers of one view node."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(8)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self.interactor.UpdateSize(*size)
        self.managers = None

    def connect(self, factory, names: tuple[str, ...], viewNode: slicer.vtkMRMLAbstractViewNode) -> None:
        """Start the named displayable managers on this view."""
        factory.SetMRMLApplicationLogic(slicer.modules.applicationLogic)
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.Initialize(factory, self.renderer)
        self.managers.SetMRMLDisplayableNode(viewNode)

    def save(self, path: Path) -> None:
        """Render and write a PNG."""
        self.window.Render()
        # markups get their size on screen from the first rendering
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        writer = vtk.vtkPNGWriter()
        writer.SetInputData(grab.GetOutput())
        writer.SetFileName(str(path))
        writer.Write()


class SliceView(_View):
    """A slice view of a volume, in an orientation named "Axial", "Coronal" or "Sagittal"."""

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        orientation: str,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        size: tuple[int, int],
    ) -> None:
        super().__init__(size)
        self.size = size
        self.volumeNode = volumeNode
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(slicer.modules.applicationLogic)
        self.logic.SetMRMLScene(scene)
        self.sliceNode = self.logic.AddSliceNode(f"SAMLiverTumor{orientation}")
        self.sliceNode.SetOrientation(orientation)
        slicer.modules.applicationLogic.GetSliceLogics().AddItem(self.logic)
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())
        self.logic.ResizeSliceNode(*size)
        # before the managers: later actors are drawn over it
        self._addBackground()
        self.connect(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), _SLICE_MANAGERS, self.sliceNode)

    def show(self, centerRas: np.ndarray) -> None:
        """Fill the view with the volume's slice through a world point (mm)."""
        self.logic.FitSliceToBackground()
        axis = {"Axial": 2, "Coronal": 1, "Sagittal": 0}[self.sliceNode.GetOrientation()]
        # not by an offset: that grows toward the left in sagittal views
        self.sliceNode.JumpSliceByOffsetting(*(float(x) for x in centerRas))
        bounds = [0.0] * 6
        self.volumeNode.GetRASBounds(bounds)
        extents = np.ptp(np.array(bounds).reshape(3, 2), axis=1)
        across = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
        # the whole volume, as large as fits
        millimetersPerPixel = max(extents[across[0]] / self.size[0], extents[across[1]] / self.size[1])
        depth = self.sliceNode.GetFieldOfView()[2]
        self.sliceNode.SetFieldOfView(self.size[0] * millimetersPerPixel, self.size[1] * millimetersPerPixel, depth)
        self.logic.UpdatePipeline()

    def _addBackground(self) -> None:
        """Add the resliced volume itself: in the application the view's Qt widget paints it."""
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        mapper.SetInputConnection(self.logic.GetImageDataConnection())
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)
        self.renderer.SetBackground(0, 0, 0)


class ThreeDView(_View):
    """A 3D view of the scene."""

    def __init__(self, scene: slicer.vtkMRMLScene, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(slicer.modules.applicationLogic)
        self.logic.SetMRMLScene(scene)
        self.viewNode = self.logic.AddViewNode("SAMLiverTumor3D")
        self.viewNode.SetBoxVisible(False)
        self.viewNode.SetAxisLabelsVisible(False)
        self.viewNode.SetBackgroundColor(_DARK)
        self.viewNode.SetBackgroundColor2(_LIGHTER)
        slicer.modules.applicationLogic.GetViewLogics().AddItem(self.logic)
        cameraNode = slicer.vtkMRMLCameraNode()
        cameraNode.SetLayoutName(self.viewNode.GetLayoutName())
        scene.AddNode(cameraNode)
        self.connect(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), _THREE_D_MANAGERS, self.viewNode)
        light = vtk.vtkLightKit()
        light.SetKeyLightIntensity(0.9)
        light.AddLightsToRenderer(self.renderer)

    def show(self, boundsRas: np.ndarray) -> None:
        """Look at a world box (3, 2) in mm from the patient's right, a little from the front and above."""
        center = boundsRas.mean(axis=1)
        radius = 0.5 * float(np.linalg.norm(np.ptp(boundsRas, axis=1)))
        direction = np.array([0.80, 0.42, 0.50])
        direction /= np.linalg.norm(direction)
        camera = self.renderer.GetActiveCamera()
        camera.SetViewAngle(30)
        camera.SetFocalPoint(*center)
        camera.SetPosition(*(center + direction * radius / np.sin(np.radians(15)) * 0.92))
        camera.SetViewUp(0, 0, 1)
        self.renderer.ResetCameraClippingRange()
