"""`PendingChannel`: a further channel that is computed when the network first needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.channels import FurtherChannel
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.image.registration import Registration

Cancel = Callable[[], bool]
Progress = Callable[[int, "int | None"], None]
Make = Callable[["Cancel | None", "Progress | None"], "tuple[FurtherChannel, tuple[str, ...]]"]


class PendingChannel:
    """Taken wherever a `FurtherChannel` is: made once, in whichever thread looks at it first; others wait for it.

    Bringing a volume onto another one's voxels takes seconds, which is nothing for the thread that draws the screen.

    :param name: the volume's, for provenance until it is made.
    :param make: `make(cancel, progress)` gives channel and notes, or raises `InputError`; a cancelled one is tried
        again when the channel is next needed.
    """

    def __init__(self, name: str, make: Make) -> None:
        self.name, self._make = name, make
        self._lock = threading.Lock()
        self._channel: FurtherChannel | None = None
        #: What there is to know about it once it is made, and why it cannot be; empty if nothing.
        self.notes: tuple[str, ...] = ()
        self.error = ""

    @property
    def isMade(self) -> bool:
        """Whether it is there."""
        return self._channel is not None

    @property
    def isSettled(self) -> bool:
        """Whether it is there, or is known not to come."""
        return self.isMade or bool(self.error)

    def prepare(self, cancel: Cancel | None = None, progress: Progress | None = None) -> FurtherChannel:
        """The channel, made where it is not there yet.

        :raises InputError: it cannot be made.
        :raises Cancelled: `cancel` answers true.
        """
        with self._lock:
            if self.error:
                raise InputError(self.error)
            if self._channel is None:
                try:
                    self._channel, self.notes = self._make(cancel, progress)
                except InputError as error:
                    self.error = str(error)
                    raise
            return self._channel

    @property
    def volume(self) -> Volume:
        """As `FurtherChannel.volume`."""
        return self.prepare().volume

    @property
    def window(self) -> Window:
        """As `FurtherChannel.window`."""
        return self.prepare().window

    @property
    def registration(self) -> Registration | None:
        """As `FurtherChannel.registration`."""
        return self.prepare().registration

    def as_dict(self) -> dict:
        """What provenance says of it, JSON-ready; the name alone until it is made, for nothing has seen it then."""
        return self._channel.as_dict() if self._channel is not None else {"name": self.name}


def prepare_channels(further: Iterable[FurtherChannel | PendingChannel], cancel: Cancel | None = None) -> None:
    """Make the channels that are not there yet.

    :raises InputError: one cannot be made.
    :raises Cancelled: `cancel` answers true.
    """
    for channel in further:
        if isinstance(channel, PendingChannel):
            channel.prepare(cancel)
