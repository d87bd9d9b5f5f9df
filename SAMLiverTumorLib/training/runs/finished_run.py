"""A finished training run, read from its folder: card and settings with the patients' own names and folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.datasets.patient_aliases import aliases, without_patients
from SAMLiverTumorLib.models.weights import read_about
from SAMLiverTumorLib.training.optimization.checkpoint_state import NAME, load_state
from SAMLiverTumorLib.training.runs.process import RESULTS


@dataclass(frozen=True)
class FinishedRun:
    """The results in a run's folder.

    :param weights: its weight file.
    :param card: of the weight file, with patients named after their files. The weight file itself is meant to be passed
        on, and may hold aliases instead.
    :param settings: plain values, with folders if the run's last state is still there; else those of the card.
    """

    weights: Path
    card: dict[str, Any]
    settings: dict[str, Any]


def finished_run(folder: Path) -> FinishedRun | None:
    """The finished run in a folder; None if there is none.

    :raises ModelError: the weight file is damaged.
    :raises InputError: the last state is damaged.
    """
    path = next((Path(folder) / name for name in RESULTS if (Path(folder) / name).is_file()), None)
    card = ((read_about(path) or {}).get("card") or {}) if path is not None else {}
    if path is None or not {"split", "settings", "before", "after"} <= card.keys():
        return None
    if not (Path(folder) / NAME).is_file():
        return FinishedRun(path, card, card["settings"])
    state = load_state(folder)
    names = {alias: name for name, alias in aliases(state.data).items()}
    return FinishedRun(path, without_patients(card, names), state.settings)
