"""Timing side by side: contenders take turns, so that other load on the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_MATRIX = 2048


@dataclass(frozen=True)
class Times:
    """Seconds of several runs."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the runs."""
        return statistics.median(self.runs)

    def as_dict(self) -> dict:
        """JSON-ready."""
        return {"min_s": min(self.runs), "median_s": self.median, "max_s": max(self.runs), "runs": len(self.runs)}

    def __str__(self) -> str:
        return f"{1e3 * self.median:.1f} ms ({1e3 * min(self.runs):.1f}-{1e3 * max(self.runs):.1f})"


def take_turns(contenders: dict[str, Callable[[], object]], runs: int, warm: bool = True) -> dict[str, Times]:
    """Run each contender `runs` times in turn.

    :param warm: run each once before, without counting it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(runs + warm):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= warm:
                seconds[name].append(time.perf_counter() - start)
    return {name: Times(tuple(values)) for name, values in seconds.items()}


def matrix_product(device: torch.device | str = "cpu", size: int = _MATRIX) -> tuple[Callable[[], object], int]:
    """Pure arithmetic, to measure the machine's rate, and its number of floating-point operations."""
    a = torch.randn(size, size, device=device)
    return lambda: a @ a, 2 * size**3


@torch.no_grad()
def count_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products, convolutions and attention in `work`."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()
