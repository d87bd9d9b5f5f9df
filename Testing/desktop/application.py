"""`slicer.app`: the application without a main window, with the parts of it that panels talk to."""

import tempfile
from pathlib import Path
from typing import ClassVar

import slicer
from PySide6 import QtCore

from . import qt_module as qt
from .io_manager import CoreIOManager


class ModuleManager(qt.QObject):
    """Knows the modules and announces their end."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)
    moduleLoaded = QtCore.Signal(str)
    signatures: ClassVar = {"moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded"}

    def module(self, name: str):
        return getattr(slicer.modules, name.lower(), None)


class SliceWidget:
    """A slice view's node and logic; there is nothing on a screen."""

    def __init__(self, name: str, orientation: str, color: tuple[float, float, float]) -> None:
        applicationLogic = slicer.modules.applicationLogic
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(slicer.mrmlScene)
        sliceNode = self._logic.AddSliceNode(name)
        sliceNode.SetLayoutLabel(name[0])
        sliceNode.SetLayoutColor(*color)
        sliceNode.SetOrientation(orientation)
        sliceNode.SetMappedInLayout(1)
        self._logic.ResizeSliceNode(400, 400)
        applicationLogic.GetSliceLogics().AddItem(self._logic)

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()


class LayoutManager(qt.QObject):
    """Three slice views."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._slices = {
            "Red": SliceWidget("Red", "Axial", (0.95, 0.29, 0.21)),
            "Green": SliceWidget("Green", "Coronal", (0.43, 0.69, 0.29)),
            "Yellow": SliceWidget("Yellow", "Sagittal", (0.93, 0.84, 0.30)),
        }

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return slicer.modules.applicationLogic.GetSliceLogics()


class Application(qt.QApplication):
    """slicer.app. `testing` can be set: in testing mode Slicer answers questions by itself."""

    startupCompleted = QtCore.Signal()

    def __init__(self, testing: bool, views: bool) -> None:
        super().__init__(["Slicer"])
        self._folder = tempfile.TemporaryDirectory(prefix="desktop-", ignore_cleanup_errors=True)
        self.temporaryPath = self._folder.name
        settings = str(Path(self._folder.name) / "settings")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
            qt.QSettings.setPath(qt.QSettings.IniFormat, scope, settings)
        self.organizationName, self.applicationName = "NA-MIC", "Slicer"
        self.quitOnLastWindowClosed = False
        self._testing = testing
        self._moduleManager = ModuleManager()
        self._layoutManager = LayoutManager() if views else None
        self._ioManager = CoreIOManager()
        self._paused = 0

    temporaryPath = ""

    def setTesting(self, testing: bool) -> None:
        """Not in Slicer, where it is the command line's --testing."""
        self._testing = testing

    def testingEnabled(self) -> bool:
        return self._testing

    def mrmlScene(self):
        return slicer.mrmlScene

    def applicationLogic(self):
        return slicer.modules.applicationLogic

    def moduleManager(self) -> ModuleManager:
        return self._moduleManager

    def layoutManager(self) -> LayoutManager | None:
        return self._layoutManager

    def coreIOManager(self) -> CoreIOManager:
        return self._ioManager

    ioManager = coreIOManager

    def settings(self):
        return qt.QSettings()

    userSettings = settings

    def pauseRender(self) -> None:
        self._paused += 1

    def resumeRender(self) -> None:
        self._paused -= 1
