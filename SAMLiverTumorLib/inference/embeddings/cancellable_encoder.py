"""Cancel an image encoder between its layers, not only between slice images.

On a CPU, MobileSAM takes two seconds for a slice image and ViT-H a minute; Cancel has to act within one second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import Cancelled

if TYPE_CHECKING:
    from torch import nn

# A context variable, not an attribute of the network: models are shared, and cancelling a job must not stop the same
# network elsewhere. The context is copied to the threads that encode bands of one slice image.
_cancel: ContextVar[Callable[[], bool] | None] = ContextVar("cancel", default=None)


def make_cancellable(network: nn.Module) -> None:
    """Make every layer of the network check for Cancel before it runs; has an effect once per network."""
    if getattr(network, "_is_cancellable", False):
        return
    for module in network.modules():
        module.register_forward_pre_hook(_stop_if_cancelled)
    network._is_cancellable = True


@contextmanager
def cancelled_by(cancel: Callable[[], bool] | None) -> Iterator[None]:
    """Within the block and in this thread, cancellable networks stop when `cancel()` returns true.

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
