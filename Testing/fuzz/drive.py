"""Sends inputs to worker processes and counts the outcomes; a worker that crashes or hangs is replaced."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

HANG_SECONDS = 10.0
_START_SECONDS = 120.0
_WORKER = Path(__file__).with_name("worker.py")
FINE = ("read", "refused")


@dataclass(frozen=True)
class Failure:
    """An input that was neither read nor refused.

    :param outcome: "error" (an undocumented exception), "escape", "crash", "hang" or "memory".
    """

    target: str
    number: int
    outcome: str
    text: str
    place: str


@dataclass
class Tally:
    """Outcomes of a target's inputs; `failures` holds the first of each kind and place."""

    outcomes: Counter = field(default_factory=Counter)
    failures: dict[tuple[str, str, str], Failure] = field(default_factory=dict)
    slowest_s: float = 0.0
    peak_bytes: int = 0

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return sum(self.outcomes.values())

    def add(self, target: str, answer: dict) -> None:
        """Count an answer, and keep it if it is the first failure of its kind and place."""
        outcome, text, place = answer["outcome"], answer["text"], answer["place"]
        self.outcomes[outcome] += 1
        self.slowest_s = max(self.slowest_s, answer.get("seconds", 0.0))
        self.peak_bytes = max(self.peak_bytes, answer.get("peak", 0))
        if outcome not in FINE:
            failure = Failure(target, answer["number"], outcome, text, place)
            self.failures.setdefault((outcome, place, text.split(":")[0]), failure)


class _Worker:
    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="sam-fuzz-")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
        self._errors = Path(self._folder) / "stderr.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(_WORKER), str(Path(self._folder) / "root")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,
            )
        self._lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def run(self, target: str, seed: int, number: int) -> dict:
        """The answer; "crash" or "hang" if there is none."""
        try:
            self._process.stdin.write(json.dumps([target, seed, number]) + "\n")
            self._process.stdin.flush()
        except OSError:
            return self._ended(number)
        limit = _START_SECONDS
        while True:
            try:
                answer = self._lines.get(timeout=limit)
            except queue.Empty:
                return {"number": number, "outcome": "hang", "text": f"more than {limit:g} s", "place": ""}
            if answer is None:
                return self._ended(number)
            if "outcome" in answer:
                return answer
            limit = HANG_SECONDS

    def _ended(self, number: int) -> dict:
        status = self._process.wait()
        last = self._errors.read_text(errors="replace").strip().splitlines()[-1:]
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return {"number": number, "outcome": "crash", "text": f"{name} {' '.join(last)}"[:300], "place": name}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def drive(
    inputs: Iterable[tuple[str, int]], seed: int, on_answer: Callable[[str, dict], None] = lambda name, answer: None
) -> dict[str, Tally]:
    """Run inputs, each a target's name and a number, one after another in one process; a tally for each target."""
    tallies, worker = {}, None
    try:
        for target, number in inputs:
            worker = worker or _Worker()
            answer = worker.run(target, seed, number)
            tally = tallies.setdefault(target, Tally())
            tally.add(target, answer)
            if answer["outcome"] in ("hang", "crash"):
                worker.close()
                worker = None
            on_answer(target, answer)
    finally:
        if worker is not None:
            worker.close()
    return tallies
