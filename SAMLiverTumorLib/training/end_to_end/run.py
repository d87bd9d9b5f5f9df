"""The training of the bundled model's network: scans, steps, checkpoints to go on from, and the file at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.registry import ModelInfo, get_model
from SAMLiverTumorLib.models.weights import describe, save_weights
from SAMLiverTumorLib.training.end_to_end.examples import Examples
from SAMLiverTumorLib.training.end_to_end.load_scans import load_scans
from SAMLiverTumorLib.training.end_to_end.settings import NetworkSettings
from SAMLiverTumorLib.training.end_to_end.step import step_losses
from SAMLiverTumorLib.training.end_to_end.student import CONCEPTS, Student
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.base_model import open_base
from SAMLiverTumorLib.training.runs.long_run import (
    WEIGHTS,
    RunState,
    card_of,
    check_folder,
    go_on,
    read_state,
    rounds_at,
)

_TEXT, _SLOWER = 0.7, 0.25


def run_end_to_end(
    settings: NetworkSettings,
    folder: Path,
    report: Reporter,
    resume: bool = False,
    confirm: Callable[[str], bool] = lambda question: False,
    cancel: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Train as the settings say.

    :param folder: of the run's files; what is saved there every few minutes is enough to go on with `resume`.
    :param confirm: asked before the model whose decoder is the start is downloaded.
    :param cancel: asked before each step.
    :return: the model's file; None where it was cancelled.
    :raises SAMLiverTumorError: the user can mend it.
    """
    check_folder(folder, resume)
    scans = load_scans(settings, lambda name: report("note", text=f"Reading {name}"))
    examples = Examples([scan for scan in scans if scan.has_liver], settings.real, settings.painted)
    torch.manual_seed(settings.seed)
    student = _student(settings, confirm)
    state = RunState.begun(student, _optimizer(student, settings), folder, resume)
    if not go_on(state, settings, folder, lambda: _step(state, student, settings, examples), report, cancel):
        return None
    student.load_state_dict(state.average)
    student.cpu()
    path = folder / WEIGHTS
    card = card_of(state, settings, [scan.name for scan in scans])
    save_weights(path, student.model_weights(), {**describe(network_info()), "card": card}, half=True)
    report("note", text=f"The model is {path.name}; compare it on patients that were left out.")
    return path


def network_info() -> ModelInfo:
    """How images and prompts are made for a network that was trained here."""
    return ModelInfo(
        id="network",
        title="Liver tumor",
        architecture="pyramid",
        input_size=512,
        prompts=frozenset({"points", "box", "mask", "text"}),
        normalization="liver",
        resize="native",
        file_name=WEIGHTS,
        size=0,
        sha256="",
        licence="Apache-2.0",
        citation=get_model("lite-medsam").citation,
        notes="Trained by sam-liver-tumor train; see the card in the file.",
        sources=(),
        default_window="wide",
        concepts=CONCEPTS,
        channels="slices",
    )


def _student(settings: NetworkSettings, confirm: Callable[[str], bool]) -> Student:
    student = Student()
    if settings.start:
        student.load_state_dict(read_state(Path(settings.start))["average"])
    else:
        base = open_base(settings.decoder, confirm, "cpu")
        named = {"image_encoder": base.image_encoder, "prompt_encoder": base.prompt_encoder}
        networks = nn.ModuleDict({**named, "mask_decoder": base.mask_decoder})
        student.start_from(networks.state_dict())
    return student.to(resolve_device(settings.device))


def _optimizer(student: Student, settings: NetworkSettings) -> torch.optim.Optimizer:
    new, old = [], []
    for name, weight in student.named_parameters():
        (new if name.startswith(("image_encoder.", "mask_decoder.upsampling.")) else old).append(weight)
    return torch.optim.AdamW(
        [{"params": new, "share": 1.0}, {"params": old, "share": _SLOWER}],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
    )


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether 16 bits are faster than 32: on a processor that lacks them they take ten times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and has is not None and bool(has())


def _step(state: RunState, student: Student, settings: NetworkSettings, examples: Examples) -> dict[str, float]:
    """One step."""
    rng = state.ready(settings)
    size, batch = settings.size, settings.batch
    if rng.random() < settings.large:
        share = (settings.size / settings.large_size) ** 2
        size, batch = settings.large_size, max(round(settings.batch * share), 2)
    drawn = [examples.draw(size, rng) for _ in range(batch)]
    rounds = rounds_at(settings, state.step, rng)
    losses = step_losses(student, drawn, rounds, rng, half=computes_in_bfloat16(state.device))
    state.step += 1
    if not losses:
        return {}
    total = losses.get("mask", 0.0) + _TEXT * losses.get("text", 0.0)
    total.backward()
    state.learn(settings.average)
    return {name: float(loss.detach()) for name, loss in losses.items()}
