"""Settings of a training run: from the command line, a TOML file, the panel, or the card of an earlier run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.json_text import parse_json

TRAINABLE = ("decoder", "lora", "last", "all")
"""Which part learns: mask decoder and prompt tokens; these and adapters in the encoder; these and the encoder's last
stage; everything."""

FROZEN_ENCODER = ("decoder", "last")
"""Parts with which the encoder, or all but its last stage, stays frozen, so that embeddings are computed once."""

TOKENS, CLIP = "tokens", "clip"
"""Text encoders: learned tokens, or CLIP."""

LIVER, LIVER_TUMOR = "liver", "liver tumor"
CONCEPTS = (LIVER_TUMOR, LIVER)
"""Concepts that text prompts can learn."""

MEAN_TEACHER_REMOVED = "Learning from unlabeled scans was removed in version 0.2.0: it lowered Dice."
_OF_MEAN_TEACHER = ("unlabeled", "unlabeled_window", "unlabeled_slices")
"""Settings of earlier versions; they are accepted where they name no scans, as every earlier run's settings do."""

_FROM_ONE = ("epochs", "steps", "batch", "accumulate", "rank")
_FROM_ZERO = (
    *("weight_decay", "patience", "copies", "negatives", "slices", "validation_slices", "corrections", "warm_up"),
    *("point", "box", "box_and_point", "text", "synthetic", "seed"),
)


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run; the defaults suit two CPU cores.

    :param images: folders of images, or single files.
    :param labels: folders of label maps, one for each of `images`; empty if they lie in the same folders.
    :param out: folder of the run.
    :param base: model id or weight file to start from.
    :param train: which part learns, see `TRAINABLE`.
    :param series: number or UID of the DICOM series to read in folders that hold several.
    :param cases: patients to use; empty for all that are found.
    :param validation: patients to validate on; empty to draw them at random.
    :param validation_share: share of the patients to draw for validation.
    :param test: patients for the comparison before and after; empty to compare on the validation patients.
    :param hold_out: file that lists patients to refuse.
    :param label_names: label value or segment name -> "tumor", "liver" or "ignore"; empty for what `dataset.json` says,
        or 1 liver and 2 tumor.
    :param window: as in `parse_window`; becomes the default window of the new model.
    :param windows: one for each of `images`, for scans that are not in Hounsfield units. It has to show the same as
        `window`, such as "0,255" for scans stored as 8-bit grey of that window.
    :param epochs: maximum number of epochs.
    :param steps: steps per epoch.
    :param batch: slice images per step, over all processes and accumulated parts.
    :param accumulate: parts that a step is split into, to save memory.
    :param learning_rate: peak rate of AdamW, after the warm-up; it falls as a cosine to zero at the last epoch.
    :param weight_decay: of AdamW.
    :param average: decay of the running average of the weights. Epochs are compared by that average, which is steadier
        than the weights of the last step; 0 compares these instead.
    :param warm_up: share of all steps in which the rate rises.
    :param patience: epochs without a better validation score before stopping early; 0 never stops early.
    :param copies: augmented copies of each slice image, encoded once.
    :param negatives: slices of liver without tumor from each case.
    :param slices: maximum number of slices with tumor from each case; 0 for all.
    :param validation_slices: the same for validation after each epoch.
    :param concepts: concepts that text prompts learn; empty for no text.
    :param text_encoder: "tokens", learned for each of `concepts`, or "clip", "clip:NAME:TAG", "clip:FOLDER" for any
        phrase, see `models/clip/clip_source.py`.
    :param point, box, box_and_point, text: relative frequency of each kind of prompt.
    :param corrections: maximum number of corrective clicks after the first prompt.
    :param rank: of the adapters.
    :param synthetic: number of volumes with painted tumors to add, made from the livers of the cases.
    :param painted: patients whose livers are painted into; empty for all training patients.
    :param seed: of all random numbers.
    :param device: "auto", "cpu", "cuda", ...
    :param half: save 16-bit weights.
    :param cache: folder of embeddings; empty for one in the run's folder.
    :param blend: also try mixtures of old and new weights, and keep the best on validation.
    :param names: keep patients' names, which are their file names, in the weight file.
    """

    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    out: str = ""
    base: str = "lite-medsam"
    train: str = "decoder"
    series: str = ""
    cases: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    validation_share: float = 0.25
    test: tuple[str, ...] = ()
    hold_out: str = ""
    label_names: Mapping[str, str] = field(default_factory=dict)
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
                f"The labels do not say where '{unknown[0]}' is; text can learn {' and '.join(map(repr, CONCEPTS))}."
            )
        if self.text_encoder.partition(":")[0] not in (TOKENS, CLIP):
            raise InputError(f"'{self.text_encoder}' is not a text encoder; give {TOKENS}, {CLIP}, or {CLIP}:NAME.")
        if self.concepts and LIVER_TUMOR not in self.concepts:
            raise InputError(f"Text learns '{LIVER}' only together with '{LIVER_TUMOR}'; name both, or none.")
        if not self.point + self.box + self.box_and_point + (self.text if self.concepts else 0.0) > 0:
            raise InputError("No kind of prompt is trained; give point, box, box-and-point or text a weight.")
        if self.batch % self.accumulate:
            raise InputError(f"A batch of {self.batch} cannot be split into {self.accumulate} equal parts.")
        if not self.learning_rate > 0:
            raise InputError(f"The learning rate is {self.learning_rate:g}; it must be above 0.")
        if not 0 <= self.average < 1:
            raise InputError(f"The average is {self.average:g}; it must be at least 0 and below 1.")
        if not 0 < self.validation_share < 1:
            raise InputError(f"The share for validation is {self.validation_share:g}; it must be between 0 and 1.")
        if self.labels and len(self.images) != len(self.labels):
            raise InputError(f"There are {len(self.images)} folders of images and {len(self.labels)} of labels.")
        if self.windows and len(self.windows) != len(self.images):
            raise InputError(
                f"There are {len(self.images)} folders of images and {len(self.windows)} windows for them."
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in a TOML file or card."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def from_mapping(values: Mapping[str, Any], base: TrainSettings | None = None) -> TrainSettings:
    """Settings from plain values, which override those of `base`.

    :raises InputError: an unknown name, a value of another type, or unlabeled scans.
    """
    known = {each.name: each for each in fields(TrainSettings)}
    taken: dict[str, Any] = {}
    start = base or TrainSettings()
    for name, value in values.items():
        key = name.replace("-", "_")
        if key in _OF_MEAN_TEACHER:
            if key == "unlabeled" and value:
                raise InputError(f"{MEAN_TEACHER_REMOVED} Leave '{name}' out.")
            continue
        if key not in known:
            raise InputError(f"'{name}' is not a setting of a training run; there are {', '.join(sorted(known))}.")
        taken[key] = _typed(key, value, getattr(start, key))
    return replace(start, **taken)


def read_settings(path: Path) -> TrainSettings:
    """Settings from a TOML file, or JSON by its ending; relative paths in it are relative to its folder.

    :raises InputError: missing or malformed file, an unknown name, or a value of another type.
    """
    values = read_values(path)
    folder = Path(path).resolve().parent
    settings = from_mapping(values)
    places = {name: tuple(str(folder / each) for each in getattr(settings, name)) for name in ("images", "labels")}
    for name in ("out", "hold_out", "cache"):
        if getattr(settings, name):
            places[name] = str(folder / getattr(settings, name))
    return replace(settings, **places)


def _typed(name: str, value: Any, like: Any) -> Any:
    """The value as the type of the default.

    :raises InputError: it has another type.
    """
    wrong = InputError(f"Setting '{name}' is {value!r}; {_type_name(like)} is needed.")
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


def _type_name(like: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}
    return kinds.get(type(like), "a table of texts")


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a file of settings: TOML, or JSON by its ending.

    :raises InputError: missing or malformed file, or one that holds no settings.
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
        raise InputError(f"'{path}' cannot be parsed ({error}); it must be TOML, or JSON with .json.") from error
    if not isinstance(values, dict):
        raise InputError(f"'{path}' holds no settings.")
    return values
