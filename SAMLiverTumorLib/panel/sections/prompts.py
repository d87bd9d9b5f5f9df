"""The section Prompts: placing points and box, and the list of prompts on the current slice."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.mrml.nodes.conversions import BOX, EXCLUDE, INCLUDE
from SAMLiverTumorLib.mrml.nodes.observations import Observations
from SAMLiverTumorLib.panel.section_context import Shared, enable

_ROLES = (INCLUDE, EXCLUDE, BOX)
_LIST_ROWS = 4


class Prompts:
    """Connects the place buttons to Slicer's place mode, and the list to the session.

    :param ensureSegment: makes sure there is a segment to prompt; returns False if that is not possible.
    """

    def __init__(self, shared: Shared, ensureSegment: Callable[[], bool]) -> None:
        self._shared, self._ui, self._ensureSegment = shared, shared.ui, ensureSegment
        self._observations = Observations()
        ui = self._ui
        self._buttons = dict(zip(_ROLES, (ui.includeButton, ui.excludeButton, ui.boxButton), strict=True))
        self._toolTips = {role: button.toolTip for role, button in self._buttons.items()}
        for role, button in self._buttons.items():
            button.connect("clicked(bool)", lambda checked, role=role: self.place(role, checked))
        ui.clearSliceButton.connect("clicked(bool)", lambda checked: shared.session.clearSlice())
        ui.clearAllButton.connect("clicked(bool)", lambda checked: shared.session.clearAll())
        ui.removePromptButton.connect("clicked(bool)", self._onRemove)
        ui.promptsList.connect("currentRowChanged(int)", self._updateRemove)
        ui.promptsList.setFixedHeight(_LIST_ROWS * (ui.promptsList.fontMetrics().height() + 4))
        self._listed: list[tuple] = []
        self._observePlacing()

    def place(self, role: str, on: bool = True) -> None:
        """Start placing prompts of a role by clicks in the slice views, or stop."""
        applicationLogic = slicer.app.applicationLogic()
        interactionNode, selectionNode = applicationLogic.GetInteractionNode(), applicationLogic.GetSelectionNode()
        if not on:
            interactionNode.SetCurrentInteractionMode(interactionNode.ViewTransform)
            if self._shared.session.message in self._hints():
                self._shared.session.message = ""
        elif self._ensureSegment():
            node = self._shared.session.promptNodes[_ROLES.index(role)]
            if role == BOX and node.GetNumberOfControlPoints():
                node.RemoveAllControlPoints()
            selectionNode.SetReferenceActivePlaceNodeClassName(node.GetClassName())
            selectionNode.SetReferenceActivePlaceNodeID(node.GetID())
            # several points in a row, but only one box
            interactionNode.SetPlaceModePersistence(int(role != BOX))
            interactionNode.SetCurrentInteractionMode(interactionNode.Place)
            self._shared.session.message = self._hints()[role == BOX]
        self._shared.follow()

    @staticmethod
    def _hints() -> tuple[str, str]:
        """What to do in place mode, for points and for the box."""
        return _("Click in a slice view."), _("Draw in a slice view.")

    def toggle(self, role: str) -> None:
        """Start or stop placing, as the button does."""
        if self._buttons[role].enabled:
            self.place(role, self.placing != role)

    def stopPlacing(self) -> None:
        """Leave place mode if it places one of our nodes."""
        if self.placing:
            self.place(self.placing, False)

    @property
    def placing(self) -> str:
        """The role that clicks currently place; empty if none."""
        applicationLogic = slicer.app.applicationLogic()
        interactionNode, selectionNode = applicationLogic.GetInteractionNode(), applicationLogic.GetSelectionNode()
        if interactionNode.GetCurrentInteractionMode() != interactionNode.Place:
            return ""
        active = selectionNode.GetActivePlaceNodeID()
        nodes = self._shared.state.existingPromptNodes
        return next((role for role, node in nodes.items() if active and node.GetID() == active), "")

    def update(self) -> None:
        """Update the buttons and the list."""
        session, ui = self._shared.session, self._ui
        missing = "" if session.volumeNode is not None else _("Choose a volume.")
        placing = self.placing
        for role, button in self._buttons.items():
            enable(button, missing, self._toolTips[role])
            button.checked = role == placing
        self._updateList()
        none = _("There are no prompts on this slice.") if not self._listed else ""
        enable(ui.clearSliceButton, none, _("Remove the prompts on the current slice. Undo restores them."))
        nowhere = _("This segment has no prompts.") if not self._hasPrompts() else ""
        enable(ui.clearAllButton, nowhere, _("Remove all prompts of this segment. Undo restores them."))
        self._reference()

    def close(self) -> None:
        """Release the scene and the place mode."""
        self.stopPlacing()
        self._observations.clear()

    def _observePlacing(self) -> None:
        applicationLogic = slicer.app.applicationLogic()
        for node in (applicationLogic.GetInteractionNode(), applicationLogic.GetSelectionNode()):
            self._observations.add(self, node, "ModifiedEvent", self._onPlacing)

    def _onPlacing(self) -> None:
        placing = self.placing
        for role, button in self._buttons.items():
            button.checked = role == placing

    def _hasPrompts(self) -> bool:
        nodes = self._shared.state.existingPromptNodes
        return bool(self._listed) or any(node.GetNumberOfControlPoints() for node in nodes.values())

    def _updateList(self) -> None:
        session, ui = self._shared.session, self._ui
        view, promptsList = session.view, self._ui.promptsList
        ui.sliceLabel.text = _sliceText(view)
        names = {INCLUDE: _("Include"), EXCLUDE: _("Exclude")}
        listed = [
            (role, index, f"{names[role]} {index + 1}:  R {r:.1f}  A {a:.1f}  S {s:.1f} mm")
            for role, index, (r, a, s) in session.promptsOnSlice()
        ]
        size = self._shared.state.boxSizeOnSlice()
        if size is not None:
            listed.append((BOX, -1, _("Box") + ":  " + " \u00d7 ".join(f"{edge:.1f}" for edge in size) + " mm"))
        if listed != self._listed:
            row = promptsList.currentRow
            self._listed = listed
            promptsList.clear()
            for entry in listed:
                promptsList.addItem(entry[2])
            promptsList.setCurrentRow(min(row, len(listed) - 1))
        self._updateRemove()

    def _updateRemove(self) -> None:
        chosen = 0 <= self._ui.promptsList.currentRow < len(self._listed)
        missing = "" if chosen else _("Choose a prompt in the list.")
        enable(self._ui.removePromptButton, missing, _("Remove the prompt chosen in the list. Undo restores it."))

    def _onRemove(self) -> None:
        row = self._ui.promptsList.currentRow
        if not 0 <= row < len(self._listed):
            return
        role, index, _text = self._listed[row]
        node = self._shared.state.existingPromptNodes[role]
        if role == BOX:
            node.RemoveAllControlPoints()
        else:
            node.RemoveNthControlPoint(index)
        self._shared.follow()

    def _reference(self) -> None:
        """Reference the segment's prompt nodes in the parameter node."""
        parameters = self._shared.parameters
        if parameters is None or slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsBatchProcessing():
            return
        nodes = self._shared.state.existingPromptNodes
        if len(nodes) == len(_ROLES):
            for name, role in (("include", INCLUDE), ("exclude", EXCLUDE), ("roi", BOX)):
                if getattr(parameters, name) is not nodes[role]:
                    setattr(parameters, name, nodes[role])


def _sliceText(view: object) -> str:
    if view is None:
        return _("no slice of the volume")
    return _("oblique") if view.index is None else f"{view.name} {view.index}"
