"""`run_batch`: a cohort from scans to tables; called again, it goes on where it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from SAMLiverTumorLib.batch.cluster import Workplace, check_workers, opened, run_jobs
from SAMLiverTumorLib.batch.jobs import CANCELLED, DONE, BatchSettings, Job, Outcome
from SAMLiverTumorLib.batch.records import State, read_record, state_of
from SAMLiverTumorLib.batch.summary import FILES, write_summary
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import TEMPORARY_PREFIX, check_output
from SAMLiverTumorLib.models.download.lock import is_held, locked

_LOCK = ".batch.lock"

# PyTorch, Slicer's core, a network and a CT of 512 x 512 x 800 with its masks.
_WORKER_BYTES = 3 << 30


@dataclass(frozen=True)
class BatchResult:
    """What became of a cohort.

    :param outcomes: one for each case, in the order of the jobs.
    :param totals: see `summary.totals_of`.
    :param finished_before: how many cases were found finished.
    :param cancelled: cut short; running it again goes on.
    """

    outcomes: tuple[Outcome, ...]
    totals: dict
    finished_before: int
    cancelled: bool


def run_batch(
    jobs: Sequence[Job],
    settings: BatchSettings,
    workers: int,
    scheduler: str | None = None,
    overwrite: bool = False,
    begun: Callable[[Workplace, int], None] = lambda workplace, count: None,
    told: Callable[[Outcome], None] = lambda outcome: None,
    note: Callable[[str], None] = lambda text: None,
    cancel: Callable[[], bool] = lambda: False,
) -> BatchResult:
    """Segment, and compare where there are references, all that is not finished; write the tables.

    :param jobs: all with the same folder for results, which is made if need be.
    :param workers: processes of this machine; `scheduler` takes its own.
    :param overwrite: do again what was done with another scan, other prompts or settings. What somebody has edited
        since is kept in any case.
    :param begun: told of the cluster and how many cases there are to do, once there is any.
    :param told: told of each case's outcome, those found finished included.
    :param cancel: asked several times a second; cases in work are then given up, and the tables are written.
    :raises SAMLiverTumorError: nothing can be done at all: the folder holds other results, is in use or cannot be
        written; no scheduler answers. What is wrong with one case is in its outcome instead.
    """
    out = jobs[0].out
    with _prepared(out):
        outcomes: dict[str, Outcome] = {}
        todo = _still_to_do(jobs, settings, overwrite, outcomes)
        for outcome in outcomes.values():
            told(outcome)
        finished = len(outcomes)
        if todo:
            # more processes than cases would only take memory
            with opened(max(1, min(workers, len(todo))), scheduler) as workplace:
                check_workers(workplace, out, note)
                begun(workplace, len(todo))
                for outcome in run_jobs(workplace, todo, settings, overwrite, cancel):
                    outcomes[outcome.name] = outcome
                    told(outcome)
        all_outcomes = tuple(outcomes.get(job.name, Outcome(job.name, CANCELLED)) for job in jobs)
        totals = write_summary(out, all_outcomes, settings)
    return BatchResult(all_outcomes, totals, finished, any(o.state == CANCELLED for o in all_outcomes))


def _still_to_do(
    jobs: Sequence[Job], settings: BatchSettings, overwrite: bool, outcomes: dict[str, Outcome]
) -> list[Job]:
    """Jobs that are not finished; finished ones with nothing to compare go to `outcomes`.

    :raises OutputError: there are results that may not be replaced.
    """
    todo, changed = [], []
    for job in jobs:
        state = _state(job, settings)
        if state in (State.CHANGED, State.FOREIGN) and not overwrite:
            changed.append((job, state))
        elif state is State.DONE and job.reference is None:
            outcomes[job.name] = Outcome(job.name, DONE, record={**read_record(job), "comparison": None})
        else:
            # finished ones with a reference too: a worker sees whether the figures are there
            todo.append(job)
    if changed:
        job, state = changed[0]
        more = f" ({len(changed) - 1} more are like it)" if len(changed) > 1 else ""
        raise OutputError(
            f"'{job.segmentation}' is {state.value}{more}; choose another folder, or add --overwrite to do these again."
        )
    return todo


def _state(job: Job, settings: BatchSettings) -> State:
    try:
        return state_of(job, settings)
    except InputError:
        # the worker meets it again, and it is that case's failure alone
        return State.ABSENT


@contextmanager
def _prepared(out: Path) -> Iterator[None]:
    """The folder for results, for this batch alone, without what a kill has left in it.

    :raises OutputError: it cannot be made or written, is in use, or holds tables of something else.
    """
    records, lock = out / "records", out / _LOCK
    try:
        if not out.parent.is_dir():
            raise OutputError(f"Folder '{out.parent}' does not exist; create it first, or choose another.")
        out.mkdir(exist_ok=True)
        if not records.is_dir():
            for name in FILES:
                check_output(out / name)
        if is_held(lock):
            raise OutputError(f"Another batch is at work in '{out}'; wait for it, or choose another folder.")
        with locked(lock):
            records.mkdir(exist_ok=True)
            for folder in (out, records):
                for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            yield
    except OSError as error:
        raise OutputError(
            f"'{out}' cannot be written ({error.strerror or error}); choose a folder you may write to."
        ) from error


def default_workers(threads: int | None, device: str = "auto") -> int:
    """One process for each GPU, else one for each core, or for each `threads` cores, as far as memory goes."""
    import psutil
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.device_count()
    cores = (os.cpu_count() or 1) // (threads or 1)
    return max(1, min(cores, psutil.virtual_memory().available // _WORKER_BYTES))
