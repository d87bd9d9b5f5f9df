"""The state from which a training run resumes exactly, in one file that is replaced atomically."""

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
    """Where a training run is.

    :param step: number of steps done.
    :param weights: the weights that learn, by name.
    :param optimizer: `Optimizer.state_dict()`.
    :param best: weights of the best epoch so far.
    :param best_score: its validation score.
    :param best_epoch: its number, from 1; 0 is the model before training.
    :param history: one entry for each validation.
    :param settings: of the run, as plain values.
    :param data: hash of each patient's voxels and labels.
    :param scaler: state of the gradient scaler, for mixed precision on a graphics card.
    :param average: running average of the weights.
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
    average: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the state to the run's folder.

        :raises OutputError: the disk is full or cannot be written; the earlier file stays as it was.
        """
        content = {**self.__dict__, "history": json.dumps(self.history), "settings": json.dumps(self.settings)}
        with atomic_path(Path(folder) / NAME, overwrite=True) as temporary:
            torch.save(content, temporary)


def load_state(folder: Path) -> TrainingState:
    """The saved state of a run.

    :raises InputError: there is none, or it is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(f"'{folder}' holds no training run to resume; leave --resume out to start one.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content |= {name: parse_json(content[name]) for name in ("history", "settings")}
        content.pop("teacher", None)  # of the mean teacher, in files before 0.2.0
        return TrainingState(**content)
    except (pickle.UnpicklingError, *BROKEN_STREAM) as error:
        raise InputError(
            f"'{path}' is damaged ({type(error).__name__}); start a new training run in another folder."
        ) from error
