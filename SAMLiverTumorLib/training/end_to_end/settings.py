"""What the training of the bundled model's network is told, from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.method_settings import MethodSettings, read_method_settings

METHOD = "end-to-end"
"""What `method` is in a file of these settings."""


@dataclass(frozen=True)
class NetworkSettings(MethodSettings):
    """Settings of a training from the beginning, or from an earlier run's weights; see `MethodSettings` too.

    :param method: `METHOD`.
    :param flat: folders of single slices with a liver, see `load_scans.flat_slices`; `leave_out` holds there too.
    :param decoder: model whose prompt encoder and decoder are the start; of `start` instead where that is given.
    :param learning_rate: of encoder and upsampling; a quarter of it is that of the rest.
    :param size: pixels along the side of most crops.
    :param large: share of steps with fewer crops of `large_size` pixels, two at least.
    :param large_size: pixels along the side of those; 512 for whole slices.
    :param painted: share of crops with painted lesions.
    """

    PLACES: ClassVar[tuple[str, ...]] = (*MethodSettings.PLACES, "flat")

    method: str = METHOD
    flat: tuple[str, ...] = ()
    decoder: str = "lite-medsam"
    size: int = 256
    large: float = 0.2
    large_size: int = 512
    painted: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("size", "large_size"):
            if getattr(self, name) % 32 or not 32 <= getattr(self, name) <= 512:
                raise InputError(f"{name} is {getattr(self, name)}; a multiple of 32 up to 512 is needed.")


def read_network_settings(path: Path) -> NetworkSettings | None:
    """Settings from a TOML file, relative paths in it from its folder; None for a file of another method.

    :raises InputError: missing or malformed file, an unknown name, or a value of another type.
    """
    return read_method_settings(path, NetworkSettings)
