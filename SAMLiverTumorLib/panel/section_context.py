"""`Shared`: the context that every section of the panel gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from SAMLiverTumorLib.mrml.session.phases import Phases
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession
from SAMLiverTumorLib.panel.background_tasks import Tasks
from SAMLiverTumorLib.panel.panel_pool import PanelPool
from SAMLiverTumorLib.panel.session_state import SessionState


@dataclass(eq=False)
class Shared:
    """Passed to each section.

    :param ui: the widgets of the .ui file by name.
    :param session: the prompt session.
    :param state: further state of the session that the panel shows.
    :param tasks: downloads, evaluations and other long jobs.
    :param pool: the networks.
    :param phases: further phases that the networks see besides the volume.
    :param follow: starts polling if anything is running, and updates the front.
    :param requirements: path of the list of Python packages.
    :param isActive: whether this front has the session: panel and effect take turns.
    """

    ui: Any
    session: PromptSession
    state: SessionState
    tasks: Tasks
    pool: PanelPool
    phases: Phases
    follow: Callable[[], None]
    requirements: str = ""
    isActive: Callable[[], bool] = lambda: True
    #: The parameter node; None while the panel is not bound to a scene.
    parameters: Any = None


def enable(widget: Any, missing: str, toolTip: str) -> None:
    """Enable a widget, or disable it with a tooltip that says what is missing."""
    widget.enabled = not missing
    widget.toolTip = missing or toolTip
