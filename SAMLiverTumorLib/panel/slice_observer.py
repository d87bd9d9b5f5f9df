"""`Slices`: keeps the session informed about the current slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import slicer.util

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import View, viewFromMatrix
from SAMLiverTumorLib.panel.section_context import Shared
from SAMLiverTumorLib.plane import slice_count, within_step
from SAMLiverTumorLib.volume import Volume

VIEW = "view"


class Slices:
    """Observes the slice nodes of the layout, or of the scene if there is no layout.

    :param onMoved: called when the user has moved to another slice.
    """

    def __init__(self, shared: Shared, onMoved: Callable[[], None]) -> None:
        self._shared, self._onMoved = shared, onMoved
        self._observations = Observations()
        #: The slice view that the user used last.
        self._last: slicer.vtkMRMLSliceNode | None = None
        self._reported: tuple | None = None
        shared.session.onMoved.append(self._show)
        self.observe()

    def observe(self) -> None:
        """Observe the current slice views."""
        scene = slicer.mrmlScene
        self._observations.clear()
        self._last = None
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self._observations.add(self, scene, event, self._onNodes)
        self._nodes = self._sliceNodes()
        for node in self._nodes:
            self._observations.add(self, node, "ModifiedEvent", self._onModified, node)
        self._crosshairNode = crosshairNode = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshairNode is not None:
            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._observations.add(self, crosshairNode, event, self._onCursor, crosshairNode)

    def apply(self) -> None:
        """Set the session's slice again, after a change of volume or orientation."""
        parameters = self._shared.parameters
        if not self._shared.isActive():
            return
        volume = self._shared.state.volume
        if parameters is None or volume is None:
            self._report(None)
            return
        looks = self._looks(volume)
        name = parameters.plane
        if name != VIEW:
            looks = [look for look in looks if look[0].name == name]
        middle = View("axial" if name == VIEW else name)
        middle = View(middle.name, slice_count(volume, middle.name) // 2)
        self._report(*(looks[0] if looks else (middle, None)))

    def _show(self, placesRas: np.ndarray) -> None:
        """Move the views to what undo or redo has changed, unless one of them shows some of it."""
        volume = self._shared.state.volume
        if volume is None or not self._shared.isActive():
            return
        planes = [view.plane(volume) for view, _matrix in self._looks(volume)]
        if any(within_step(plane.from_ras(placesRas)[:, 2]).any() for plane in planes):
            return
        # the view used last comes last, so that it stays that
        for node in sorted(self._nodes, key=lambda node: node is self._last):
            node.JumpSliceByOffsetting(*placesRas[0])

    def close(self) -> None:
        """Release the scene."""
        self._observations.clear()
        if self._show in self._shared.session.onMoved:
            self._shared.session.onMoved.remove(self._show)
        self._last = self._crosshairNode = None
        self._nodes = []

    def _looks(self, volume: Volume) -> list[tuple[View, np.ndarray]]:
        """The slices that the views show, with their SliceToRAS matrices; the view used last comes first."""
        looks = []
        for node in sorted(self._nodes, key=lambda node: node is not self._last):
            matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
            try:
                looks.append((viewFromMatrix(volume, matrix), matrix))
            except SAMLiverTumorError:
                continue  # beside the volume
        return looks

    def _report(self, view: View | None, matrix: np.ndarray | None = None) -> None:
        session = self._shared.session
        if view is None:
            session.setPlane(None)
        elif matrix is None:
            session.setPlane(view.name, view.index)
        else:
            session.setPlane(matrix)
        reported = (view.key if view is not None else None, session.volumeNode)
        if reported != self._reported:
            self._reported = reported
            self._onMoved()

    @staticmethod
    def _sliceNodes() -> list[slicer.vtkMRMLSliceNode]:
        layoutManager = slicer.app.layoutManager()
        if layoutManager is not None:
            widgets = [layoutManager.sliceWidget(name) for name in layoutManager.sliceViewNames()]
            nodes = [widget.mrmlSliceNode() for widget in widgets if widget is not None]
            if nodes:
                return nodes
        return list(slicer.util.getNodesByClass("vtkMRMLSliceNode"))

    def _onNodes(self) -> None:
        if slicer.mrmlScene.IsClosing():
            return
        crosshairNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if self._sliceNodes() != self._nodes or crosshairNode is not self._crosshairNode:
            self.observe()

    def _onModified(self, node: slicer.vtkMRMLSliceNode) -> None:
        self._last = node
        self.apply()

    def _onCursor(self, crosshairNode: slicer.vtkMRMLCrosshairNode) -> None:
        # A click goes to the view under the mouse, which may not be the one that was scrolled last.
        node = crosshairNode.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        if node is not None and node is not self._last and node in self._nodes:
            self._last = node
            self.apply()
