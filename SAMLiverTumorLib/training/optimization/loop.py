"""The training loop: steps, validation after each epoch, keeping the best epoch, early stopping."""

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
from SAMLiverTumorLib.training.optimization.schedule import Schedule
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel, TrainingExample
from SAMLiverTumorLib.training.optimization.validation import overall, validate
from SAMLiverTumorLib.training.optimization.weight_average import WeightAverage
from SAMLiverTumorLib.training.progress_events import Reporter, memory_mb
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import BOX, POINT, TEXT
from SAMLiverTumorLib.training.settings import TrainSettings

# Gradients are clipped to this norm, so that no single hard slice image throws a batch of two off.
_MOST_GRADIENT = 1.0
# Factor on the learning rate of a concept's tokens: they start as noise, while everything else is pretrained.
_TEXT_RATE_FACTOR = 5.0


class Diverged(InputError):
    """The loss is NaN or infinite; the best weights so far are kept."""


def train(
    trainable: TrainableModel,
    schedule: Schedule,
    validation: Sequence[Sample],
    settings: TrainSettings,
    state: TrainingState,
    folder: Path | None,
    report: Reporter,
    cancel: Callable[[], bool] = lambda: False,
    processes: Processes | None = None,
) -> TrainingState:
    """Train from `state` to the last epoch, or until validation stops improving.

    :param folder: where the state is saved after each epoch, and when cancelled; None to save nothing.
    :return: the state at the end; `best` holds the weights of the best epoch.
    :raises Diverged: the loss is not a finite number.
    :raises InputError: the graphics card runs out of memory, even with the batch split in half.
    """
    processes = processes or Processes()
    learnable = trainable.learnable()
    optimizer = torch.optim.AdamW(_groups(learnable), settings.learning_rate, weight_decay=settings.weight_decay)
    scaler = torch.amp.GradScaler(enabled=trainable.device.type == "cuda")
    _restore(state, learnable, optimizer, scaler)
    model = processes.wrap(trainable)
    average = WeightAverage(trainable, settings.average, state.average)
    parts, first, started = settings.accumulate, state.step, time.monotonic()
    while True:
        epoch, within = divmod(state.step, settings.steps)
        # also if the resumed run was cancelled before its last epoch was validated
        if due := within == 0 and epoch > len(state.history):
            with average.in_place():
                _end_epoch(trainable, validation, state, settings, report, processes, cancel)
        cancelled = processes.any(cancel(), trainable.device)
        if due or cancelled:
            _remember(state, learnable, optimizer, scaler, settings)
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
        examples = processes.own_share(schedule.examples(state.step))
        try:
            loss = _step(model, examples, parts, optimizer, scaler, processes)
        except torch.cuda.OutOfMemoryError as error:  # raised in all processes, if in any
            if parts > settings.accumulate or len(examples) < 2:
                raise InputError(
                    "The graphics card is out of memory; choose a smaller batch, train the decoder alone, or train on "
                    "the CPU (--device cpu)."
                ) from error
            parts = min(2 * parts, len(examples))
            torch.cuda.empty_cache()
            report("note", text=f"Out of graphics memory: continuing with the batch in {parts} parts.")
            continue
        loss = processes.mean(loss, trainable.device)
        if not math.isfinite(loss):
            names = ", ".join(example.sample.name for example in examples)
            raise Diverged(
                f"The loss is NaN or infinite in step {state.step + 1} ({names}); training has stopped, and the best "
                f"weights so far (epoch {state.best_epoch}) are kept. Try a lower --learning-rate."
            )
        average.update(state.step)
        state.average = average.weights
        state.step += 1
        per_step = (time.monotonic() - started) / (state.step - first)
        report(
            "step",
            step=state.step,
            epoch=(state.step - 1) // settings.steps + 1,
            loss=loss,
            rate=schedule.rate(state.step - 1),
            eta_s=round(per_step * (schedule.steps - state.step), 1),
            memory_mb=memory_mb(trainable.device),
        )
    return state


