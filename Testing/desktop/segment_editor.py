"""Segment Editor over its real logic: the editor widget, its effects, and the module that has one.

Real: `vtkSlicerSegmentEditorLogic` with its undo history, masking and overwrite rules. Written here: which effect is
active and which calls it gets, the Undo and Redo buttons, the options frame. Paint is one stroke of given voxels.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer
import vtk
from PySide6 import QtCore

from . import qt_module as qt
from .observing import Observing
from .slicer_widgets import qMRMLWidget

_TAG = "SegmentEditor"


class qSlicerSegmentEditorEffectFactory(qt.QObject):
    """Knows the registered effects."""

    effectRegistered = QtCore.Signal(str)
    _only = None

    def __init__(self) -> None:
        super().__init__()
        self._effects = {}

    @classmethod
    def instance(cls):
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def registerEffect(self, effect) -> bool:
        if not effect.name or effect.name in self._effects:
            raise ValueError(f"Testing/desktop: effect {effect.name!r} has no name or is there already")
        self._effects[effect.name] = effect
        self.effectRegistered.emit(effect.name)
        return True


class qSlicerSegmentEditorScriptedEffect(qt.QObject):
    """The C++ side of an effect written in Python, loaded as Slicer does: named after folder and file."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self._name = self._title = ""
        self._perSegment = self._requireSegments = self._cursor = True
        self._python = self._node = self._saveState = None
        self._frame = qt.QFrame()
        qt.QVBoxLayout(self._frame)

    def _get(name):
        return lambda self: getattr(self, name)

    def _set(name):
        return lambda self, value: setattr(self, name, value)

    name = QtCore.Property(str, _get("_name"), _set("_name"))
    title = QtCore.Property(str, _get("_title"), _set("_title"))
    perSegment = QtCore.Property(bool, _get("_perSegment"), _set("_perSegment"))
    requireSegments = QtCore.Property(bool, _get("_requireSegments"), _set("_requireSegments"))
    showEffectCursorInSliceView = QtCore.Property(bool, _get("_cursor"), _set("_cursor"))
    del _get, _set

    def setPythonSource(self, path: str) -> bool:
        moduleName, className = Path(path).parent.name, Path(path).stem
        if "\\" in path or not className.endswith("Effect"):
            raise ValueError(f"Testing/desktop: Slicer would not find the effect's class in {path}")
        if moduleName not in sys.modules:
            spec = importlib.util.spec_from_file_location(moduleName, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[moduleName] = module
        self._python = getattr(sys.modules[moduleName], className)(self)
        setattr(slicer, moduleName, self._python)
        return True

    def self(self):
        return self._python

    def parameterSetNode(self):
        return self._node

    def optionsFrame(self):
        return self._frame

    def addOptionsWidget(self, widget) -> None:
        self._frame.layout().addWidget(widget)

    def saveStateForUndo(self) -> None:
        self._saveState()


class AbstractScriptedSegmentEditorEffect:
    """What effects in Python derive from."""

    def __init__(self, scriptedEffect) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)


