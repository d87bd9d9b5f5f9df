"""All that a training needs to go on exactly where it was, in one file that is replaced whole or not at all."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.models.checkpoint import BROKEN_STREAM

NAME = "last.pt"


@dataclass
class TrainingState:
    """Where a training is.

    :param step: steps that are done.
    :param weights: what learns, by name.
    :param optimizer: `Optimizer.state_dict()`.
    :param best: weights of the best epoch so far.
    :param best_score: its validation score.
    :param best_epoch: its number, from 1; 0 is the model before training.
    :param history: one entry for each validation.
    :param settings: of the run, as plain values.
    :param data: hash of each patient's voxels and labels.
    :param teacher: average weights of a mean teacher.
    :param average: running average of the weights.
    :param scaler: of mixed precision on a graphics card.
    """

    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_score: float = float("-inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it to the run's folder.

        :raises OutputError: the disk is full, or refuses; the file from before stays as it was.
        """
        content = {**self.__dict__, "history": json.dumps(self.history), "settings": json.dumps(self.settings)}
        with atomic_path(Path(folder) / NAME, overwrite=True) as temporary:
            torch.save(content, temporary)


def load_state(folder: Path) -> TrainingState:
    """The state of a run.

    :raises InputError: there is none, or it is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(f"'{folder}' holds no training to resume; leave --resume out to begin one.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return TrainingState(
            **{**content, "history": parse_json(content["history"]), "settings": parse_json(content["settings"])}
        )
    except (pickle.UnpicklingError, *BROKEN_STREAM) as error:
        raise InputError(
            f"'{path}' is damaged ({type(error).__name__}); begin the training anew in another folder."
        ) from error
