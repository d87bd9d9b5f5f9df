"""A training run of hours: its steps, what is saved to go on from, and the average of its weights."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.training.method_settings import MethodSettings
from SAMLiverTumorLib.training.progress_events import Reporter, memory_mb

CHECKPOINT, WEIGHTS = "last.pt", "model.safetensors"
"""What a run goes on from, and the model at its end."""

_SAVE_EVERY_S, _REPORT_EVERY, _LARGEST_NORM = 150.0, 25, 2.0


@dataclass(eq=False)
class RunState:
    """What a run goes on from.

    :param average: of the student's weights over the last steps, by name.
    :param step: how many are done.
    :param seconds: they took.
    """

    student: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.student.parameters()).device

    @classmethod
    def begun(cls, student: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, resume: bool) -> RunState:
        """The state before the first step, or as a run has left it in its folder."""
        state = cls(student, optimizer, {k: v.detach().clone() for k, v in student.state_dict().items()})
        if resume:
            kept = read_state(folder)
            student.load_state_dict(kept["student"])
            optimizer.load_state_dict(kept["optimizer"])
            state.average, state.step, state.seconds = kept["average"], kept["step"], kept["seconds"]
        student.train()
        return state

    def save(self, folder: Path) -> None:
        """Write what `begun` goes on from."""
        content = {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
        }
        with atomic_path(folder / CHECKPOINT, overwrite=True) as temporary:
            torch.save(content, temporary)

    def ready(self, settings: MethodSettings) -> np.random.Generator:
        """Set the step's learning rate, forget the last gradients, and give the random numbers of this very step.

        A group of weights may have a "share" of the rate. The same seed and number of the step give the same numbers.
        """
        rate = settings.learning_rate * rate_share(settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        return np.random.default_rng((settings.seed, self.step))

    def learn(self, average: float) -> None:
        """Change the weights by their gradients, and the average by the weights.

        :param average: share of the old average that stays.
        """
        norm = nn.utils.clip_grad_norm_(self.student.parameters(), _LARGEST_NORM)
        if torch.isfinite(norm):
            self.optimizer.step()
        # young averages are short ones
        keep = min(average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.student.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1.0 - keep)
                else:
                    self.average[name].copy_(value)


def go_on(
    state: RunState,
    settings: MethodSettings,
    folder: Path,
    step: Callable[[], dict[str, float]],
    report: Reporter,
    cancel: Callable[[], bool],
) -> bool:
    """Take the steps that are left, with a checkpoint every few minutes and at the end; False if cancelled.

    :param step: takes one, counts it in the state, and gives its losses by name.
    :param cancel: asked before each step.
    """
    report("start", settings=settings.told(), resumed_at=state.step)
    started, saved = time.monotonic() - state.seconds, time.monotonic()
    recent: dict[str, list[float]] = {}
    while state.step < settings.steps:
        if cancel():
            state.save(folder)
            report("cancelled", step=state.step)
            return False
        for name, loss in step().items():
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
            state.save(folder)
    state.save(folder)
    return True


def card_of(state: RunState, settings: MethodSettings, patients: Sequence[str]) -> dict[str, Any]:
    """What the model's file says of its training."""
    return {
        "settings": settings.told(),
        "split": {"train": sorted(patients), "validation": [], "test": list(settings.leave_out)},
        "steps": state.step,
        "hours": round(state.seconds / 3600, 2),
        "versions": {"sam-liver-tumor": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def rate_share(settings: MethodSettings, step: int) -> float:
    """Share of the learning rate at a step: rising, flat, and falling to almost zero at the end."""
    rising = min(1.0, (step + 1) / max(settings.warm_up, 1))
    falling = min(1.0, (settings.steps - step) / max(settings.cool_down, 1))
    return rising * max(falling, 0.02)


def rounds_at(settings: MethodSettings, step: int, rng: np.random.Generator) -> int:
    """How many answers there are in a step, with corrections between them."""
    shares = np.array(settings.rounds) / sum(settings.rounds)
    # a network that marks nothing yet has nothing to correct
    early = step < 3 * settings.warm_up and not settings.start
    return 1 if early else 1 + int(rng.choice(len(shares), p=shares))


def check_folder(folder: Path, resume: bool) -> None:
    """Make a run's folder, or refuse it.

    :raises SAMLiverTumorError: it cannot be made, holds a run already, or holds none to go on with.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Folder '{folder}' cannot be made ({error.strerror}); choose another.") from error
    there = (folder / CHECKPOINT).exists()
    if there and not resume:
        raise OutputError(f"'{folder}' holds a training already; go on with it by --resume, or choose another folder.")
    if resume and not there:
        raise InputError(f"There is no training to go on with in '{folder}'.")


def read_state(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run's folder: "student", "optimizer", "average", "step" and "seconds".

    :raises InputError: there is none.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise InputError(f"There is no {path}.")
    return torch.load(path, map_location="cpu", weights_only=True)
