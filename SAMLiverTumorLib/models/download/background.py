"""Wait for the network or another process and still respond to Cancel."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

from SAMLiverTumorLib.cancel import raise_if_cancelled

T = TypeVar("T")
POLL_SECONDS = 0.1


def in_background(
    make: Callable[[], Generator[T, None, None]], cancel: Callable[[], bool] | None
) -> Generator[T, None, None]:
    """Yield what `make()` yields while it runs in a thread of its own.

    A read from a dead connection blocks until its timeout; the caller still hears Cancel within a tenth of a
    second, and the thread ends by itself when its read returns. At most 16 items wait in between.

    :raises Cancelled: `cancel` answers true.
    :raises Exception: whatever `make()` raises.
    """
    items: queue.Queue = queue.Queue(maxsize=16)
    stop = threading.Event()

    def put(item: tuple) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            with closing(make()) as produced:
                for value in produced:
                    if not put(("value", value)):
                        return
            put(("end", None))
        except Exception as error:  # raised again in the caller's thread
            put(("error", error))

    threading.Thread(target=work, name="sam-liver-tumor-fetch", daemon=True).start()
    try:
        while True:
            raise_if_cancelled(cancel)
            try:
                kind, value = items.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
