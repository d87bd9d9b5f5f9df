"""Layers over one band of rows at a time, so that intermediate results stay in the processor's cache.

At SAM's resolution one layer's output takes up to 67 MB. Written whole, it goes out to memory and back between
every two layers, and the operating system has to provide new pages for it each time: half of TinyViT's time on
a CPU, which the same operations on bands of rows save.

Each core works on bands of its own. Splitting every single operation, as PyTorch does, makes the cores wait for each
other a thousand times per image; where another program needed a core as well, that took ten times as long.

Here images are tokens (1, h, w, c), the channels last.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

# The widest layer's values in one band, 4 MiB of float32; measured best among 1 to 16 MiB.
_BAND_VALUES = 1 << 20

_MOST_WORKERS = 4
_workers: contextvars.ContextVar[int] = contextvars.ContextVar("workers", default=1)


def worth_bands(x: Tensor, training: bool) -> bool:
    """Whether to work in bands: on the CPU, without gradients. A GPU is fastest with all rows at once."""
    return x.device.type == "cpu" and not training and not torch.is_grad_enabled()


def bands(rows: int, values_per_row: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Split `rows` into (start, stop) of about a band's values each, all but the last a multiple of `multiple` rows.

    There are as many as there are workers at least, if the rows suffice.
    """
    by_cache = _BAND_VALUES // (values_per_row * multiple)
    by_workers = -(-rows // (multiple * _workers.get()))
    step = max(1, min(by_cache, by_workers)) * multiple
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


@contextmanager
def workers() -> Iterator[None]:
    """Within the block `in_parallel` has as many threads as PyTorch, whose operations take one each meanwhile.

    With more than a few threads bands get too thin; PyTorch then shares out its operations as usual.
    """
    threads = torch.get_num_threads()
    if not 1 < threads <= _MOST_WORKERS:
        yield
        return
    token = _workers.set(threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _workers.reset(token)


def in_parallel(work: Callable[..., None], items: list[tuple]) -> None:
    """Call `work(*item)` for every item, in several threads within `workers`; the first error is raised."""
    threads = _workers.get()
    if threads == 1 or len(items) == 1:
        for item in items:
            work(*item)
        return
    waiting = iter(items)
    # tasks take what comes next until nothing is left: a core that another program uses takes fewer
    tasks = [_pool().submit(contextvars.copy_context().run, _take, work, waiting) for _ in range(threads - 1)]
    try:
        _take(work, waiting)
    finally:
        for _ in waiting:
            pass
        errors = [task.exception() for task in tasks]
    for error in filter(None, errors):
        raise error


def _take(work: Callable[..., None], waiting: Iterator[tuple]) -> None:
    with torch.inference_mode():
        for item in waiting:
            work(*item)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MOST_WORKERS - 1, "SAMLiverTumor bands", initializer=partial(torch.set_num_threads, 1))


def convolve_band(
    rows_of_input: Callable[[int, int], Tensor],
    rows: int,
    conv: nn.Conv2d,
    weights: tuple[Tensor, Tensor],
    band: tuple[int, int],
) -> Tensor:
    """The rows `band` (start, stop) of a convolution's output, tokens (1, stop - start, w', c').

    :param rows_of_input: gives the rows (start, stop) of the input.
    :param rows: of the whole input.
    :param conv: for stride, padding and groups.
    :param weights: its weight and bias.
    """
    assert isinstance(conv.padding, tuple), "torch keeps numbers as a pair"
    step, reach, edge = conv.stride[0], conv.kernel_size[0], conv.padding[0]
    low, high = band[0] * step - edge, (band[1] - 1) * step + reach - edge
    inside = max(low, 0), min(high, rows)
    part = rows_of_input(*inside)
    if (low, high) != inside:
        part = F.pad(part, (0, 0, 0, 0, inside[0] - low, high - inside[1]))
    padding = (0, conv.padding[1])
    out = F.conv2d(part.permute(0, 3, 1, 2), *weights, conv.stride, padding, conv.dilation, conv.groups)
    return out.permute(0, 2, 3, 1)


def convolved_size(conv: nn.Conv2d, size: int) -> int:
    """Rows or columns that a convolution with a square kernel makes of `size`."""
    assert isinstance(conv.padding, tuple), "torch keeps numbers as a pair"
    return (size + 2 * conv.padding[0] - conv.kernel_size[0]) // conv.stride[0] + 1


def gelu_in_place(x: Tensor) -> Tensor:
    """GELU that overwrites its input."""
    return torch.ops.aten.gelu_(x)
