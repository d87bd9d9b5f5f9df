"""The training of the bundled model's network: scans, steps, checkpoints to go on from, and the file at the end."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.registry import ModelInfo, get_model
from SAMLiverTumorLib.models.weights import describe, save_weights
from SAMLiverTumorLib.training.end_to_end.examples import Examples
from SAMLiverTumorLib.training.end_to_end.load_scans import load_scans
from SAMLiverTumorLib.training.end_to_end.settings import NetworkSettings
from SAMLiverTumorLib.training.end_to_end.step import step_losses
from SAMLiverTumorLib.training.end_to_end.student import CONCEPTS, Student
from SAMLiverTumorLib.training.progress_events import Reporter, memory_mb
from SAMLiverTumorLib.training.runs.base_model import open_base

CHECKPOINT, WEIGHTS = "last.pt", "model.safetensors"
_SAVE_EVERY_S, _REPORT_EVERY = 150.0, 25
_TEXT, _SLOWER, _LARGEST_NORM = 0.7, 0.25, 2.0


@dataclass(eq=False)
class _State:
    """What a run goes on from."""

    student: Student
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0

    @property
    def device(self) -> torch.device:
        return next(self.student.parameters()).device


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
    _check_folder(folder, resume)
    scans = load_scans(settings, lambda name: report("note", text=f"Reading {name}"))
    examples = Examples([scan for scan in scans if scan.has_liver], settings.real, settings.painted)
    torch.manual_seed(settings.seed)
    state = _begun(settings, folder, resume, confirm)
    report("start", settings=_told(settings), resumed_at=state.step)
    started, saved = time.monotonic() - state.seconds, time.monotonic()
    recent: dict[str, list[float]] = {}
    while state.step < settings.steps:
        if cancel():
            _save(state, folder)
            report("cancelled", step=state.step)
            return None
        losses = _step(state, settings, examples)
        for name, loss in losses.items():
            recent.setdefault(name, []).append(loss)
        state.seconds = time.monotonic() - started
        if state.step % _REPORT_EVERY == 0:
            left = state.seconds / state.step * (settings.steps - state.step)
            means = {name: float(np.mean(values)) for name, values in recent.items()}
            report(
                "step",
                step=state.step,
                epoch=0,
                loss=sum(means.values()),
                losses=means,
                eta_s=round(left),
                memory_mb=memory_mb(),
            )
            recent = {}
        if time.monotonic() - saved > _SAVE_EVERY_S:
            saved = time.monotonic()
            _save(state, folder)
    _save(state, folder)
    state.student.load_state_dict(state.average)
    state.student.cpu()
    path = folder / WEIGHTS
    card = {
        "settings": _told(settings),
        "split": {"train": sorted(scan.name for scan in scans), "validation": [], "test": list(settings.leave_out)},
        "steps": state.step,
        "hours": round(state.seconds / 3600, 2),
        "versions": {"sam-liver-tumor": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    save_weights(path, state.student.model_weights(), {**describe(network_info()), "card": card}, half=True)
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


def _check_folder(folder: Path, resume: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Folder '{folder}' cannot be made ({error.strerror}); choose another.") from error
    there = (folder / CHECKPOINT).exists()
    if there and not resume:
        raise OutputError(f"'{folder}' holds a training already; go on with it by --resume, or choose another folder.")
    if resume and not there:
        raise InputError(f"There is no training to go on with in '{folder}'.")


def _begun(settings: NetworkSettings, folder: Path, resume: bool, confirm: Callable[[str], bool]) -> _State:
    student = Student()
    if settings.start:
        student.load_state_dict(_read(Path(settings.start) / CHECKPOINT)["average"])
    else:
        base = open_base(settings.decoder, confirm, "cpu")
        named = {"image_encoder": base.image_encoder, "prompt_encoder": base.prompt_encoder}
        networks = nn.ModuleDict({**named, "mask_decoder": base.mask_decoder})
        student.start_from(networks.state_dict())
    student.to(resolve_device(settings.device))
    new, old = [], []
    for name, weight in student.named_parameters():
        (new if name.startswith(("image_encoder.", "mask_decoder.upsampling.")) else old).append(weight)
    optimizer = torch.optim.AdamW(
        [{"params": new, "share": 1.0}, {"params": old, "share": _SLOWER}],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
    )
    state = _State(student, optimizer, {k: v.detach().clone() for k, v in student.state_dict().items()})
    if resume:
        kept = _read(folder / CHECKPOINT)
        student.load_state_dict(kept["student"])
        optimizer.load_state_dict(kept["optimizer"])
        state.average, state.step, state.seconds = kept["average"], kept["step"], kept["seconds"]
    student.train()
    return state


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether 16 bits are faster than 32: on a processor that lacks them they take ten times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and has is not None and bool(has())


def _step(state: _State, settings: NetworkSettings, examples: Examples) -> dict[str, float]:
    """One step; the same seed and number give the same examples."""
    rng = np.random.default_rng((settings.seed, state.step))
    rate = settings.learning_rate * rate_share(settings, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    size, batch = settings.size, settings.batch
    if rng.random() < settings.large:
        share = (settings.size / settings.large_size) ** 2
        size, batch = settings.large_size, max(round(settings.batch * share), 2)
    drawn = [examples.draw(size, rng) for _ in range(batch)]
    shares = np.array(settings.rounds) / sum(settings.rounds)
    # a network that marks nothing yet has nothing to correct
    early = state.step < 3 * settings.warm_up and not settings.start
    rounds = 1 if early else 1 + int(rng.choice(len(shares), p=shares))
    losses = step_losses(state.student, drawn, rounds, rng, half=computes_in_bfloat16(state.device))
    state.step += 1
    if not losses:
        return {}
    total = losses.get("mask", 0.0) + _TEXT * losses.get("text", 0.0)
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = nn.utils.clip_grad_norm_(state.student.parameters(), _LARGEST_NORM)
    if torch.isfinite(norm):
        state.optimizer.step()
    # young averages are short ones
    keep = min(settings.average, (state.step + 1) / (state.step + 10))
    with torch.no_grad():
        for name, value in state.student.state_dict().items():
            if value.is_floating_point():
                state.average[name].lerp_(value, 1.0 - keep)
            else:
                state.average[name].copy_(value)
    return {name: float(loss.detach()) for name, loss in losses.items()}


def rate_share(settings: NetworkSettings, step: int) -> float:
    """Share of the learning rate at a step: rising, flat, and falling to almost zero at the end."""
    rising = min(1.0, (step + 1) / max(settings.warm_up, 1))
    falling = min(1.0, (settings.steps - step) / max(settings.cool_down, 1))
    return rising * max(falling, 0.02)


def _save(state: _State, folder: Path) -> None:
    content = {
        "student": state.student.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "step": state.step,
        "seconds": state.seconds,
    }
    with atomic_path(folder / CHECKPOINT, overwrite=True) as temporary:
        torch.save(content, temporary)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"There is no {path}.")
    return torch.load(path, map_location="cpu", weights_only=True)


def _told(settings: NetworkSettings) -> dict[str, Any]:
    """The settings without folders, which are nobody else's business."""
    told = settings.as_dict()
    for name in ("images", "labels", "flat", "hold_out", "start"):
        told.pop(name)
    return told
