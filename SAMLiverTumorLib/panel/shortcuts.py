"""Keyboard shortcuts, active only while the panel is open."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer.util

from SAMLiverTumorLib.mrml.nodes.conversions import BOX, EXCLUDE, INCLUDE
from SAMLiverTumorLib.panel.section_context import Shared
from SAMLiverTumorLib.panel.sections.prompts import Prompts
from SAMLiverTumorLib.panel.sections.propagate import Volume
from SAMLiverTumorLib.panel.sections.segment import Segment
from SAMLiverTumorLib.panel.sections.uncertainty import Uncertainty


class Shortcuts:
    """Shortcuts created by `enter` and removed by `exit`.

    :param actions: the action of each key.
    :param widget: the shortcuts' parent if there is no main window.
    """

    def __init__(self, actions: dict[str, Callable[[], None]], widget: qt.QWidget) -> None:
        self._actions, self._widget = actions, widget
        self._shortcuts: list[qt.QShortcut] = []

    def enter(self) -> None:
        """Create the shortcuts."""
        self.exit()
        window = slicer.util.mainWindow() or self._widget
        for keys, action in self._actions.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(keys))
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def exit(self) -> None:
        """Remove the shortcuts."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []


def promptActions(
    prompts: Prompts, segment: Segment, volume: Volume, uncertainty: Uncertainty, shared: Shared
) -> dict[str, Callable[[], None]]:
    """The shortcuts for prompting, the same in panel and effect."""
    session, ui = shared.session, shared.ui

    def escape() -> None:
        prompts.stopPlacing()
        segment.cancel()

    return {
        "I": lambda: prompts.toggle(INCLUDE),
        "E": lambda: prompts.toggle(EXCLUDE),
        "B": lambda: prompts.toggle(BOX),
        "A": lambda: session.accept() if session.canAccept else None,
        "F": lambda: volume.propagate("both") if ui.propagateBothButton.enabled else None,
        "N": uncertainty.goToNext,
        "Ctrl+Return": lambda: segment.segment() if ui.segmentButton.enabled else None,
        "Escape": escape,
    }
