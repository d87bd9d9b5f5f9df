"""`SessionMessages`: the status line and log of a prompt session, and its change callbacks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_LOG_LINES = 500


class SessionMessages:
    """A status line, a log, and callbacks for those who show them."""

    def __init__(self) -> None:
        #: The current status line.
        self.message = ""
        self._progress = ""
        #: All lines so far.
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        #: Called in this order, without arguments, when anything shown of the session has changed.
        self.onChanged: list[Callable[[], None]] = []

    def say(self, text: str) -> None:
        """Set the status line and add it to the log; call `changed` to show it."""
        self.message = text
        self.log.append(text)

    def refuse(self, text: str) -> bool:
        """Show why something cannot be done; returns False, for the caller to return."""
        self.say(text)
        self.changed()
        return False

    def showProgress(self, text: str) -> None:
        """Show changes; a text is progress, which is not logged, and an empty one ends the progress shown before."""
        if text:
            self.message = text
        elif self.message == self._progress:
            self.message = ""
        self._progress = text
        self.changed()

    def changed(self) -> None:
        """Call `onChanged`."""
        for callback in list(self.onChanged):
            callback()
