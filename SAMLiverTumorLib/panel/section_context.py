"""`Shared`: what every section of the panel works with."""

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
    """Handed to each section.

    :param ui: the widgets of the .ui file by name.
    :param session: what prompts do.
    :param state: what else the panel shows of the session.
    :param tasks: downloads and evaluations.
    :param pool: the networks.
    :param phases: what the networks see besides the volume.
    :param follow: starts polling if anything is on its way, and shows it.
    :param requirements: path of the list of Python packages.
    :param isActive: whether the session is this front's: panel and effect take turns.
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
    """Enable a button, or disable it and let its tooltip say what is missing."""
    widget.enabled = not missing
    widget.toolTip = missing or toolTip