class qMRMLSegmentEditorWidget(qMRMLWidget, Observing):
    """Buttons of the effects, undo and redo, and the options of the active effect."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._node = self._active = None
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._effects = {}
        layout = qt.QVBoxLayout(self)
        row = qt.QHBoxLayout()
        layout.addLayout(row)
        self._effectsRow = row
        for name, text, slot in (("UndoButton", "Undo", self.undo), ("RedoButton", "Redo", self.redo)):
            button = qt.QToolButton(self)
            button.objectName, button.text, button.enabled = name, text, False
            button.connect("clicked()", slot)
            row.addWidget(button)
            setattr(self, f"_{text.lower()}Button", button)
        self.observe(self._logic, self._logic.SegmentationHistoryChangedEvent, self._onHistory)
        self.updateEffectList()

    def setMRMLScene(self, scene) -> None:
        super().setMRMLScene(scene)
        self._logic.SetMRMLScene(scene)
        self.updateWidgetFromMRML()

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(count)

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node) -> None:
        if self._node is not None:
            self.stopObserving(self._node)
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        for effect in self._effects.values():
            effect._node = node
        if node is not None:
            self.observe(node, vtk.vtkCommand.ModifiedEvent, self.updateWidgetFromMRML)
        self.updateWidgetFromMRML()

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node else None

    def setSegmentationNode(self, node) -> None:
        self._logic.SetSegmentationNode(node)

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node else None

    def setSourceVolumeNode(self, node) -> None:
        self._logic.SetSourceVolumeNode(node)

    def currentSegmentID(self) -> str:
        return (self._node.GetSelectedSegmentID() or "") if self._node else ""

    def setCurrentSegmentID(self, segmentId: str) -> None:
        self._node.SetSelectedSegmentID(segmentId)

    def updateEffectList(self) -> None:
        """Give the widget an effect of its own of every kind that is registered."""
        for name, registered in qSlicerSegmentEditorEffectFactory.instance()._effects.items():
            if name not in self._effects:
                effect = registered.self().clone()
                effect._saveState, effect._node = self.saveStateForUndo, self._node
                effect.self().setMRMLDefaults()
                button = qt.QToolButton(self)
                button.text, button.icon = effect.title, effect.self().icon()
                self._effectsRow.insertWidget(0, button)
                effect.self().setupOptionsFrame()
                effect.optionsFrame().setVisible(False)
                self.layout().addWidget(effect.optionsFrame())
                self._effects[name] = effect

    def effectByName(self, name: str):
        return self._effects.get(name)

    def activeEffect(self):
        return self._active

    def setActiveEffect(self, effect) -> None:
        if self._node is not None:
            self._node.SetActiveEffectName(effect.name if effect else "")

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self._effects.get(name))

    def updateWidgetFromMRML(self, caller=None, event=None) -> None:
        if self._node is None or slicer.mrmlScene.IsClosing():
            return
        wanted = self._effects.get(self._node.GetActiveEffectName() or "")
        if wanted is not None and wanted.perSegment and not self.currentSegmentID():
            wanted = None
        if wanted is not self._active:
            active, self._active = self._active, wanted
            if active is not None:
                active.optionsFrame().setVisible(False)
                active.self().deactivate()
            if wanted is not None:
                wanted.optionsFrame().setVisible(True)
                wanted.self().updateGUIFromMRML()
                wanted.self().activate()
        self._onHistory()

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def paint(self, array) -> None:
        """Not in Slicer: a stroke of the effect Paint over voxels (bool, (k, j, i) of the source volume)."""
        from vtk.util.numpy_support import numpy_to_vtk

        image = slicer.vtkOrientedImageData()
        image.SetDimensions(*array.shape[::-1])
        scalars = numpy_to_vtk(array.astype("uint8").ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
        image.GetPointData().SetScalars(scalars)
        matrix = vtk.vtkMatrix4x4()
        self.sourceVolumeNode().GetIJKToRASMatrix(matrix)
        image.SetGeometryFromImageToWorldMatrix(matrix)
        self.saveStateForUndo()
        mode = self._logic.ModificationModeAdd
        self._logic.ModifySegmentByLabelmap(self.segmentationNode(), self.currentSegmentID(), image, mode, True, False)

    def _onHistory(self, caller=None, event=None) -> None:
        self._undoButton.enabled, self._redoButton.enabled = self._logic.CanUndo(), self._logic.CanRedo()


class SegmentEditorModuleWidget:
    """The Segment Editor module's panel: one editor over the scene's settings node."""

    def __init__(self) -> None:
        self.editor = qMRMLSegmentEditorWidget()
        self.editor.setMaximumNumberOfUndoStates(10)
        self.selectParameterNode()
        self.editor.setMRMLScene(slicer.mrmlScene)
        qSlicerSegmentEditorEffectFactory.instance().connect("effectRegistered(QString)", self.editor.updateEffectList)

    def selectParameterNode(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(_TAG)
            node = slicer.mrmlScene.AddNode(node)
        self.editor.setMRMLSegmentEditorNode(node)

    def exit(self) -> None:
        """The user opens another module."""
        self.editor.setActiveEffect(None)


def openSegmentEditor() -> SegmentEditorModuleWidget:
    """Open the module Segment Editor, the first time or again."""
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)
    if widget is None:
        widget = slicer.modules.SegmentEditorWidget = SegmentEditorModuleWidget()
    widget.selectParameterNode()
    widget.editor.show()
    return widget


class SegmentEditorModule:
    """`slicer.modules.segmenteditor`; its panel is made when it is first asked for."""

    def widgetRepresentation(self):
        return SimpleNamespace(self=openSegmentEditor)


def modules() -> dict[str, ModuleType | SimpleNamespace]:
    """The Python modules that effects import."""
    return {
        "SegmentEditorEffects": SimpleNamespace(
            AbstractScriptedSegmentEditorEffect=AbstractScriptedSegmentEditorEffect
        ),
        "qSlicerSegmentationsEditorEffectsPythonQt": SimpleNamespace(
            qSlicerSegmentEditorScriptedEffect=qSlicerSegmentEditorScriptedEffect
        ),
    }
