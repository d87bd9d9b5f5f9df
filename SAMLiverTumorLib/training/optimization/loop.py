"""The training loop: steps, validation after each epoch, the best kept, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.optimization.checkpoint_state import TrainingState
from SAMLiverTumorLib.training.optimization.distributed import Processes
from SAMLiverTumorLib.training.optimization.mean_teacher import MeanTeacher, Twins
from SAMLiverTumorLib.training.optimization.schedule import Schedule
from SAMLiverTumorLib.training.optimization.trainee import Exercise, Trainee
from SAMLiverTumorLib.training.optimization.validation import overall, validate
from SAMLiverTumorLib.training.optimization.weight_average import Average
from SAMLiverTumorLib.training.progress_events import Reporter, memory_mb
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import BOX, POINT, TEXT
from SAMLiverTumorLib.training.settings import TrainSettings

# SAM's clipping of gradients is by value; by norm 1 no single hard picture throws a batch of two off.
_MOST_GRADIENT = 1.0
# Tokens of a concept begin as noise, where everything else was trained for long.
_TEXT_TIMES = 5.0


class Diverged(InputError):
    """The loss is no number any more; what was best before is kept."""


def train(
    trainee: Trainee,
    schedule: Schedule,
    validation: Sequence[Sample],
    settings: TrainSettings,
    state: TrainingState,
    folder: Path | None,
    report: Reporter,
    cancel: Callable[[], bool] = lambda: False,
    processes: Processes | None = None,
    unlabeled: Sequence[Twins] = (),
) -> TrainingState:
    """Train from where `state` is to the last epoch, or until it gets no better.

    :param folder: where the state is saved after each epoch, and when cancelled; None for nowhere.
    :param unlabeled: slices for a mean teacher, one in each step.
    :return: the state at the end; `best` holds the weights of the best epoch.
    :raises Diverged: the loss is not a finite number.
    :raises InputError: the graphics card's memory does not suffice, with half of the pictures at a time neither.
    """
    processes = processes or Processes()
    learning = trainee.learning()
    optimizer = torch.optim.AdamW(_groups(learning), settings.learning_rate, weight_decay=settings.weight_decay)
    scaler = torch.amp.GradScaler(enabled=trainee.device.type == "cuda")
    _restore(state, learning, optimizer, scaler)
    model = processes.wrap(trainee)
    average = Average(trainee, settings.average, state.average)
    teacher = MeanTeacher(trainee, unlabeled, schedule.steps, settings.seed, state.teacher) if unlabeled else None
    parts, first, begun = settings.accumulate, state.step, time.monotonic()
    while True:
        epoch, within = divmod(state.step, settings.steps)
        # also where a training that is resumed was cancelled before its epoch was measured
        if due := within == 0 and epoch > len(state.history):
            with average.in_place():
                _end_epoch(trainee, validation, state, settings, report, processes, cancel)
        cancelled = processes.any(cancel(), trainee.device)
        if due or cancelled:
            _remember(state, learning, optimizer, scaler, settings)
            if folder is not None and processes.first:
                state.save(folder)
        if cancelled:
            report("cancelled", step=state.step)
            break
        if state.step >= schedule.steps:
            break
        if settings.patience and within == 0 and epoch - state.best_epoch >= settings.patience:
            report("note", text=f"Stopped early: no better for {settings.patience} epochs.")
            break
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(state.step) * group["times"]
        exercises = processes.mine(schedule.exercises(state.step))
        if teacher is not None:
            exercises.append(teacher.exercise(state.step))
        try:
            loss = _step(model, exercises, parts, optimizer, scaler, processes)
        except torch.cuda.OutOfMemoryError as error:  # raised in all processes, if in any
            if parts > settings.accumulate or len(exercises) < 2:
                raise InputError(
                    "The graphics card's memory does not suffice; choose a smaller batch, train the decoder alone, or "
                    "train on the CPU (--device cpu)."
                ) from error
            parts = min(2 * parts, len(exercises))
            torch.cuda.empty_cache()
            report("note", text=f"Out of graphics memory: going on with the batch in {parts} parts.")
            continue
        loss = processes.mean(loss, trainee.device)
        if not math.isfinite(loss):
            names = ", ".join(exercise.sample.name for exercise in exercises)
            raise Diverged(
                f"The loss is no number any more in step {state.step + 1} ({names}); training has stopped, and the "
                f"best weights so far (epoch {state.best_epoch}) are kept. Try a lower --learning-rate."
            )
        average.follow(state.step)
        state.average = average.weights
        if teacher is not None:
            teacher.average.follow(state.step)
            state.teacher = teacher.average.weights
        state.step += 1
        per_step = (time.monotonic() - begun) / (state.step - first)
        report(
            "step",
            step=state.step,
            epoch=(state.step - 1) // settings.steps + 1,
            loss=loss,
            rate=schedule.rate(state.step - 1),
            eta_s=round(per_step * (schedule.steps - state.step), 1),
            memory_mb=memory_mb(trainee.device),
        )
    return state


def epoch_kinds(settings: TrainSettings) -> list[str]:
    """Kinds of prompts that epochs are compared by."""
    return [POINT, BOX, *([TEXT] if settings.concepts else [])]


def score_of(scores: dict[str, dict[str, float]]) -> float:
    """One number to compare epochs by: the mean of point, box and text, each a mean over patients."""
    means = overall(scores)
    return sum(means.values()) / len(means) if means else float("-inf")


def _step(
    model: nn.Module,
    exercises: Sequence[Exercise],
    parts: int,
    optimizer: torch.optim.Optimizer,
    scaler,
    processes: Processes,
) -> float:
    """One step of the optimizer on all exercises, in parts; this process's mean loss.

    Gradients are exchanged after the last part, and not within its backward pass as DistributedDataParallel would:
    there a process that is out of memory leaves the others waiting for ever.

    :raises torch.cuda.OutOfMemoryError: the memory of any process does not suffice.
    """
    optimizer.zero_grad(set_to_none=True)
    total, device = 0.0, next(model.parameters()).device
    size = -(-len(exercises) // parts)
    pieces = [exercises[start : start + size] for start in range(0, len(exercises), size)]
    failure: torch.cuda.OutOfMemoryError | None = None
    try:
        with model.no_sync() if hasattr(model, "no_sync") else nullcontext():
            for piece in pieces:
                with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
                    loss = model(piece) * (len(piece) / len(exercises))
                scaler.scale(loss).backward()
                total += float(loss.detach())
    except torch.cuda.OutOfMemoryError as error:
        failure = error
    if processes.any(failure is not None, device):
        optimizer.zero_grad(set_to_none=True)
        raise failure or torch.cuda.OutOfMemoryError("out of memory in another process")
    learning = [weight for group in optimizer.param_groups for weight in group["params"]]
    processes.average_gradients(learning)
    if not math.isfinite(total):
        return total
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(learning, _MOST_GRADIENT)
    scaler.step(optimizer)
    scaler.update()
    return total


def _groups(learning: dict[str, torch.Tensor]) -> list[dict]:
    """Parameters with how many times the learning rate they take."""
    text = [weight for name, weight in learning.items() if name.startswith("text.tokens.")]
    rest = [weight for name, weight in learning.items() if not name.startswith("text.tokens.")]
    return [{"params": rest, "times": 1.0}, *([{"params": text, "times": _TEXT_TIMES}] if text else [])]


def _end_epoch(trainee, validation, state, settings, report, processes, cancel) -> None:
    epoch = state.step // settings.steps
    scores = validate(trainee, validation, epoch_kinds(settings), cancel) if processes.first else {}
    # asked in all processes, or the others would wait for a score that never comes
    if processes.any(cancel(), trainee.device):
        return  # what was measured on a part of the pictures cannot be compared
    score = processes.shared(score_of(scores), trainee.device)
    state.history.append({"epoch": epoch, "score": score, "dice": scores})
    report("validation", epoch=epoch, step=state.step, score=score, dice=overall(scores))
    if score > state.best_score:
        state.best_score, state.best_epoch = score, epoch
        state.best = {name: weight.detach().cpu().clone() for name, weight in trainee.learning().items()}


def _remember(state, learning, optimizer, scaler, settings) -> None:
    state.weights = {name: weight.detach().cpu().clone() for name, weight in learning.items()}
    state.optimizer, state.scaler = optimizer.state_dict(), scaler.state_dict()
    state.settings = settings.as_dict()


def _restore(state, learning, optimizer, scaler) -> None:
    if not state.weights:
        return
    if set(state.weights) != set(learning):
        raise InputError("The training to resume was of other parts of the network; resume it with its own settings.")
    with torch.no_grad():
        for name, weight in learning.items():
            weight.copy_(state.weights[name])
    optimizer.load_state_dict(state.optimizer)
    if state.scaler:
        scaler.load_state_dict(state.scaler)
