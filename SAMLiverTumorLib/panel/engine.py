"""`Engine`: the one network thread and prompt session of the application, whoever the user works from."""

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

# While the result of a prompt is waited for: at 40 ms, 20 would be lost on average.
_AWAITING_MS = 10


class Front(Protocol):
    """What the user works from: the module's panel, or the effect in Segment Editor."""

    def update(self) -> None:
        """Show the state of everything."""

    def updateProgress(self) -> None:
        """Show how far long tasks are, where nothing else has changed."""

    def engineClosed(self) -> None:
        """The engine is gone; nothing works afterwards."""


class Engine:
    """Worker, networks, session and long tasks, with the timer that polls them only while something is on its way.

    Two sessions in one scene would both answer the same prompts: panel and effect share this one and take turns.
    """

    _running: ClassVar[Engine | None] = None

    @classmethod
    def running(cls) -> Engine:
        """The engine, started where there is none."""
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
        #: Who has the session; None where nobody has claimed it.
        self.front: Front | None = None
        self._fronts: list[Front] = []
        self.timer = qt.QTimer()
        self.timer.setInterval(_POLL_MS)
        self.timer.connect("timeout()", self._onTimer)
        # in the next event, when Segment Editor has finished what it does
        self._edited = whenIdle(0, self._onEdited)
        self.session.onChanged.append(self.follow)
        self.session.onEdited.append(self._edited.start)
        slicer.app.connect("aboutToQuit()", self.close)

    def shared(self, front: Front, ui: Any, requirements: str) -> Shared:
        """What the sections of a front work with; see `Shared`."""
        isActive = partial(self.belongsTo, front)
        session, state = self.session, self.state
        return Shared(ui, session, state, self.tasks, self.pool, self.phases, self.follow, requirements, isActive)

    def join(self, front: Front) -> None:
        """Have a front updated while it has the session, and told when the engine is closed."""
        self._fronts.append(front)

    def claim(self, front: Front) -> None:
        """The user works from `front` now: volume, segment and settings of the session are its own business."""
        self.front = front
        self.follow()

    def release(self, front: Front) -> None:
        """The user has left `front`; what is on its way goes on."""
        if self.front is front:
            self.front = None

    def belongsTo(self, front: Front) -> bool:
        """Whether nobody else has claimed the session."""
        return not self.isClosed and self.front in (None, front)

    def follow(self) -> None:
        """Poll as long as anything is on its way, and show it."""
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
        """Stop the worker and let go of the scene, for all fronts."""
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
            # the session tells by itself of what has changed; showing everything anew at each tick would hold the
            # GUI thread, which waits for its turn at each step while the worker computes
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
    """A timer that calls back once, so long after it was last started."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", callback)
    return timer
