"""`TrainingRecord`: the state of a training run, gathered from its progress events for display."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

NEW, PREPARING, TRAINING = "new", "preparing", "training"
DONE, CANCELLED, FAILED = "done", "cancelled", "failed"
ENDED = (DONE, CANCELLED, FAILED)

_NUMBER, _NUMBER_OR_NONE, _TABLE = (int, float), (int, float, type(None)), Mapping
# Kind of event -> its fields that are used, with their types.
_FORMS: Mapping[str, Mapping[str, Any]] = {
    "start": {"resumed_at": int, "settings": _TABLE},
    "prepare": {"patient": str, "done": int, "total": int},
    "data": {"split": str},
    "step": {"step": int, "epoch": int, "loss": _NUMBER_OR_NONE, "eta_s": _NUMBER_OR_NONE, "memory_mb": _NUMBER},
    "validation": {"step": int, "dice": _TABLE},
    "note": {"text": str},
    "done": {"adopted": bool, "before": _TABLE, "after": _TABLE, "weights": str},
    "failed": {"text": str},
}


@dataclass(frozen=True)
class TrainingRecord:
    """An immutable value; `after` returns the next one.

    :param phase: `NEW`, `PREPARING`, `TRAINING` or one of `ENDED`.
    :param losses: step -> loss; None if it was not finite.
    :param dices: step of a validation -> kind of prompt -> mean Dice.
    :param epoch, step: the current ones.
    :param steps: of the whole run; 0 while unknown.
    :param eta_s: estimated seconds left; None before the first step.
    :param memory_mb: peak memory.
    :param prepared: (patient, number of patients done, total) while slice images are prepared.
    :param split: how patients were split; to be stated with every figure.
    :param notes: messages besides figures.
    :param adopted: whether the new model is better on the comparison.
    :param before, reached: kind of prompt -> mean Dice of old and new model, at the end.
    :param weights: name of the new model's file in the run's folder.
    :param failure: what the user has to fix.
    """

    phase: str = NEW
    losses: Mapping[int, float | None] = field(default_factory=dict)
    dices: Mapping[int, Mapping[str, float | None]] = field(default_factory=dict)
    epoch: int = 0
    step: int = 0
    steps: int = 0
    eta_s: float | None = None
    memory_mb: int = 0
    prepared: tuple[str, int, int] = ("", 0, 0)
    split: str = ""
    notes: tuple[str, ...] = ()
    adopted: bool = False
    before: Mapping[str, float | None] = field(default_factory=dict)
    reached: Mapping[str, float | None] = field(default_factory=dict)
    weights: str = ""
    failure: str = ""

    @property
    def is_ended(self) -> bool:
        """Whether no more events are expected."""
        return self.phase in ENDED

    def after(self, events: Iterable[Mapping[str, Any]]) -> TrainingRecord:
        """The record with more events of `progress_events.Reporter`.

        Unknown and damaged events are ignored: the file may have been cut off or edited.
        """
        losses, dices, notes, changes = dict(self.losses), dict(self.dices), list(self.notes), {}
        for event in filter(_is_complete, events):
            kind = event["event"]
            if kind == "start":
                # steps after the last saved one are repeated
                losses = {step: loss for step, loss in losses.items() if step <= event["resumed_at"]}
                dices = {step: dice for step, dice in dices.items() if step <= event["resumed_at"]}
                settings = event["settings"]
                steps = settings["epochs"] * settings["steps"]
                changes |= {"phase": PREPARING, "failure": "", "eta_s": None, "steps": steps}
            elif kind == "prepare":
                changes["prepared"] = event["patient"], event["done"], event["total"]
            elif kind == "data":
                changes |= {"phase": TRAINING, "split": event["split"]}
            elif kind == "step":
                losses[event["step"]] = event["loss"]
                changes |= {"phase": TRAINING, **{key: event[key] for key in ("step", "epoch", "eta_s", "memory_mb")}}
            elif kind == "validation":
                dices[event["step"]] = event["dice"]
            elif kind == "note":
                notes.append(event["text"])
            elif kind == "done":
                changes |= {"phase": DONE, **{key: event[key] for key in ("adopted", "before", "weights")}}
                changes["reached"] = event["after"]
            elif kind == "cancelled":
                changes["phase"] = CANCELLED
            elif kind == "failed":
                changes |= {"phase": FAILED, "failure": event["text"]}
        return replace(self, losses=losses, dices=dices, notes=tuple(notes), **changes)

    def resumed(self) -> TrainingRecord:
        """The record so far, for a process that has just been started."""
        return replace(self, phase=NEW, failure="", eta_s=None)

    def ended(self, output: str) -> TrainingRecord:
        """The record of a process that ended without reporting an end.

        :param output: what it wrote to standard error.
        """
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return replace(self, phase=FAILED, failure=lines[-1] if lines else "The training process ended.")

    def curve(self, points: int = 300) -> list[tuple[float, float]]:
        """The loss as (step, mean loss) of equally long blocks of steps, at most `points` of them."""
        finite = [(step, loss) for step, loss in sorted(self.losses.items()) if loss is not None]
        size = -(-len(finite) // points) or 1
        blocks = [finite[start : start + size] for start in range(0, len(finite), size)]
        return [tuple(sum(column) / len(block) for column in zip(*block, strict=True)) for block in blocks]


def _is_complete(event: Mapping[str, Any]) -> bool:
    """Whether an event has all fields of its kind, with the right types."""
    form = _FORMS.get(event["event"], {})
    if not all(name in event and isinstance(event[name], kind) for name, kind in form.items()):
        return False
    if event["event"] == "start":
        return all(isinstance(event["settings"].get(name), int) for name in ("epochs", "steps"))
    tables = [event[name] for name, kind in form.items() if kind is _TABLE]
    return all(isinstance(number, _NUMBER_OR_NONE) for table in tables for number in table.values())
