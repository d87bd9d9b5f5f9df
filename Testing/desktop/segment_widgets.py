"""qMRMLSegmentSelectorWidget and qMRMLSegmentsTableView over a real segmentation node."""

from typing import ClassVar

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from . import qt_module as qt
from .node_combo_box import qMRMLNodeComboBox
from .observing import Observing


def segmentIds(segmentationNode) -> list[str]:
    """The segments of a node, or of none, in order."""
    return list(segmentationNode.GetSegmentation().GetSegmentIDs()) if segmentationNode else []


def _observeSegments(widget: Observing, segmentationNode, method) -> None:
    widget.stopObserving()
    if segmentationNode:
        segmentation = slicer.vtkSegmentation
        for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
            widget.observe(segmentationNode.GetSegmentation(), event, method)


class qMRMLSegmentSelectorWidget(qt.QWidget, Observing):
    """Selects a segmentation node and one of its segments."""

    currentNodeChanged = QtCore.Signal(object)
    currentSegmentChanged = QtCore.Signal(str)
    signatures: ClassVar = {"currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._nodes = qMRMLNodeComboBox()
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodes.addEnabled = self._nodes.removeEnabled = False
        self._segments = QtWidgets.QComboBox()
        self._segmentId = ""
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nodes, 1)
        layout.addWidget(self._segments, 1)
        self._nodes.currentNodeChanged.connect(self._onNode)
        self._segments.activated.connect(lambda index: self.setCurrentSegmentID(self._segments.itemData(index) or ""))

    def setMRMLScene(self, scene) -> None:
        self._nodes.setMRMLScene(scene)

    def currentNode(self):
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return self._nodes.currentNodeId()

    def setCurrentNode(self, node) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._nodes.setCurrentNodeID(nodeID)

    def segmentIDs(self) -> list[str]:
        return segmentIds(self.currentNode())

    def currentSegmentID(self) -> str:
        return self._segmentId

    def setCurrentSegmentID(self, segmentId: str) -> None:
        segmentId = segmentId if segmentId in self.segmentIDs() else ""
        self._segments.setCurrentIndex(self._segments.findData(segmentId))
        if segmentId != self._segmentId:
            self._segmentId = segmentId
            self.currentSegmentChanged.emit(segmentId)

    def _onNode(self, node) -> None:
        _observeSegments(self, node, self._fill)
        self._fill()
        self.currentNodeChanged.emit(node)

    def _fill(self, caller=None, event=None) -> None:
        node = self.currentNode()
        self._segments.clear()
        if self._nodes.noneEnabled:
            self._segments.addItem("None", "")
        for segmentId in self.segmentIDs():
            self._segments.addItem(node.GetSegmentation().GetSegment(segmentId).GetName(), segmentId)
        kept = self._segmentId if self._segmentId in self.segmentIDs() else ""
        self.setCurrentSegmentID(kept or ("" if self._nodes.noneEnabled else next(iter(self.segmentIDs()), "")))

    noneEnabled = QtCore.Property(
        bool, lambda self: self._nodes.noneEnabled, lambda self, value: self._nodes.setNoneEnabled(value)
    )
    segmentationNodeSelectorVisible = QtCore.Property(
        bool, lambda self: not self._nodes.isHidden(), lambda self, value: self._nodes.setVisible(value)
    )
    setSegmentationNodeSelectorVisible = segmentationNodeSelectorVisible.fset


class qMRMLSegmentsTableView(qt.QWidget, Observing):
    """A table of a node's segments: visibility, color, name. Names can be edited."""

    selectionChanged = QtCore.Signal(QtCore.QItemSelection, QtCore.QItemSelection)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._node, self._ids, self._filling = None, [], False
        self._table = QtWidgets.QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["Visible", "Color", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        for column, width in enumerate((60, 45)):
            self._table.setColumnWidth(column, width)
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self._onSelection)
        self._table.itemChanged.connect(self._onEdited)

    def setMRMLScene(self, scene) -> None:
        self.setSegmentationNode(None)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node) -> None:
        self._node = node
        _observeSegments(self, node, self._fill)
        self._fill()

    def segmentIDForRow(self, row: int) -> str:
        return self._ids[row]

    def rowForSegmentID(self, segmentId: str) -> int:
        return self._ids.index(segmentId) if segmentId in self._ids else -1

    def selectedSegmentIDs(self) -> list[str]:
        return [self._ids[index.row()] for index in self._table.selectionModel().selectedRows()]

    def setSelectedSegmentIDs(self, segmentIDs: list[str]) -> None:
        self._table.clearSelection()
        for segmentId in segmentIDs:
            self._table.selectRow(self.rowForSegmentID(segmentId))

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def setSelectionMode(self, mode) -> None:
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(mode))

    def _onSelection(self, selected, deselected) -> None:
        if not self._filling:
            self.selectionChanged.emit(selected, deselected)

    def _onEdited(self, item) -> None:
        if not self._filling and item.column() == 2:
            self._node.GetSegmentation().GetSegment(self._ids[item.row()]).SetName(item.text())

    def _fill(self, caller=None, event=None) -> None:
        selected = self.selectedSegmentIDs()
        self._filling = True
        self._ids = segmentIds(self._node)
        self._table.setRowCount(len(self._ids))
        for row, segmentId in enumerate(self._ids):
            segment = self._node.GetSegmentation().GetSegment(segmentId)
            displayNode = self._node.GetDisplayNode()
            shown = not displayNode or displayNode.GetSegmentVisibility(segmentId)
            color = QtWidgets.QTableWidgetItem()
            color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            for column, item in enumerate((QtWidgets.QTableWidgetItem("●" if shown else "○"), color)):
                item.setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled | QtCore.Qt.ItemFlag.ItemIsSelectable)
                self._table.setItem(row, column, item)
            self._table.setItem(row, 2, QtWidgets.QTableWidgetItem(segment.GetName()))
        self.setSelectedSegmentIDs([segmentId for segmentId in selected if segmentId in self._ids])
        self._filling = False

    headerVisible = QtCore.Property(
        bool,
        lambda self: not self._table.horizontalHeader().isHidden(),
        lambda self, value: self._table.horizontalHeader().setVisible(value),
    )
    setHeaderVisible = headerVisible.fset
    segmentCount = QtCore.Property(int, lambda self: len(self._ids))
    selectionMode = QtCore.Property(int, lambda self: self._table.selectionMode().value, setSelectionMode)
