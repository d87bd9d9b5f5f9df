"""qSlicerMarkupsPlaceWidget over the scene's own selection and interaction nodes."""

import enum

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from . import qt_module as qt
from .observing import Observing


class PlaceMultipleMarkupsType(enum.IntEnum):
    """Whether place mode goes on after a point."""

    ShowPlaceMultipleMarkupsOption = 0
    HidePlaceMultipleMarkupsOption = 1
    ForcePlaceSingleMarkup = 2
    ForcePlaceMultipleMarkups = 3


class qSlicerMarkupsPlaceWidget(qt.QWidget, Observing):
    """Buttons that start placing points of a markups node, and delete the last or all."""

    activeMarkupsPlaceModeChanged = QtCore.Signal(bool)
    activeMarkupsFiducialPlaceModeChanged = QtCore.Signal(bool)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = self._node = None
        self._multiple = PlaceMultipleMarkupsType.ShowPlaceMultipleMarkupsOption
        self._lastSignaled = False
        self._color = qt.QToolButton()
        self._place = qt.QToolButton()
        self._place.icon = QtGui.QIcon(_target())
        self._place.checkable = True
        self._place.toolTip = "Place a control point"
        self._delete = qt.QToolButton()
        self._delete.text = "✕"
        self._delete.toolTip = "Delete last added control point"
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self._color, self._place, self._delete):
            layout.addWidget(button)
        self._place.clicked.connect(self.setPlaceModeEnabled)
        self._delete.clicked.connect(lambda: self.deleteLastPoint())
        self._update()

    def placeButton(self):
        return self._place

    def deleteButton(self):
        return self._delete

    def currentNode(self):
        return self._node

    currentMarkupsNode = currentNode

    def mrmlScene(self):
        return self._scene

    def interactionNode(self):
        return self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton") if self._scene else None

    def selectionNode(self):
        return self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton") if self._scene else None

    def setMRMLScene(self, scene) -> None:
        self._scene = scene
        self._reconnect()

    def setCurrentNode(self, node) -> None:
        self._node = node if node is not None and node.IsA("vtkMRMLMarkupsNode") else None
        self._reconnect()

    def _reconnect(self) -> None:
        self.stopObserving()
        modified = vtk.vtkCommand.ModifiedEvent
        for source in (self.interactionNode(), self.selectionNode()):
            if source:
                self.observe(source, modified, self._update)
        if self._node:
            markups = slicer.vtkMRMLMarkupsNode
            for event in (
                modified,
                markups.PointAddedEvent,
                markups.PointRemovedEvent,
                markups.PointPositionDefinedEvent,
            ):
                self.observe(self._node, event, self._update)
            self.observe(self._node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._update)
        self._update()

    def isCurrentNodeActive(self) -> bool:
        selection = self.selectionNode()
        if not self._node or not selection or not self._node.GetID():
            return False
        active = (selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID())
        return active == (self._node.GetClassName(), self._node.GetID())

    def setCurrentNodeActive(self, active: bool) -> None:
        if active != self.isCurrentNodeActive():
            slicer.modules.markups.logic().SetActiveList(self._node if active else None)

    def isPlaceModeEnabled(self) -> bool:
        interaction = self.interactionNode()
        return self.isCurrentNodeActive() and interaction.GetCurrentInteractionMode() == interaction.Place

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        interaction = self.interactionNode()
        if not interaction or not self._node:
            return
        if not enabled:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            return
        self.setCurrentNodeActive(True)
        self._applyMultiple()
        interaction.SetCurrentInteractionMode(interaction.Place)

    def setPlaceMultipleMarkups(self, option: int) -> None:
        self._multiple = PlaceMultipleMarkupsType(option)
        if self.isPlaceModeEnabled():
            self._applyMultiple()

    def _applyMultiple(self) -> None:
        if self._multiple in (self.ForcePlaceSingleMarkup, self.ForcePlaceMultipleMarkups):
            self.setPlaceModePersistency(self._multiple == self.ForcePlaceMultipleMarkups)

    def setPlaceModePersistency(self, persistent: bool) -> None:
        self.interactionNode().SetPlaceModePersistence(persistent)

    def isPlaceModePersistent(self) -> bool:
        return bool(self.interactionNode() and self.interactionNode().GetPlaceModePersistence())

    def deleteLastPoint(self) -> None:
        if self._node and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        if self._node:
            self._node.RemoveAllControlPoints()

    def setButtonsVisible(self, visible: bool) -> None:
        for button in (self._color, self._place, self._delete):
            button.setVisible(visible)

    def _update(self, caller=None, event=None) -> None:
        ready = self._scene is not None and self._node is not None
        points = self._node.GetNumberOfControlPoints() if ready else 0
        self._color.enabled = ready
        self._place.enabled = ready and not self._node.GetControlPointPlacementComplete()
        self._delete.enabled = points > 0
        self._color.icon = QtGui.QIcon(self._swatch())
        enabled = ready and self.isPlaceModeEnabled()
        self._place.checked = enabled
        if enabled != self._lastSignaled:
            self._lastSignaled = enabled
            self.activeMarkupsFiducialPlaceModeChanged.emit(enabled)
            self.activeMarkupsPlaceModeChanged.emit(enabled)

    def _swatch(self) -> QtGui.QPixmap:
        displayNode = self._node.GetDisplayNode() if self._node else None
        pixmap = QtGui.QPixmap(14, 14)
        rgb = displayNode.GetSelectedColor() if displayNode else (0.75, 0.75, 0.75)
        pixmap.fill(QtGui.QColor.fromRgbF(*rgb))
        return pixmap

    placeModeEnabled = QtCore.Property(bool, isPlaceModeEnabled, setPlaceModeEnabled)
    placeModePersistency = QtCore.Property(bool, isPlaceModePersistent, setPlaceModePersistency)
    currentNodeActive = QtCore.Property(bool, isCurrentNodeActive, setCurrentNodeActive)
    placeMultipleMarkups = QtCore.Property(int, lambda self: self._multiple, setPlaceMultipleMarkups)
    buttonsVisible = QtCore.Property(bool, lambda self: not self._place.isHidden(), setButtonsVisible)


def _target() -> QtGui.QPixmap:
    """A cross-hair, for the place button."""
    pixmap = QtGui.QPixmap(14, 14)
    pixmap.fill(QtCore.Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(pixmap)
    painter.drawEllipse(2, 2, 9, 9)
    painter.drawLine(6, 0, 6, 13)
    painter.drawLine(0, 6, 13, 6)
    painter.end()
    return pixmap


for _option in PlaceMultipleMarkupsType:
    setattr(qSlicerMarkupsPlaceWidget, _option.name, _option)
