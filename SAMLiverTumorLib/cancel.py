"""`raise_if_cancelled`: how long-running work stops after Cancel."""

from __future__ import annotations

from collections.abc import Callable

from SAMLiverTumorLib.errors import Cancelled


def raise_if_cancelled(cancel: Callable[[], bool] | None) -> None:
    """:raises Cancelled: `cancel` answers true."""
    if cancel is not None and cancel():
        raise Cancelled("Cancelled.")
