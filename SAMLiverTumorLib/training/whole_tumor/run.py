"""The training of the network of whole lesions: scans, steps, checkpoints to go on from, and the file at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from SAMLiverTumorLib.inference.whole_tumor.lesion_network import save_lesion_network
from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.networks.lesion_unet import LesionUnet
from SAMLiverTumorLib.training.end_to_end.load_scans import load_volumes
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.long_run import (
    WEIGHTS,
    RunState,
    card_of,
    check_folder,
    go_on,
    read_state,
    rounds_at,
)
from SAMLiverTumorLib.training.whole_tumor.examples import Examples
from SAMLiverTumorLib.training.whole_tumor.lesion_bank import LesionBank
from SAMLiverTumorLib.training.whole_tumor.settings import WholeTumorSettings
from SAMLiverTumorLib.training.whole_tumor.step import learn_from


def run_whole_tumor(
    settings: WholeTumorSettings,
    folder: Path,
    report: Reporter,
    resume: bool = False,
    cancel: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Train as the settings say.

    :param folder: of the run's files; what is saved there every few minutes is enough to go on with `resume`.
    :param cancel: asked before each step.
    :return: the model's file; None where it was cancelled.
    :raises SAMLiverTumorError: the user can mend it.
    """
    check_folder(folder, resume)
    scans = load_volumes(settings, lambda name: report("note", text=f"Reading {name}"))
    examples = Examples(LesionBank(scans), settings.real, settings.size)
    torch.manual_seed(settings.seed)
    network = LesionUnet(settings.widths)
    if settings.start:
        network.load_state_dict(read_state(Path(settings.start))["average"])
    network.to(resolve_device(settings.device))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
    )
    state = RunState.begun(network, optimizer, folder, resume)
    if not go_on(state, settings, folder, lambda: _step(state, settings, examples), report, cancel):
        return None
    path = folder / WEIGHTS
    card = card_of(state, settings, [scan.name for scan in scans])
    save_lesion_network(path, state.average, settings.widths, card)
    report("note", text=f"The network is {path.name}; measure it on patients that were left out.")
    return path


def _step(state: RunState, settings: WholeTumorSettings, examples: Examples) -> dict[str, float]:
    """One step."""
    rng = state.ready(settings)
    drawn = [examples.draw(rng) for _ in range(settings.batch)]
    losses = learn_from(state.student, drawn, rounds_at(settings, state.step, rng), rng)
    state.step += 1
    state.learn(settings.average)
    return losses
