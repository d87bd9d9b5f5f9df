"""Progress bars on standard error, where that is a terminal, once the work takes longer than a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
