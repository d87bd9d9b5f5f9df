"""What the training of the bundled model's network is told, from a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.settings import read_values

METHOD = "end-to-end"
"""What `method` is in a file of these settings."""

_PLACES = ("images", "labels", "flat")


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a training from the beginning, or from an earlier run's weights.

    :param method: `METHOD`.
    :param images: folders of images, or single files.
    :param labels: folders of label maps, one for each of `images`.
    :param windows: one for each of `images`, that shows what the wide window does.
    :param flat: folders of single slices with a liver, see `load_scans.flat_slices`.
    :param hold_out: file of patients that are refused.
    :param leave_out: patients that are not learned from, in `flat` too.
    :param decoder: model whose prompt encoder and decoder are the start.
    :param start: an earlier run's folder whose weights are the start; none for `decoder` alone.
    :param steps: in all.
    :param cool_down: of these at the end, in which the learning rate falls to zero.
    :param warm_up: steps in which it rises.
    :param learning_rate: of encoder and upsampling; a quarter of it is that of the rest.
    :param weight_decay: of AdamW.
    :param average: share of the old average that stays in each step.
    :param size: pixels along the side of most crops.
    :param batch: crops of a step.
    :param large: share of steps with fewer crops of `large_size` pixels, two at least.
    :param large_size: pixels along the side of those; 512 for whole slices.
    :param real: share of crops around lesions of patients.
    :param painted: share of crops with painted lesions.
    :param rounds: how often, in proportion, there are 1, 2, ... answers with corrections between.
    :param seed: of everything drawn at random.
    :param device: "auto", "cpu", "cuda", ...
    """

    method: str = METHOD
    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    hold_out: str = ""
    leave_out: tuple[str, ...] = ()
    decoder: str = "lite-medsam"
    start: str = ""
    steps: int = 6000
    cool_down: int = 600
    warm_up: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average: float = 0.998
    size: int = 256
    batch: int = 8
    large: float = 0.2
    large_size: int = 512
    real: float = 0.45
    painted: float = 0.4
    rounds: tuple[float, ...] = (0.45, 0.25, 0.1, 0.2)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.method != METHOD:
            raise InputError(f"method is '{self.method}'; '{METHOD}' is needed here.")
        if not (len(self.images) == len(self.labels) == len(self.windows)):
            raise InputError("There have to be as many labels and windows as images, one for each.")
        if not self.images:
            raise InputError("There are no images to learn from.")
        for name in ("size", "large_size"):
            if getattr(self, name) % 32 or not 32 <= getattr(self, name) <= 512:
                raise InputError(f"{name} is {getattr(self, name)}; a multiple of 32 up to 512 is needed.")
        for name in ("steps", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it has to be above 0.")
        if not self.rounds or not sum(self.rounds) > 0 or min(self.rounds) < 0:
            raise InputError("rounds are shares of 1, 2, ... answers; one of them has to be above 0.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a TOML file has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def read_network_settings(path: Path) -> NetworkSettings | None:
    """Settings from a TOML file, relative paths in it from its folder; None for a file of another method.

    :raises InputError: missing or malformed file, an unknown name, or a value of another type.
    """
    values = read_values(path)
    if values.get("method") != METHOD:
        return None
    settings = network_settings(values)
    folder = Path(path).resolve().parent
    places: dict[str, Any] = {name: tuple(str(folder / each) for each in getattr(settings, name)) for name in _PLACES}
    for name in ("hold_out", "start"):
        if getattr(settings, name):
            places[name] = str(folder / getattr(settings, name))
    return replace(settings, **places)


def network_settings(values: Mapping[str, Any]) -> NetworkSettings:
    """Settings from plain values.

    :raises InputError: an unknown name, or a value of another type.
    """
    known = {each.name: getattr(NetworkSettings, each.name) for each in fields(NetworkSettings)}
    taken = {}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"'{name}' is not a setting of this training; there are {', '.join(sorted(known))}.")
        like = known[name]
        if isinstance(like, tuple) and isinstance(value, list):
            value = tuple(value)
        elif isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(like):
            raise InputError(f"Setting '{name}' is {value!r}; {type(like).__name__} is needed.")
        taken[name] = value
    return NetworkSettings(**taken)
