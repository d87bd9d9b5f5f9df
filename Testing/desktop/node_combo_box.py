"""qMRMLNodeComboBox over the real scene.

Chosen by itself, as in Slicer: without None and without actions in the list the first node that fits; after the
current node is removed the next one, else the last. Differs: the list is flat, in the order of the scene.
"""

from typing import ClassVar

import vtk
from PySide6 import QtCore, QtWidgets

from . import qt_module as qt
from .dialogs import ask
from .observing import Observing

_LABELS = {
    "vtkMRMLScalarVolumeNode": "Volume",
    "vtkMRMLLabelMapVolumeNode": "Volume",
    "vtkMRMLMarkupsFiducialNode": "Point List",
    "vtkMRMLMarkupsROINode": "ROI",
    "vtkMRMLSegmentationNode": "Segmentation",
    "vtkMRMLTableNode": "Table",
}


def _flag(name: str) -> QtCore.Property:
    def write(self, value: bool) -> None:
        self._options[name] = value
        self._refresh()

    return QtCore.Property(bool, lambda self: self._options[name], write)


class qMRMLNodeComboBox(qt.QWidget, Observing):
    """Selects one of the scene's nodes of some classes; can add, rename and delete."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeValid = QtCore.Signal(bool)
    currentNodeIDChanged = QtCore.Signal(str)
    currentNodeRenamed = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    signatures: ClassVar = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "currentNodeValid",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "nodeAboutToBeRemoved",
    }
    noneEnabled = _flag("noneEnabled")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    renameEnabled = _flag("renameEnabled")
    editEnabled = _flag("editEnabled")
    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes")
    selectNodeUponCreation = _flag("selectNodeUponCreation")
    setNoneEnabled, setAddEnabled, setRemoveEnabled = noneEnabled.fset, addEnabled.fset, removeEnabled.fset
    setRenameEnabled, setShowChildNodeTypes = renameEnabled.fset, showChildNodeTypes.fset

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._options = dict.fromkeys(
            ("noneEnabled", "removeEnabled", "renameEnabled", "editEnabled", "showHidden"), False
        )
        self._options.update(addEnabled=True, removeEnabled=True, showChildNodeTypes=True, selectNodeUponCreation=True)
        self._types, self._baseName, self._noneDisplay, self._attributes = [], "", "None", []
        self._scene = self._current = None
        self._box = QtWidgets.QComboBox()
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._box.activated.connect(self._onActivated)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Fixed)
        self.enabled = False

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is self._scene:
            return
        self.stopObserving()
        self._scene = scene
        self.enabled = scene is not None
        if scene is None:
            self._choose(None)
            self._refresh()
            return
        self.observe(scene, scene.NodeAddedEvent, self._onAdded)
        self.observe(scene, scene.NodeAboutToBeRemovedEvent, self._onAboutToBeRemoved)
        self.observe(scene, scene.NodeRemovedEvent, self._onRemoved)
        for node in self._fitting():
            self.observe(node, vtk.vtkCommand.ModifiedEvent, self._onNodeModified)
        self._choose(self._current if self._current in self._fitting() else None)
        self._refresh()

    def nodeCount(self) -> int:
        return len(self._fitting())

    def nodeFromIndex(self, index: int):
        return self._fitting()[index]

    def currentNode(self):
        return self._current

    def currentNodeId(self) -> str:
        return self._current.GetID() if self._current else ""

    def setCurrentNode(self, node) -> None:
        self._choose(node if node in self._fitting() else None)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(nodeID) if self._scene and nodeID else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def addAttribute(self, nodeType: str, name: str, value: str | None = None) -> None:
        self._attributes.append((nodeType, name, value))
        self._refresh()

    def addNode(self, nodeType: str | None = None):
        """What the entry "Create new ..." does."""
        node = self._scene.CreateNodeByClass(nodeType or self._types[0])
        node.UnRegister(None)
        prefix = self._baseName or node.GetDefaultNodeNamePrefix()
        node.SetName(self._scene.GetUniqueNameByString(prefix))
        for _, name, value in self._attributes:
            node.SetAttribute(name, value or "")
        node = self._scene.AddNode(node)
        if self._options["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """What the entry "Delete current ..." does."""
        self._scene.RemoveNode(self._current)

    def renameCurrentNode(self) -> None:
        """What the entry "Rename current ..." does; the name is asked."""
        name = ask("qMRMLNodeComboBox.rename", "Rename", self._current.GetName()) if self._current else ""
        if name:
            self._current.SetName(name)
            self.currentNodeRenamed.emit(name)

    def itemTexts(self) -> list[str]:
        """What the opened list reads; not in Slicer, for tests."""
        return [self._box.itemText(index) for index in range(self._box.count)]

    def _setTypes(self, types: list[str]) -> None:
        self._types = list(types)
        self._refresh()

    def _setNoneDisplay(self, text: str) -> None:
        self._noneDisplay = text
        self._refresh()

    nodeTypes = QtCore.Property("QStringList", lambda self: self._types, _setTypes)
    baseName = QtCore.Property(str, lambda self: self._baseName, lambda self, text: setattr(self, "_baseName", text))
    noneDisplay = QtCore.Property(str, lambda self: self._noneDisplay, _setNoneDisplay)
    currentNodeID = QtCore.Property(str, currentNodeId, setCurrentNodeID)

    def _fits(self, node) -> bool:
        exact = node.GetClassName() in self._types
        if not exact and not (self._options["showChildNodeTypes"] and any(node.IsA(name) for name in self._types)):
            return False
        if node.GetHideFromEditors() and not self._options["showHidden"]:
            return False
        for nodeType, name, value in self._attributes:
            found = node.GetAttribute(name)
            if node.IsA(nodeType) and (found is None or value not in (None, found)):
                return False
        return True

    def _fitting(self) -> list:
        scene = self._scene
        nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene else []
        return [node for node in nodes if self._fits(node)]

    def _choose(self, node) -> None:
        if node is self._current:
            return
        self._current = node
        self._select()
        self.currentNodeChanged.emit(node)
        self.currentNodeValid.emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def _refresh(self) -> None:
        label = _LABELS.get(self._types[0], self._types[0]) if len(self._types) == 1 else "node"
        actions = [
            (f"{verb} {label}", name)
            for name, verb in (("rename", "Rename current"), ("add", "Create new"), ("remove", "Delete current"))
            if self._options[f"{name}Enabled"] and self._scene
        ]
        nodes = self._fitting()
        self._box.clear()
        if self._options["noneEnabled"]:
            self._box.addItem(self._noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        if actions:
            self._box.insertSeparator(self._box.count)
        for text, name in actions:
            self._box.addItem(text, f"action/{name}")
        self._box.setPlaceholderText(f"Select a {label}")
        self._select()
        if self._current is None and nodes and not self._options["noneEnabled"] and not actions:
            self._choose(nodes[0])

    def _select(self) -> None:
        self._box.setCurrentIndex(self._box.findData(self.currentNodeId()))

    def _onActivated(self, index: int) -> None:
        data = self._box.itemData(index) or ""
        if data.startswith("action/"):
            self._select()
            {"add": self.addNode, "remove": self.removeCurrentNode, "rename": self.renameCurrentNode}[data[7:]]()
            return
        self.setCurrentNodeID(data)
        self.nodeActivated.emit(self._current)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onAdded(self, scene, event, node) -> None:
        if self._fits(node):
            self.observe(node, vtk.vtkCommand.ModifiedEvent, self._onNodeModified)
            self._refresh()
            self.nodeAdded.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onAboutToBeRemoved(self, scene, event, node) -> None:
        if not self._fits(node):
            return
        self.nodeAboutToBeRemoved.emit(node)
        self.stopObserving(node)
        if node is self._current:
            self._row = self._fitting().index(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onRemoved(self, scene, event, node) -> None:
        if not self._fits(node):
            return
        if node is self._current:
            left = self._fitting()
            self._choose(left[min(self._row, len(left) - 1)] if left else None)
        self._refresh()

    def _onNodeModified(self, node, event) -> None:
        index = self._box.findData(node.GetID())
        if index < 0 or self._box.itemText(index) != node.GetName():
            self._refresh()
