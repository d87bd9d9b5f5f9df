"""What all trainings of a whole network are told, from a TOML file whose `method` says which of them it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.settings import read_values


@dataclass(frozen=True)
class MethodSettings:
    """Settings that the methods share; each has a class of its own, whose default of `method` is its name.

    :param images: folders of images, or single files.
    :param labels: folders of label maps, one for each of `images`.
    :param windows: one for each of `images`, that shows what the wide window does.
    :param hold_out: file of patients that are refused.
    :param leave_out: patients that are not learned from.
    :param start: an earlier run's folder whose weights are the start.
    :param steps: in all.
    :param cool_down: of these at the end, in which the learning rate falls to zero.
    :param warm_up: steps in which it rises.
    :param learning_rate: of AdamW, in between.
    :param weight_decay: of AdamW.
    :param average: share of the old average that stays in each step.
    :param batch: crops of a step.
    :param real: share of crops around lesions of patients.
    :param rounds: how often, in proportion, there are 1, 2, ... answers with corrections between.
    :param seed: of everything drawn at random.
    :param device: "auto", "cpu", "cuda", ...
    """

    PLACES: ClassVar[tuple[str, ...]] = ("images", "labels", "hold_out", "start")
    """Settings that are files or folders; they are nobody else's business, and relative to the file of settings."""

    method: str = ""
    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    hold_out: str = ""
    leave_out: tuple[str, ...] = ()
    start: str = ""
    steps: int = 6000
    cool_down: int = 600
    warm_up: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average: float = 0.998
    batch: int = 8
    real: float = 0.45
    rounds: tuple[float, ...] = (0.45, 0.25, 0.1, 0.2)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        wanted = type(self).method
        if self.method != wanted:
            raise InputError(f"method is '{self.method}'; '{wanted}' is needed here.")
        if not (len(self.images) == len(self.labels) == len(self.windows)):
            raise InputError("There have to be as many labels and windows as images, one for each.")
        if not self.images:
            raise InputError("There are no images to learn from.")
        for name in ("steps", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it has to be above 0.")
        if not self.rounds or not sum(self.rounds) > 0 or min(self.rounds) < 0:
            raise InputError("rounds are shares of 1, 2, ... answers; one of them has to be above 0.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a TOML file has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def told(self) -> dict[str, Any]:
        """The settings without folders, for cards and reports."""
        return {name: value for name, value in self.as_dict().items() if name not in self.PLACES}


Settings = TypeVar("Settings", bound=MethodSettings)


def read_method_settings(path: Path, kind: type[Settings]) -> Settings | None:
    """Settings from a TOML file, relative paths in it from its folder; None for a file of another method.

    :raises InputError: missing or malformed file, an unknown name, or a value of another type.
    """
    values = read_values(path)
    if values.get("method") != kind.method:
        return None
    settings = typed_settings(values, kind)
    folder, places = Path(path).resolve().parent, {}
    for name in kind.PLACES:
        value = getattr(settings, name)
        if isinstance(value, tuple):
            places[name] = tuple(str(folder / each) for each in value)
        elif value:
            places[name] = str(folder / value)
    return replace(settings, **places)


def typed_settings(values: Mapping[str, Any], kind: type[Settings]) -> Settings:
    """Settings from plain values.

    :raises InputError: an unknown name, or a value of another type.
    """
    known = {each.name: getattr(kind, each.name) for each in fields(kind)}
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
    return kind(**taken)
