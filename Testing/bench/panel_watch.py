"""How long the GUI thread was blocked, by what, and how much of that it computed rather than waited for its turn."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

_BEAT_MS = 1
_SAMPLE_SECONDS = 0.01
#: Holds at least this long are sampled while they last.
_LOOKED_INTO_SECONDS = 0.05
_LINES = 3


@dataclass(frozen=True)
class Hold:
    """A time in which the GUI thread handled no event.

    :param phase: what the user was doing.
    :param wall_s: its duration.
    :param cpu_s: the thread's own processor time in it; the rest it waited for the interpreter lock or a core.
    :param where: the innermost lines of this project that were running; empty for short holds.
    """

    phase: str
    wall_s: float
    cpu_s: float
    where: str

    def as_dict(self) -> dict:
        """JSON-ready."""
        return {
            "phase": self.phase,
            "ms": round(1e3 * self.wall_s, 1),
            "own_cpu_ms": round(1e3 * self.cpu_s, 1),
            "where": self.where,
        }


class Watch:
    """A heartbeat in the GUI thread's event loop: the time between two beats is one hold.

    A hold may span several events in a row, so it is never shorter than the longest of them. Another thread samples the
    GUI thread's stack while a hold lasts.

    :param qt: the module `qt` as in Slicer.
    """

    def __init__(self, qt: Any) -> None:
        self._qt = qt
        self.phase = ""
        self.longest: dict[str, Hold] = {}
        self._last, self._lastCpu = time.perf_counter(), time.thread_time()
        self._seen = ""
        self._condition: Callable[[], bool] | None = None
        self._loop: Any = None
        self._isOver = False
        self._thread_id = threading.get_ident()
        self._timer = qt.QTimer()
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.setInterval(_BEAT_MS)
        self._timer.connect("timeout()", self._beat)
        threading.Thread(target=self._sample, daemon=True).start()

    def do(self, phase: str, action: Callable[[], object], until: Callable[[], bool], seconds: float = 300) -> None:
        """Run an action as an event of the event loop, and run the loop until a condition holds.

        :raises TimeoutError: it does not hold within `seconds`.
        """
        self.phase, self._condition = phase, None
        self._last, self._lastCpu = time.perf_counter(), time.thread_time()
        end = self._last + seconds
        loop = self._qt.QEventLoop()

        def start() -> None:
            action()
            self._condition = lambda: until() or time.perf_counter() > end

        self._loop = loop
        self._timer.start()
        self._qt.QTimer.singleShot(0, start)
        loop.exec_()
        self._timer.stop()
        if not until():
            raise TimeoutError(f"{phase}: not done within {seconds:g} s")

    def close(self) -> None:
        """Stop sampling."""
        self._isOver = True

    def _beat(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        hold = Hold(self.phase, now - self._last, cpu - self._lastCpu, self._seen)
        if self.phase not in self.longest or self.longest[self.phase].wall_s < hold.wall_s:
            self.longest[self.phase] = hold
        self._seen = ""
        if self._condition is not None and self._condition():
            self._loop.quit()
        self._last, self._lastCpu = time.perf_counter(), time.thread_time()

    def _sample(self) -> None:
        while not self._isOver:
            time.sleep(_SAMPLE_SECONDS)
            if self._timer.active and time.perf_counter() - self._last > _LOOKED_INTO_SECONDS:
                self._seen = _ours(sys._current_frames().get(self._thread_id)) or self._seen


def _ours(frame: FrameType | None) -> str:
    """The innermost three lines of a stack that are this project's, outermost first.

    No source is read from disk, and no frame is kept, since its variables would live on, painters among them.
    """
    lines: list[str] = []
    while frame is not None and len(lines) < _LINES:
        code = frame.f_code
        if "SAMLiverTumor" in code.co_filename:
            lines.insert(0, f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " > ".join(lines)
