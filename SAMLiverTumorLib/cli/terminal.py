"""What the console program asks, shows and hears on a terminal: yes or no, progress bars, Ctrl+C as Cancel."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from SAMLiverTumorLib.errors import ModelError


def confirm_on_terminal(assume_yes: bool) -> Callable[[str], bool]:
    """A function that puts a question to the user and tells whether the answer is yes.

    The question goes to standard error, so that standard output holds results alone.

    :param assume_yes: answer yes to everything without asking (`--yes`).
    :return: `confirm(question) -> bool`; raises ModelError where there is nobody to ask.
    """

    def confirm(question: str) -> bool:
        if assume_yes:
            return True
        if sys.stdin is None or not sys.stdin.isatty():
            raise ModelError(f"{question} There is no terminal to answer on; give --yes to agree.")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except OSError:  # the terminal has gone, or the program is in the background
            return False

    return confirm


# Anything quicker needs no bar.
_DELAY_S = 1.0


@contextmanager
def bar(description: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function of (done, total) that moves a bar, which is closed with the block."""
    from tqdm import tqdm

    with tqdm(desc=description, unit=unit, delay=_DELAY_S, leave=False, disable=None) as shown:

        def progress(done: int, total: int | None) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield progress


@contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """As `bar`, counting a download's bytes; made on the first byte, since mostly there is no download."""
    from tqdm import tqdm

    shown: list[tqdm] = []

    def progress(done: int, total: int | None) -> None:
        if not shown:
            shown.append(tqdm(desc="downloading", unit="B", unit_scale=True, leave=False, disable=None))
        shown[0].total = total
        shown[0].update(done - shown[0].n)

    try:
        yield progress
    finally:
        for each in shown:
            each.close()


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
