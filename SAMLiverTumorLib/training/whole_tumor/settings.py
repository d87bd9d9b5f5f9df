"""What the training of the network of whole lesions is told, from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.whole_tumor.crop_grid import SIZE
from SAMLiverTumorLib.training.method_settings import MethodSettings, read_method_settings

METHOD = "whole-tumor"
"""What `method` is in a file of these settings."""


@dataclass(frozen=True)
class WholeTumorSettings(MethodSettings):
    """Settings of a training from the beginning, or from an earlier run's weights; see `MethodSettings` too.

    :param method: `METHOD`.
    :param size: voxels along the sides of crops.
    :param widths: channels of the network from fine to coarse, see `LesionUnet`.
    """

    method: str = METHOD
    steps: int = 40000
    cool_down: int = 6000
    warm_up: int = 200
    weight_decay: float = 0.01
    average: float = 0.999
    batch: int = 2
    real: float = 0.5
    rounds: tuple[float, ...] = (0.5, 0.25, 0.15, 0.1)
    size: int = SIZE
    widths: tuple[int, ...] = (8, 32, 64, 96, 160)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) < 2 or not all(isinstance(each, int) and each > 0 for each in self.widths):
            raise InputError(f"widths are {self.widths}; two or more whole numbers above 0 are needed.")
        stride = 2 ** (len(self.widths) - 1)
        # the coarsest voxels are normalized over the crop, so there have to be several
        if self.size % stride or self.size < 2 * stride:
            raise InputError(f"size is {self.size}; a multiple of {stride} from {2 * stride} on is needed.")


def read_whole_tumor_settings(path: Path) -> WholeTumorSettings | None:
    """Settings from a TOML file, relative paths in it from its folder; None for a file of another method.

    :raises InputError: missing or malformed file, an unknown name, or a value of another type.
    """
    return read_method_settings(path, WholeTumorSettings)
