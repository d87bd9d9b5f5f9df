"""What of a finished run is compared: its base, its model and its U-Net, on the patients that it left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import Window, parse_window
from SAMLiverTumorLib.models.weights import read_about
from SAMLiverTumorLib.training.cases import CaseFiles
from SAMLiverTumorLib.training.prepare import labeled_cases
from SAMLiverTumorLib.training.process import RESULTS, SETTINGS
from SAMLiverTumorLib.training.settings import TrainSettings, from_mapping, read_settings

UNET = "unet.safetensors"


@dataclass(frozen=True)
class RunComparison:
    """The contestants of a run, and where they meet.

    :param base: model id or weight file that the run started from.
    :param model: the run's weight file.
    :param unet: the U-Net trained on the same patients; None where there is none.
    :param cases: files of the patients to compare on.
    :param label_names: as `TrainSettings.label_names`.
    :param windows: how each patient is shown, as in the run.
    :param note: which patients these are, to stand with the figures.
    """

    base: str
    model: Path
    unet: Path | None
    cases: tuple[CaseFiles, ...]
    label_names: dict[str, str]
    windows: dict[str, Window]
    note: str


def comparison_of_run(
    folder: Path, images: Path | None = None, labels: Path | None = None, names: tuple[str, ...] = ()
) -> RunComparison:
    """What a run's folder says is to be compared.

    :param images, labels: other scans than the run's own, or where the run's lie now; None for where they lay.
    :param names: only these patients; empty for the run's test patients, else its validation patients.
    :raises InputError: the folder has no finished run, its scans are not found, or it left no patient out.
    """
    folder = Path(folder)
    paths = [folder / name for name in RESULTS if (folder / name).is_file()]
    card = ((read_about(paths[0]) or {}).get("card") or {}) if paths else {}
    if not {"split", "settings", "base"} <= card.keys():
        raise InputError(f"'{folder}' holds no finished training to compare; wait for it, or choose another folder.")
    settings = _settings(folder, card)
    if images is not None:
        settings = replace(settings, images=(str(images),), labels=(str(labels or images),), windows=())
    split = card["split"]
    chosen = names or tuple(split["test"] or split["validation"])
    same = set(chosen) & set(split["train"])
    if same and not names:
        raise InputError(
            f"The run learned from its only patient, {', '.join(sorted(same))}, so nothing of it can be compared "
            "fairly; give other scans with --images and --cases."
        )
    cases = labeled_cases(replace(settings, cases=chosen))
    unet = folder / UNET
    return RunComparison(
        settings.base,
        paths[0],
        unet if unet.is_file() else None,
        tuple(cases),
        dict(settings.label_names),
        {each.name: parse_window(each.window) for each in cases},
        _note(chosen, split),
    )


def _note(chosen: tuple[str, ...], split: dict[str, Any]) -> str:
    who = ", ".join(chosen)
    if set(chosen) <= set(split["test"]):
        return f"Compared on the run's test patients, {who}, which neither were learned from nor chose anything."
    if set(chosen) <= set(split["validation"]):
        return (
            f"The run had no test patients: compared on those of validation, {who}, which chose the epoch of the "
            "fine-tuned model (and the U-Net's), so that its figures are somewhat too good."
        )
    return f"Compared on {who}, chosen by name."


def _settings(folder: Path, card: dict[str, Any]) -> TrainSettings:
    """The run's settings with its folders, which the card does not name."""
    from SAMLiverTumorLib.training.state import NAME, load_state

    if (folder / NAME).is_file():
        return from_mapping(load_state(folder).settings)
    if (folder / SETTINGS).is_file():
        return read_settings(folder / SETTINGS)
    return from_mapping({**card["settings"], "windows": []})