def epoch_kinds(settings: TrainSettings) -> list[str]:
    """Kinds of prompts by which epochs are compared."""
    return [POINT, BOX, *([TEXT] if settings.concepts else [])]


def score_of(scores: dict[str, dict[str, float]]) -> float:
    """The score of an epoch: the mean of point, box and text, each a mean over patients."""
    means = overall(scores)
    return sum(means.values()) / len(means) if means else float("-inf")


def _step(
    model: nn.Module,
    examples: Sequence[TrainingExample],
    parts: int,
    optimizer: torch.optim.Optimizer,
    scaler,
    processes: Processes,
) -> float:
    """One optimizer step on all examples, in parts; this process's mean loss.

    Gradients are exchanged after the last part. DistributedDataParallel would exchange them within the backward pass,
    where a process that runs out of memory leaves the others waiting forever.

    :raises torch.cuda.OutOfMemoryError: any process is out of memory.
    """
    optimizer.zero_grad(set_to_none=True)
    total, device = 0.0, next(model.parameters()).device
    size = -(-len(examples) // parts)
    pieces = [examples[start : start + size] for start in range(0, len(examples), size)]
    failure: torch.cuda.OutOfMemoryError | None = None
    try:
        with model.no_sync() if hasattr(model, "no_sync") else nullcontext():
            for piece in pieces:
                with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
                    loss = model(piece) * (len(piece) / len(examples))
                scaler.scale(loss).backward()
                total += float(loss.detach())
    except torch.cuda.OutOfMemoryError as error:
        failure = error
    if processes.any(failure is not None, device):
        optimizer.zero_grad(set_to_none=True)
        raise failure or torch.cuda.OutOfMemoryError("out of memory in another process")
    learnable = [weight for group in optimizer.param_groups for weight in group["params"]]
    processes.average_gradients(learnable)
    if not math.isfinite(total):
        return total
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(learnable, _MOST_GRADIENT)
    scaler.step(optimizer)
    scaler.update()
    return total


def _groups(learnable: dict[str, torch.Tensor]) -> list[dict]:
    """Parameter groups; "times", which the saved state holds too, is a factor on the learning rate."""
    text = [weight for name, weight in learnable.items() if name.startswith("text.tokens.")]
    rest = [weight for name, weight in learnable.items() if not name.startswith("text.tokens.")]
    return [{"params": rest, "times": 1.0}, *([{"params": text, "times": _TEXT_RATE_FACTOR}] if text else [])]


def _end_epoch(trainable, validation, state, settings, report, processes, cancel) -> None:
    epoch = state.step // settings.steps
    scores = validate(trainable, validation, epoch_kinds(settings), cancel) if processes.first else {}
    # checked in all processes, or the others would wait for a score that never comes
    if processes.any(cancel(), trainable.device):
        return  # a score on part of the slice images cannot be compared
    score = processes.from_first(score_of(scores), trainable.device)
    state.history.append({"epoch": epoch, "score": score, "dice": scores})
    report("validation", epoch=epoch, step=state.step, score=score, dice=overall(scores))
    if score > state.best_score:
        state.best_score, state.best_epoch = score, epoch
        state.best = {name: weight.detach().cpu().clone() for name, weight in trainable.learnable().items()}


def _remember(state, learnable, optimizer, scaler, settings) -> None:
    state.weights = {name: weight.detach().cpu().clone() for name, weight in learnable.items()}
    state.optimizer, state.scaler = optimizer.state_dict(), scaler.state_dict()
    state.settings = settings.as_dict()


def _restore(state, learnable, optimizer, scaler) -> None:
    if not state.weights:
        return
    if set(state.weights) != set(learnable):
        raise InputError("The run to resume trained other parts of the network; resume it with its own settings.")
    with torch.no_grad():
        for name, weight in learnable.items():
            weight.copy_(state.weights[name])
    optimizer.load_state_dict(state.optimizer)
    if state.scaler:
        scaler.load_state_dict(state.scaler)
