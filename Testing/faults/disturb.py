"""The faults: SIGKILL at random moments, a full or read-only disk, a clock that jumped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from faults.job import Job, in_child

YEAR_S = 365 * 86_400


@dataclass(frozen=True)
class Result:
    """The result of a fault.

    :param trials: number of times the job was disturbed.
    :param struck: number of times the fault occurred before the job was done.
    :param leftovers: largest number of hidden temporary files that killed jobs left.
    :param failures: files that were incomplete, and jobs that did not complete.
    """

    job: str
    fault: str
    trials: int
    struck: int
    leftovers: int = 0
    failures: tuple[str, ...] = ()


def kill(job: Job, kills: int, seed: int) -> Result:
    """Kill a job at random moments; each time, check the files, and let the same job complete.

    Some jobs are killed twice in the same folder, so kills also hit jobs that continue after a kill.
    """
    rng = Random(f"{seed}/{job.name}")
    failures, struck, leftovers = [], 0, 0
    with _folder() as folder:
        # run here first, so that no child has to import anything
        assert job.run(folder) == 0
    with _folder() as folder:
        start = time.monotonic()
        assert in_child(job, folder) == 0, f"{job.name} does not run undisturbed: {_output(folder)}"
        whole_s = time.monotonic() - start
        job.check(folder)
    for number in range(kills):
        with _folder() as folder:
            for _ in range(rng.choice((1, 1, 2))):
                struck += in_child(job, folder, rng.uniform(0, whole_s)) == -9
                failures += _problems(job, folder, f"kill {number}")
            leftovers = max(leftovers, len([path for path in folder.rglob(".*") if path.exists()]))
            status = in_child(job, folder)
            if status or not job.is_done(folder):
                failures.append(f"kill {number}: did not complete afterwards ({status}): {_output(folder)}")
            failures += _problems(job, folder, f"after kill {number}")
        print(f"\r{job.name}: {number + 1} of {kills} killed", end="", file=sys.stderr, flush=True)
    return Result(job.name, "kill -9", kills, struck, leftovers, tuple(failures))


def full_disk(job: Job, sizes: tuple[int, ...]) -> Result:
    """Run a job on small file systems; then enlarge them and let the job complete."""
    failures, struck = [], 0
    for size in sizes:
        with _folder() as folder, _small_disk(folder, size) as enlarge:
            status = in_child(job, folder)
            struck += status != 0
            if status not in (0, 2):
                failures.append(f"{size:,} bytes: ended with {status}: {_output(folder)}")
            failures += _problems(job, folder, f"{size:,} bytes")
            enlarge()
            status = in_child(job, folder)
            if status or not job.is_done(folder):
                failures.append(f"{size:,} bytes: did not complete afterwards ({status}): {_output(folder)}")
    return Result(job.name, "full disk", len(sizes), struck, failures=tuple(failures))


def read_only(job: Job) -> Result:
    """Run a job in a folder that cannot be written."""
    failures = []
    with _folder() as folder, _small_disk(folder, 1 << 30) as enlarge:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        status = in_child(job, folder)
        if status != 2 or list(folder.iterdir()):
            failures.append(f"ended with {status}: {_output(folder)}")
        enlarge()
        if in_child(job, folder) or not job.is_done(folder):
            failures.append(f"did not complete afterwards: {_output(folder)}")
    return Result(job.name, "read-only", 1, 1, failures=tuple(failures))


def wrong_clock(job: Job) -> Result:
    """Date the files of complete and interrupted jobs 40 years back or ahead, as after a clock that jumped."""
    failures = []
    for years in (-40, 40):
        for part in (0.3, 0.6, 1.0):
            with _folder() as folder:
                start = time.monotonic()
                in_child(job, folder)
                whole_s = time.monotonic() - start
                if part < 1:
                    shutil.rmtree(folder)
                    folder.mkdir()
                    in_child(job, folder, part * whole_s)
                moment = time.time() + years * YEAR_S
                for path in [*folder.rglob("*"), folder]:
                    with suppress(OSError):
                        os.utime(path, (moment, moment))
                status = in_child(job, folder)
                if status or not job.is_done(folder):
                    failures.append(f"{years:+} years: ended with {status}: {_output(folder)}")
                failures += _problems(job, folder, f"{years:+} years")
    return Result(job.name, "clock", 6, 6, failures=tuple(failures))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sam-faults-") as root:
        folder = Path(root) / "run"
        folder.mkdir()
        yield folder


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A file system in memory, mounted on the folder; needs root on Linux."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "faults", str(folder)], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,rw,size=1g", str(folder)], check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def can_mount() -> bool:
    """Whether this process may mount file systems, as the disk faults require."""
    with _folder() as folder:
        try:
            with _small_disk(folder, 1 << 20):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def _problems(job: Job, folder: Path, when: str) -> list[str]:
    try:
        job.check(folder)
    except Exception as error:
        return [f"{when}: {type(error).__name__}: {error}"[:300]]
    return []


def _output(folder: Path) -> str:
    path = folder.parent / "output.txt"
    return path.read_text(errors="replace").strip()[-300:] if path.exists() else ""
