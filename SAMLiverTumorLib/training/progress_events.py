"""Progress of a training run as lines of JSON, to standard output and to a file in the run's folder."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import IO, Any

from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.memory import peak_memory

NAME = "progress.jsonl"


class Reporter:
    """Writes events; each is one line with "event" and "time" (seconds since 1970).

    Events: "start" (settings, split), "prepare" (patient, done, total), "step" (step, epoch, loss, rate, eta_s,
    memory_mb), "validation" (epoch, step, score, dice), "note" (text), "done" (adopted, before, after, weights),
    "cancelled" (step), "failed" (text).

    :param folder: of the run; None to write no file.
    :param stream: gets the same lines; None for no stream.
    :param name: of the file.
    """

    def __init__(self, folder: Path | None, stream: IO[str] | None = None, name: str = NAME) -> None:
        self._path = None if folder is None else folder / name
        self._stream = stream

    def __call__(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 3), **_plain(values)})
        if self._path is not None:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                raise OutputError(
                    f"'{self._path}' cannot be written ({error.strerror}); free some space there, then continue "
                    "with --resume."
                ) from error
        if self._stream is not None:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (BrokenPipeError, OSError):
                # the process that started the run has ended; the file still gets the rest
                self._stream = None


def events_in(lines: bytes) -> list[dict[str, Any]]:
    """The events in lines. A line that a killed run left half written, and its successor appended to, is left out."""
    events = []
    for line in lines.splitlines():
        try:
            event = parse_json(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            events.append(event)
    return events


def memory_mb(device: Any = None) -> int:
    """Peak memory so far, in MiB: of the graphics card if the networks are on one, else of the process."""
    if device is not None and device.type == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    return round((peak_memory() or 0) / 2**20)


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
