"""The part of section Segment that propagates a tumor through the volume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.panel.voxel_source_selector import INSIDE, Reference

if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.nodes.label_sources import LabelSource


class Volume:
    """Connects the buttons that propagate a tumor up, down or both ways.

    :param prepare: `prepare(go, kinds)` installs packages and models for kinds of prompts and then calls `go()`.
    """

    def __init__(self, shared: Shared, prepare: Callable[[Callable[[], None], frozenset[str]], None]) -> None:
        self._shared, self._ui, self._prepare = shared, shared.ui, prepare
        ui = self._ui
        self._buttons = {"up": ui.propagateUpButton, "both": ui.propagateBothButton, "down": ui.propagateDownButton}
        self._toolTips = {direction: button.toolTip for direction, button in self._buttons.items()}
        for direction, button in self._buttons.items():
            button.connect("clicked(bool)", lambda checked, direction=direction: self.propagate(direction))
        # the effect in Segment Editor does not have this choice
        self._inside = Reference(shared, self.update, INSIDE) if hasattr(ui, INSIDE.selector) else None

    def apply(self) -> None:
        """Apply the choice of what a tumor must stay inside; it also limits corrections."""
        if self._inside is not None:
            self._inside.apply()
        self._shared.session.inside = self._source

    def close(self) -> None:
        """Release the scene."""
        if self._inside is not None:
            self._inside.close()

    def propagate(self, direction: str) -> None:
        """Propagate the tumor from the current view's prompts, or from what is drawn on the slice."""
        # each next slice is prompted with a box around the last mask
        self._prepare(partial(self._go, direction), self._shared.state.promptKinds | {"box"})

    def update(self) -> None:
        """Enable the buttons."""
        session = self._shared.session
        missing = ""
        if self._inside is not None:
            self._inside.update()
        if session.volumeNode is None:
            missing = _("Choose a volume.")
        elif not session.segmentId:
            missing = _("Prompt the tumor on one slice first.")
        elif session.view is None:
            missing = _("The current slice does not intersect the volume.")
        elif not self._shared.state.canPropagate:
            missing = _("Prompt the tumor on this slice, or draw it there, first.")
        for direction, button in self._buttons.items():
            enable(button, missing, self._toolTips[direction])

    def _source(self) -> LabelSource | None:
        inside = self._inside
        if inside is None or not inside.isChosen:
            return None
        if inside.missing:
            raise InputError(inside.missing)
        return inside.copiedSource()

    def _go(self, direction: str) -> None:
        self._shared.session.propagate(direction)
        self._shared.follow()
