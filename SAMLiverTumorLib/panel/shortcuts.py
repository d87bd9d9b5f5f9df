"""Keyboard shortcuts, alive only while the panel is open."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer.util


class Shortcuts:
    """Keys made by `enter` and removed by `exit`.

    :param actions: what each key does.
    :param widget: has the keys where there is no main window.
    """

    def __init__(self, actions: dict[str, Callable[[], None]], widget: qt.QWidget) -> None:
        self._actions, self._widget = actions, widget
        self._shortcuts: list[qt.QShortcut] = []

    def enter(self) -> None:
        """Make the keys work."""
        self.exit()
        window = slicer.util.mainWindow() or self._widget
        for keys, action in self._actions.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(keys))
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def exit(self) -> None:
        """Give the keys back."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []
