"""The U-Net to compare a run with: on the same patients, in a time that is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from SAMLiverTumorLib.datasets.cases import Case, load_case
from SAMLiverTumorLib.datasets.split import split_patients
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.io.atomic import check_output
from SAMLiverTumorLib.models.builders import resolve_device
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
    """Train the U-Net on the patients that a run with these settings learns from, validated on the same others.

    :param minutes: what the run took, say; validation included.
    :param unet: how it is trained; time and seed are those given here.
    :return: the weight file in `settings.out`; None where it was cancelled.
    :raises InputError: one patient alone, or what reading and splitting refuse.
    :raises OutputError: the folder holds a U-Net already, or cannot be written.
    """
    cases = labeled_cases(settings)
    split = split_patients(
        [case.name for case in cases], settings.validation, settings.test, settings.validation_share, settings.seed
    )
    if split.same_volume:
        raise InputError("A U-Net has to be validated on another patient than it learned from; add one.")
    folder = Path(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    check_output(folder / NAME)

    def read(names: tuple[str, ...]) -> Iterator[Case]:
        return (load_case(files, settings.label_names) for files in cases if files.name in names)

    begun = time.monotonic()

    def told(step: int, loss: float, dice: float | None) -> None:
        left = max(0.0, 60.0 * minutes - (time.monotonic() - begun))
        report("step", step=step, epoch=0, loss=loss, eta_s=round(left, 1), memory_mb=memory_mb())
        if dice is not None:
            report("validation", epoch=0, step=step, score=dice, dice={"automatic": dice})

    budget = replace(unet or UnetSettings(), seconds=60.0 * minutes, seed=settings.seed)
    device = str(resolve_device(settings.device))
    try:
        network = train_unet(read(split.train), read(split.validation), budget, told, cancel, device)
    except Cancelled:
        report("cancelled", step=0)
        return None
    save_unet(network, folder / NAME)
    report("note", text=f"{NAME}: Dice {network.card['best_validation_dice']:.3f} on {', '.join(split.validation)}.")
    return folder / NAME
