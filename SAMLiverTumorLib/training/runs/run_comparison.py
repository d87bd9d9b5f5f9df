"""The comparison of a finished run: its base, its model and its U-Net, on the patients that it left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.datasets.cases import CaseFiles
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import Window, parse_window
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.training.runs.finished_run import finished_run
from SAMLiverTumorLib.training.samples.prepare import labeled_cases
from SAMLiverTumorLib.training.settings import from_mapping

UNET = "unet.safetensors"


@dataclass(frozen=True)
class RunComparison:
    """The models of a run to compare, and the patients to compare them on.

    :param base: model id or weight file that the run started from.
    :param model: the run's weight file.
    :param unet: the U-Net trained on the same patients; None if there is none.
    :param cases: files of the patients to compare on.
    :param label_names: as `TrainSettings.label_names`.
    :param windows: window of each patient, as in the run.
    :param note: which patients these are, to be printed with the figures.
    """

    base: str
    model: Path
    unet: Path | None
    cases: tuple[CaseFiles, ...]
    label_names: dict[str, str]
    windows: dict[str, Window]
    note: str


def comparison_of_run(
    folder: Path,
    images: Path | None = None,
    labels: Path | None = None,
    names: tuple[str, ...] = (),
    series: str = "",
) -> RunComparison:
    """The comparison for a run's folder.

    :param images, labels: other scans than the run's own, or their new location; None for the run's own location.
    :param names: only these patients; empty for the run's test patients, or its validation patients if it has none.
    :param series: DICOM series of `images`; the run's own scans are read from that of the run.
    :raises InputError: the folder has no finished run, its scans are missing, or the run left no patient out.
    """
    folder = Path(folder)
    run = finished_run(folder)
    if run is None:
        raise InputError(f"'{folder}' holds no finished training run; wait for it, or choose another folder.")
    # a card holds no folders, and windows belong to folders
    values = run.settings if "images" in run.settings else {**run.settings, "windows": []}
    settings = from_mapping({name: value for name, value in values.items() if name != "unlabeled"})
    if images is not None:
        places = {"images": (str(images),), "labels": (str(labels or images),), "series": series}
        settings = replace(settings, **places, windows=())
    split = run.card["split"]
    chosen = names or tuple(split["test"] or split["validation"])
    same = set(chosen) & set(split["train"])
    if same and not names:
        raise InputError(
            f"The run learned from its only patient, {listed(sorted(same))}, so no fair comparison is possible; "
            "give other scans with --images and --cases."
        )
    cases = labeled_cases(replace(settings, cases=chosen))
    unet = folder / UNET
    return RunComparison(
        settings.base,
        run.weights,
        unet if unet.is_file() else None,
        tuple(cases),
        dict(settings.label_names),
        {each.name: parse_window(each.window) for each in cases},
        _note(chosen, split),
    )


def _note(chosen: tuple[str, ...], split: dict[str, Any]) -> str:
    who = listed(chosen, 20)
    if set(chosen) <= set(split["test"]):
        return f"Compared on the run's test patients, {who}, which the run neither learned from nor chose by."
    if set(chosen) <= set(split["validation"]):
        return (
            f"The run had no test patients: compared on its validation patients, {who}, which chose the epoch of the "
            "fine-tuned model (and of the U-Net), so their figures are somewhat too good."
        )
    return f"Compared on {who}, chosen by name."
