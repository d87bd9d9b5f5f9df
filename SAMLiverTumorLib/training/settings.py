"""What a training is told: from the command line, a TOML file, the panel, or a card of an earlier run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.datasets.cases import LITS_VALUES
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.json_text import parse_json

TRAINABLE = ("decoder", "lora", "last", "all")
"""What can learn: the mask decoder and the prompt tokens; these and adapters in the encoder; these and the encoder's
last stage; everything."""

KEPT = ("decoder", "last")
"""With these the encoder, or all of it but its last stage, stays as it is: what it gives is made once and kept."""

TOKENS, CLIP = "tokens", "clip"
"""How text becomes tokens."""

LIVER, LIVER_TUMOR = "liver", "liver tumor"
CONCEPTS = (LIVER_TUMOR, LIVER)
"""What text can be trained to name."""

_FROM_ONE = ("epochs", "steps", "batch", "accumulate", "rank")
_FROM_ZERO = (
    *("weight_decay", "patience", "copies", "negatives", "slices", "validation_slices", "corrections", "warm_up"),
    *("point", "box", "box_and_point", "text", "synthetic", "unlabeled_slices", "seed"),
)


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training; times, counts and rates are those of a run on two CPU cores.

    :param images: folders of images, or single files.
    :param labels: folders of label maps, one for each of `images`; none where they lie in those.
    :param out: the run's folder.
    :param base: model id or weight file to start from.
    :param train: what learns, see `TRAINABLE`.
    :param cases: patients to use; empty for all that are found.
    :param validation: patients to validate on; empty to draw them.
    :param validation_share: of the patients, where they are drawn.
    :param test: patients for the comparison of before and after; where there are none, it is that of validation.
    :param hold_out: file of patients that are refused.
    :param label_names: label value or segment name -> "tumor", "liver" or "ignore".
    :param window: as `parse_window`; the new model's own from then on.
    :param windows: one for each of `images`, where they are not in Hounsfield units; it has to show the same as
        `window`, such as "0,255" for scans that are stored as 8-bit grey of it.
    :param epochs: at most.
    :param steps: in an epoch.
    :param batch: pictures in a step, over all processes and accumulated parts.
    :param accumulate: parts that a step's pictures are split into, to save memory.
    :param learning_rate: of AdamW, reached after the warm-up and falling as a cosine to zero at the last epoch.
    :param weight_decay: of AdamW.
    :param average: share of the old average that stays in each step; epochs are compared by the average of the
        weights, which is steadier than the weights of the last step. 0 for these themselves.
    :param warm_up: share of all steps in which the rate rises.
    :param patience: epochs without a better validation after which it stops; 0 never stops early.
    :param copies: augmented pictures of each slice, encoded once and kept.
    :param negatives: slices of liver without tumor from each case.
    :param slices: at most so many slices with tumor from each case; 0 for all.
    :param validation_slices: the same for validation after each epoch.
    :param concepts: what text can name; empty to train no text.
    :param text_encoder: "tokens" learned for each of `concepts`, or "clip", "clip:NAME:TAG", "clip:FOLDER" for any
        phrase, see `models/clip/clip_source.py`.
    :param point, box, box_and_point, text: how often each kind of prompt is asked, in proportion.
    :param corrections: rounds of corrective clicks after the first prompt, at most.
    :param rank: of the adapters.
    :param synthetic: volumes with painted tumors to add, made from the livers in the cases.
    :param painted: patients into whose livers they are painted; empty for all that are learned from.
    :param unlabeled: folders of images without labels for the mean teacher.
    :param unlabeled_window: how they are shown; empty for `window`.
    :param unlabeled_slices: so many of each of them, evenly spread.
    :param seed: of everything drawn at random.
    :param device: "auto", "cpu", "cuda", ...
    :param half: weights of 16 bits.
    :param cache: folder of encoded pictures; the run's own if empty.
    :param blend: also try mixtures of old and new weights, and keep the best on validation.
    :param names: keep patients' names, which are those of their files, in the file of weights.
    """

    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    out: str = ""
    base: str = "lite-medsam"
    train: str = "decoder"
    cases: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    validation_share: float = 0.25
    test: tuple[str, ...] = ()
    hold_out: str = ""
    label_names: Mapping[str, str] = field(default_factory=lambda: dict(LITS_VALUES))
    window: str = "wide"
    windows: tuple[str, ...] = ()
    epochs: int = 20
    steps: int = 50
    batch: int = 2
    accumulate: int = 1
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    average: float = 0.98
    warm_up: float = 0.05
    patience: int = 5
    copies: int = 2
    negatives: int = 6
    slices: int = 0
    validation_slices: int = 24
    concepts: tuple[str, ...] = CONCEPTS
    text_encoder: str = TOKENS
    point: float = 0.45
    box: float = 0.25
    box_and_point: float = 0.05
    text: float = 0.25
    corrections: int = 2
    rank: int = 8
    synthetic: int = 0
    painted: tuple[str, ...] = ()
    unlabeled: tuple[str, ...] = ()
    unlabeled_window: str = ""
    unlabeled_slices: int = 16
    seed: int = 0
    device: str = "auto"
    half: bool = False
    cache: str = ""
    blend: bool = True
    names: bool = False

    def __post_init__(self) -> None:
        for names, least in ((_FROM_ONE, 1), (_FROM_ZERO, 0)):
            for name in names:
                if not getattr(self, name) >= least:
                    value = getattr(self, name)
                    raise InputError(f"{name.replace('_', '-')} is {value}; at least {least} is needed.")
        if self.train not in TRAINABLE:
            raise InputError(f"'{self.train}' cannot be trained; choose one of {', '.join(TRAINABLE)}.")
        if unknown := [concept for concept in self.concepts if concept not in CONCEPTS]:
            raise InputError(
                f"The labels do not say where '{unknown[0]}' is; text can name {' and '.join(map(repr, CONCEPTS))}."
            )
        if self.text_encoder.partition(":")[0] not in (TOKENS, CLIP):
            raise InputError(f"'{self.text_encoder}' is no text encoder; give {TOKENS}, {CLIP}, or {CLIP}:NAME.")
        if self.concepts and LIVER_TUMOR not in self.concepts:
            raise InputError(f"Text learns '{LIVER}' together with '{LIVER_TUMOR}' only; name both, or none.")
        if not self.point + self.box + self.box_and_point + (self.text if self.concepts else 0.0) > 0:
            raise InputError("No kind of prompt is asked; give one of point, box, box-and-point and text a weight.")
        if self.batch % self.accumulate:
            raise InputError(f"A batch of {self.batch} cannot be split into {self.accumulate} equal parts.")
        if not self.learning_rate > 0:
            raise InputError(f"The learning rate is {self.learning_rate:g}; it has to be above 0.")
        if not 0 <= self.average < 1:
            raise InputError(f"The average is {self.average:g}; it lies between 0 and 1.")
        if not 0 < self.validation_share < 1:
            raise InputError(f"The share for validation is {self.validation_share:g}; it lies between 0 and 1.")
        if self.labels and len(self.images) != len(self.labels):
            raise InputError(f"There are {len(self.images)} folders of images and {len(self.labels)} of labels.")
        if self.windows and len(self.windows) != len(self.images):
            raise InputError(
                f"There are {len(self.images)} folders of images and {len(self.windows)} windows for them."
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a TOML file or card has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def from_mapping(values: Mapping[str, Any], base: TrainSettings | None = None) -> TrainSettings:
    """Settings from plain values over others.

    :raises InputError: an unknown name, or a value of another type.
    """
    known = {each.name: each for each in fields(TrainSettings)}
    taken: dict[str, Any] = {}
    start = base or TrainSettings()
    for name, value in values.items():
        key = name.replace("-", "_")
        if key not in known:
            raise InputError(f"'{name}' is not a setting of a training; there are {', '.join(sorted(known))}.")
        taken[key] = _typed(key, value, getattr(start, key))
    return replace(start, **taken)


def read_settings(path: Path) -> TrainSettings:
    """Settings from a TOML file, or JSON by its ending; relative paths in it start at its folder.

    :raises InputError: missing or malformed file, an unknown name, or a value of another type.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        text = Path(path).read_text(encoding="utf-8")
        values = parse_json(text) if Path(path).suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:  # both parsers' errors, and text that is not UTF-8
        raise InputError(f"'{path}' cannot be understood ({error}); it has to be TOML, or JSON with .json.") from error
    if not isinstance(values, dict):
        raise InputError(f"'{path}' holds no settings.")
    folder = Path(path).resolve().parent
    settings = from_mapping(values)
    places = {
        name: tuple(str(folder / each) for each in getattr(settings, name))
        for name in ("images", "labels", "unlabeled")
    }
    for name in ("out", "hold_out", "cache"):
        if getattr(settings, name):
            places[name] = str(folder / getattr(settings, name))
    return replace(settings, **places)


def _typed(name: str, value: Any, like: Any) -> Any:
    """The value in the type of the default.

    :raises InputError: it cannot be.
    """
    wrong = InputError(f"Setting '{name}' is {value!r}; {_what(like)} is needed.")
    if isinstance(like, bool) or isinstance(value, bool):
        if isinstance(value, bool) and isinstance(like, bool):
            return value
        raise wrong
    if isinstance(like, tuple):
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise wrong
        return tuple(value)
    if isinstance(like, float) and isinstance(value, int | float):
        return float(value)
    if isinstance(like, Mapping) and isinstance(value, Mapping):
        return {str(key): str(each) for key, each in value.items()}
    if isinstance(value, type(like)):
        return value
    raise wrong


def _what(like: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}
    return kinds.get(type(like), "a table of texts")
