"""Load SAMLiverTumor.py outside the Slicer application, in a process of its own.

Real: MRML (PyPI's slicer-core), slicer.util's observers, the .ui file. Stand-ins: what needs Qt or the
application - qt, ctk, slicer.app, loadUI - and Slicer's Python layer, which slicer-core does not ship.
With SAM_LIVER_TUMOR_SLICER_PYTHON naming a checkout's Base/Python, Slicer's own layer is used instead.
"""

import importlib
import os
import sys
import types
import typing
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import slicer
import slicer.util

ROOT = Path(__file__).resolve().parents[2]


class AnyAttribute(type):
    """For classes of which any attribute can be asked, such as an enumeration's value."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class Anything(metaclass=AnyAttribute):
    """Stands for any Qt class: can be made, called and asked for attributes."""

    def __init__(self, *arguments, **options):
        pass

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *arguments, **options):
        return Anything()


class FakeWidget:
    """A widget of the panel: properties are attributes, signals are remembered."""

    def __init__(self):
        self.signals = {}

    def connect(self, signal, slot):
        self.signals[signal] = slot

    def setMRMLScene(self, scene):
        self.scene = scene


class Choice:
    """Validator of a parameter: one of the given values."""

    def __init__(self, choices):
        self.choices = choices


def parameterNodeWrapper(cls):
    """Parameters as attributes over a real MRML node, which tells of every change."""
    hints = typing.get_type_hints(cls, include_extras=True)
    defaults = {name: getattr(cls, name, None) for name in hints}

    class Wrapper:
        fields = hints

        def __init__(self, node):
            object.__setattr__(self, "node", node)
            if not hasattr(node, "values"):
                node.values = dict(defaults)

        def __getattr__(self, name):
            if name in hints:
                return self.node.values[name]
            return getattr(self.node, name)

        def __setattr__(self, name, value):
            for choice in getattr(hints[name], "__metadata__", ()):
                if value not in choice.choices:
                    raise ValueError(f"{name} = {value}")
            self.node.values[name] = value
            self.node.Modified()

        def connectGui(self, ui):
            return "tag"

        def disconnectGui(self, tag):
            assert tag == "tag"

    return Wrapper


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = types.SimpleNamespace(isEntered=True)
        self.layout = types.SimpleNamespace(addWidget=lambda widget: None)
        self.reloaded = False

    def setup(self):
        pass

    def onReload(self):
        self.reloaded = True

    def resourcePath(self, name):
        return str(ROOT / "SAMLiverTumor" / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def getParameterNode(self):
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
        return node or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


def ui_widgets() -> dict[str, ElementTree.Element]:
    """The widgets of the panel's .ui file by name."""
    tree = ElementTree.parse(ROOT / "SAMLiverTumor" / "Resources" / "UI" / "SAMLiverTumor.ui")
    return {element.get("name"): element for element in tree.iter("widget")}


def load() -> types.ModuleType:
    """Import the real SAMLiverTumor.py, as Slicer does: with only its own folder on the path."""
    for name in ("qt", "ctk"):
        module = types.ModuleType(name)
        module.__getattr__ = lambda attribute: type(attribute, (Anything,), {})
        sys.modules[name] = module
    slicer.mrmlScene = slicer.vtkMRMLScene()
    connected = []
    slicer.app = types.SimpleNamespace(
        connect=lambda signal, slot: connected.append((signal, slot)),
        connected=connected,
        testingEnabled=lambda: True,
        processEvents=lambda: None,
        setOverrideCursor=lambda cursor: None,
        restoreOverrideCursor=lambda: None,
    )
    slicer.util.loadUI = lambda path: FakeWidget()
    slicer.util.childWidgetVariables = lambda widget: types.SimpleNamespace(
        **{name: FakeWidget() for name in ui_widgets()}
    )
    real_layer = os.environ.get("SAM_LIVER_TUMOR_SLICER_PYTHON")
    if real_layer:
        slicer.__path__.append(str(Path(real_layer) / "slicer"))
        slicer.qMRMLNodeComboBox = Anything
    else:
        put("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text)
        put("slicer.parameterNodeWrapper", Choice=Choice, parameterNodeWrapper=parameterNodeWrapper)
        put("slicer.packaging", load_requirements=lambda path: [path], pip_ensure=lambda *a, **k: None)
        put(
            "slicer.ScriptedLoadableModule",
            ScriptedLoadableModule=ScriptedLoadableModule,
            ScriptedLoadableModuleWidget=ScriptedLoadableModuleWidget,
            ScriptedLoadableModuleLogic=ScriptedLoadableModuleLogic,
            ScriptedLoadableModuleTest=unittest.TestCase,
        )
    sys.path.append(str(ROOT / "SAMLiverTumor"))
    return importlib.import_module("SAMLiverTumor")


def put(name: str, **contents) -> None:
    """Make a module of the given contents importable, as an attribute of its parent too."""
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(importlib.import_module(parent), child, module)
