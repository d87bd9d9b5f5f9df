"""The U-Net to compare a training run with: same patients, limited training time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from SAMLiverTumorLib.datasets.cases import Case, load_case
from SAMLiverTumorLib.datasets.split import split_patients
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.io.atomic import check_output
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.networks.unet import save_unet
from SAMLiverTumorLib.training.baseline.unet_training import UnetSettings, train_unet
from SAMLiverTumorLib.training.progress_events import Reporter, memory_mb
from SAMLiverTumorLib.training.samples.prepare import labeled_cases
from SAMLiverTumorLib.training.settings import TrainSettings

NAME = "unet.safetensors"


def train_baseline(
    settings: TrainSettings,
    minutes: float,
    report: Reporter,
    cancel: Callable[[], bool] = lambda: False,
    unet: UnetSettings | None = None,
) -> Path | None:
    """Train the U-Net on the training patients of a run with these settings, and validate it on the same others.

    :param minutes: training time, including validation; for a fair comparison that of the run.
    :param unet: other settings of the U-Net; time and seed are replaced by those given here.
    :return: the weight file in `settings.out`; None if it was cancelled.
    :raises InputError: there is only one patient, or reading or splitting fails.
    :raises OutputError: the folder already holds a U-Net, or cannot be written.
    """
    cases = labeled_cases(settings)
    split = split_patients(
        [case.name for case in cases], settings.validation, settings.test, settings.validation_share, settings.seed
    )
    if split.same_volume:
        raise InputError("A U-Net must be validated on another patient than it learned from; add one.")
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    check_output(folder / NAME)

    def read(names: tuple[str, ...]) -> Iterator[Case]:
        return (load_case(files, settings.label_names) for files in cases if files.name in names)

    started = time.monotonic()

    def on_step(step: int, loss: float, dice: float | None) -> None:
        left = max(0.0, 60.0 * minutes - (time.monotonic() - started))
        report("step", step=step, epoch=0, loss=loss, eta_s=round(left, 1), memory_mb=memory_mb())
        if dice is not None:
            report("validation", epoch=0, step=step, score=dice, dice={"automatic": dice})

    budget = replace(unet or UnetSettings(), seconds=60.0 * minutes, seed=settings.seed)
    device = str(resolve_device(settings.device))
    try:
        network = train_unet(read(split.train), read(split.validation), budget, on_step, cancel, device)
    except Cancelled:
        report("cancelled", step=0)
        return None
    save_unet(network, folder / NAME)
    report("note", text=f"{NAME}: Dice {network.card['best_validation_dice']:.3f} on {listed(split.validation)}.")
    return folder / NAME
