"""`slicer.modules`: the logics that slicer-core has, and the scripted modules that are opened here."""

import importlib.util
import sys
from pathlib import Path

import slicer
from PySide6 import QtWidgets

from .slicer_widgets import qMRMLWidget


class Modules:
    """Modules by their names in small letters, widgets as <Name>Widget, instances as <Name>Instance."""

    def __init__(self, contents: dict) -> None:
        self.__dict__.update(contents)

    def __getattr__(self, name: str):
        raise AttributeError(
            f"Testing/desktop: slicer.modules has no {name}; add it to modules.py if the panel needs it"
        )


class qSlicerScriptedLoadableModule:
    """What Slicer keeps of a scripted module; the module's own class fills it in."""

    hidden = False
    icon = None

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.name = path.stem
        self._representation = None

    def loadClass(self, suffix: str = "") -> type:
        return getattr(sys.modules[self.name], self.name + suffix)

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(self)
        return self._representation

    def logic(self):
        return None


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget around a panel, which the panel's class has as `parent`."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module = module
        self._entered = False
        self._widget = None
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self._load()

    @property
    def isEntered(self) -> bool:
        return self._entered

    def self(self):
        return self._widget

    def reload(self) -> None:
        """Make the panel anew from the module's present code."""
        wasEntered = self._entered
        self._entered = False
        self._load()
        if wasEntered:
            self.enter()

    def enter(self) -> None:
        """What happens when the user opens the module; isEntered is set first, as in Slicer."""
        self._entered = True
        if hasattr(self._widget, "enter"):
            self._widget.enter()

    def exit(self) -> None:
        """What happens when the user opens another module."""
        self._entered = False
        if hasattr(self._widget, "exit"):
            self._widget.exit()

    def _load(self) -> None:
        self._widget = self._module.loadClass("Widget")(self)
        setattr(slicer.modules, f"{self._module.name}Widget", self._widget)
        self._widget.setup()


def loadModule(path: Path) -> qSlicerScriptedLoadableModule:
    """Load a module file as Slicer does at startup: its folder alone joins the path, its class is made."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[path.stem])
    module = qSlicerScriptedLoadableModule(path)
    setattr(slicer.modules, f"{path.stem}Instance", module.loadClass()(module))
    setattr(slicer.modules, path.stem.lower(), module)
    return module
