"""Cancel inside an image encoder: between its layers, not only between pictures.

MobileSAM takes two seconds for a picture on a CPU and ViT-H a minute; Cancel is to act within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import Cancelled

if TYPE_CHECKING:
    from torch import nn

# Not of the network, since models are shared: a cancelled job must not end the same network's run elsewhere. A
# context goes along into the threads that encode bands of one picture.
_cancel: ContextVar[Callable[[], bool] | None] = ContextVar("cancel", default=None)


def make_cancellable(network: nn.Module) -> None:
    """Have every layer of the network ask, before it runs, whether the job was cancelled; once per network."""
    if getattr(network, "_is_cancellable", False):
        return
    for module in network.modules():
        module.register_forward_pre_hook(_stop_if_cancelled)
    network._is_cancellable = True


@contextmanager
def cancelled_by(cancel: Callable[[], bool] | None) -> Iterator[None]:
    """Within the block, in this thread, networks made cancellable stop when `cancel()` says so.

    :raises Cancelled: from inside the network.
    """
    token = _cancel.set(cancel)
    try:
        yield
    finally:
        _cancel.reset(token)


def _stop_if_cancelled(_module: object, _inputs: object) -> None:
    cancel = _cancel.get()
    if cancel is not None and cancel():
        raise Cancelled("Cancelled; nothing was changed.")
