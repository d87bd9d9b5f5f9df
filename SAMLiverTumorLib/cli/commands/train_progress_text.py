"""Progress events of a training run as text."""

from __future__ import annotations

import json
from typing import IO, Any


class ProgressText:
    """A stream that takes the lines of `training.progress_events.Reporter` and writes them as text."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write a line of JSON as text."""
        text = progress_text(json.loads(line))
        if text:
            self._stream.write(text + "\n")

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()


def progress_text(event: dict[str, Any]) -> str:
    """The text of an event; empty for events without one."""
    kind = event["event"]
    if kind == "prepare" and event["patient"]:
        return f"Preparing {event['patient']} ({event['done'] + 1} of {event['total']})"
    if kind == "data":
        split = event["split"]
        return (
            f"Slice images: {event['train']} for training, {event['validation']} for validation, {event['test']} for "
            f"testing; {event['encoded']} were encoded. {split[:1].upper()}{split[1:]}."
        )
    if kind == "step" and event["step"] % 10 == 0:
        return (
            f"step {event['step']:5d}  epoch {event['epoch']:3d}  loss {_number(event['loss'])}  "
            f"{_duration(event['eta_s'])} left  {event['memory_mb']} MB"
        )
    if kind == "validation":
        return f"epoch {event['epoch']:3d}  Dice {_scores(event['dice'])}  score {_number(event['score'])}"
    if kind == "note":
        return event["text"]
    if kind == "cancelled":
        return f"Cancelled after step {event['step']}; --resume continues from there."
    if kind == "done":
        verdict = "better: adopted" if event["adopted"] else "not better: not adopted"
        return (
            f"before  {_scores(event['before'])}\nafter   {_scores(event['after'])}\n"
            f"The new model is {verdict} ({event['weights']})."
        )
    return ""


def _scores(scores: dict[str, float]) -> str:
    return "  ".join(f"{kind} {_number(value)}" for kind, value in scores.items())


def _number(value: float | None) -> str:
    return "  -  " if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
