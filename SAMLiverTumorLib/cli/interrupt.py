"""Ctrl+C as Cancel: work that keeps what is done is asked to end rather than torn down."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def cancel_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl+C makes the given function return True; the second one interrupts as usual."""
    pressed = threading.Event()
    # only the main thread may set handlers; elsewhere an interrupt is its business
    main = threading.current_thread() is threading.main_thread()

    def note(number, frame) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note) if main else None
    try:
        yield pressed.is_set
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
