"""`SessionMessages`: what a prompt session has to say, and who hears of its changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_LOG_LINES = 500


class SessionMessages:
    """A status line, a log and the callbacks of whoever shows them."""

    def __init__(self) -> None:
        #: What there is to say now.
        self.message = ""
        #: What there was to say so far.
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        #: Called, without arguments and in this order, when anything that is shown of the session has changed.
        self.onChanged: list[Callable[[], None]] = []

    def say(self, text: str) -> None:
        """Put a line into message and log; `changed` has it shown."""
        self.message = text
        self.log.append(text)

    def refuse(self, text: str) -> bool:
        """Say why something cannot be done, and have it shown; False, for the caller to return."""
        self.say(text)
        self.changed()
        return False

    def showProgress(self, text: str) -> None:
        """Have changes shown; a text says how far things are, which is nothing for the log. Empty keeps the message."""
        if text:
            self.message = text
        self.changed()

    def changed(self) -> None:
        """Call `onChanged`."""
        for callback in list(self.onChanged):
            callback()
