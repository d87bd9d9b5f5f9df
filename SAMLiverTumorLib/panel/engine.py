"""`Engine`: the application's single network thread and prompt session, shared by panel and effect."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from SAMLiverTumorLib.inference.threads.network_worker import NetworkWorker
from SAMLiverTumorLib.mrml.session.phases import Phases
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession
from SAMLiverTumorLib.panel.background_tasks import Tasks
from SAMLiverTumorLib.panel.panel_pool import PanelPool
from SAMLiverTumorLib.panel.section_context import Shared
from SAMLiverTumorLib.panel.session_state import SessionState

_POLL_MS = 40

# While the user waits for the result of a prompt: polling every 40 ms would add 20 ms on average.
_AWAITING_MS = 10


class Front(Protocol):
    """A user interface of the engine: the module's panel, or the effect in Segment Editor."""

    def update(self) -> None:
        """Update all widgets."""

    def updateProgress(self) -> None:
        """Show the progress of long tasks when nothing else has changed."""

    def engineClosed(self) -> None:
        """The engine is closed; nothing works afterwards."""


class Engine:
    """Worker, networks, session and long tasks, with a timer that polls only while something is running.

    Two sessions in one scene would both process the same prompts, so panel and effect share this one and take turns.
    """

    _running: ClassVar[Engine | None] = None

    @classmethod
    def running(cls) -> Engine:
        """The running engine, started if there is none."""
        if cls._running is None:
            cls._running = cls()
        return cls._running

    def __init__(self) -> None:
        self.worker = NetworkWorker()
        self.pool = PanelPool()
        self.session = PromptSession(slicer.mrmlScene, self.worker, self.pool)
        self.state = SessionState(self.session.selection, self.session.jobs)
        self.tasks = Tasks(self.worker, self.session.say)
        self.phases = Phases()
        self.session.further = lambda: self.phases.channels(self.session.volumeNode)
        self.isClosed = False
        #: The front that has the session; None if no front has claimed it.
        self.front: Front | None = None
        self._fronts: list[Front] = []
        self.timer = qt.QTimer()
        self.timer.setInterval(_POLL_MS)
        self.timer.connect("timeout()", self._onTimer)
        # in the next event, after Segment Editor has finished
        self._edited = whenIdle(0, self._onEdited)
        self.session.onChanged.append(self.follow)
        self.session.onEdited.append(self._edited.start)
        slicer.app.connect("aboutToQuit()", self.close)

    def shared(self, front: Front, ui: Any, requirements: str) -> Shared:
        """The context for the sections of a front; see `Shared`."""
        isActive = partial(self.belongsTo, front)
        session, state = self.session, self.state
        return Shared(ui, session, state, self.tasks, self.pool, self.phases, self.follow, requirements, isActive)

    def join(self, front: Front) -> None:
        """Add a front: it is updated while it has the session, and notified when the engine is closed."""
        self._fronts.append(front)

    def claim(self, front: Front) -> None:
        """Give the session to `front`, which from now on sets its volume, segment and settings."""
        self.front = front
        self.follow()

    def release(self, front: Front) -> None:
        """Take the session from `front`; running jobs continue."""
        if self.front is front:
            self.front = None

    def belongsTo(self, front: Front) -> bool:
        """Whether no other front has claimed the session."""
        return not self.isClosed and self.front in (None, front)

    def follow(self) -> None:
        """Poll while anything is running, and update the fronts."""
        if self.isClosed:
            return
        if self.session.busy or self.tasks.busy:
            interval = _AWAITING_MS if self.state.waiting else _POLL_MS
            if self.timer.interval != interval:
                self.timer.setInterval(interval)
            if not self.timer.active:
                self.timer.start()
        elif self.timer.active:
            self.timer.stop()
        for front in self._fronts:
            if self.belongsTo(front):
                front.update()

    def close(self) -> None:
        """Stop the worker and release the scene, for all fronts."""
        if self.isClosed:
            return
        self.isClosed = True
        if Engine._running is self:
            Engine._running = None
        slicer.app.disconnect("aboutToQuit()", self.close)
        self.timer.stop()
        self._edited.stop()
        fronts, self._fronts = self._fronts, []
        for front in fronts:
            front.engineClosed()
        self.tasks.cancel()
        self.session.close()
        self.worker.stop()

    def _onTimer(self) -> None:
        isSame = False
        try:
            if self.session.busy:
                self.session.poll()
            isSame = not self.tasks.poll()
        except Exception as error:
            self.session.say(_("Failed: {error}. See the Python console.").format(error=error))
            raise
        finally:
            # the session reports its own changes; updating everything at each tick would slow down the GUI thread,
            # which waits for the interpreter lock while the worker computes
            if not isSame or not (self.session.busy or self.tasks.busy):
                self.follow()
            elif self.tasks.busy:
                for front in self._fronts:
                    if self.belongsTo(front):
                        front.updateProgress()

    def _onEdited(self) -> None:
        if not self.isClosed and not slicer.mrmlScene.IsClosing():
            self.session.followEditor()


def whenIdle(milliseconds: int, callback: Callable[[], None]) -> qt.QTimer:
    """A timer that calls back once, the given time after it was last started."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", callback)
    return timer
