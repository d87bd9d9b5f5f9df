"""The Qt classes that Slicer puts into the package `slicer`."""

from typing import ClassVar

import vtk
from PySide6 import QtCore, QtGui

from . import qt_module as qt
from .node_combo_box import qMRMLNodeComboBox
from .observing import Observing
from .place_widget import qSlicerMarkupsPlaceWidget
from .segment_widgets import qMRMLSegmentSelectorWidget, qMRMLSegmentsTableView

__all__ = [
    "qMRMLNodeComboBox",
    "qMRMLSegmentSelectorWidget",
    "qMRMLSegmentsTableView",
    "qMRMLTableView",
    "qMRMLWidget",
    "qSlicerMarkupsPlaceWidget",
    "qSlicerWidget",
]
# Slicer's own parameterNodeWrapper and slicer.util compare with these, without making any.
NAMED_ONLY = ("qMRMLSliderWidget", "qMRMLRangeWidget", "qMRMLSpinBox")


class qMRMLWidget(qt.QWidget):
    """The root of a panel: passes the scene to its children through the .ui file's connections."""

    mrmlSceneChanged = QtCore.Signal(object)
    signatures: ClassVar = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    pass


class qMRMLTableView(qt.QTableView, Observing):
    """Shows a vtkMRMLTableNode, read only."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._node = None
        self._model = QtGui.QStandardItemModel(self)
        self.setModel(self._model)
        self.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)

    def setMRMLScene(self, scene) -> None:
        pass

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node) -> None:
        self.stopObserving()
        self._node = node
        if node:
            self.observe(node, vtk.vtkCommand.ModifiedEvent, self._fill)
        self._fill()

    def _fill(self, caller=None, event=None) -> None:
        self._model.clear()
        table = self._node.GetTable() if self._node else None
        for column in range(table.GetNumberOfColumns() if table else 0):
            texts = [table.GetValue(row, column).ToString() for row in range(table.GetNumberOfRows())]
            self._model.appendColumn([QtGui.QStandardItem(text) for text in texts])
            self._model.setHorizontalHeaderItem(column, QtGui.QStandardItem(table.GetColumnName(column)))


def __getattr__(name: str):
    raise AttributeError(f"Testing/desktop: there is no {name}; add it to slicer_widgets.py if Slicer has it")
