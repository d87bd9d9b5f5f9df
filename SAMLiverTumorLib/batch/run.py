"""`run_batch`: a cohort from scans to tables; called again, it continues where it stopped."""

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

# Memory of a worker: PyTorch, Slicer's core, a network and a CT of 512 x 512 x 800 with its masks.
_WORKER_BYTES = 3 << 30


@dataclass(frozen=True)
class BatchResult:
    """The result of a cohort.

    :param outcomes: one for each case, in the order of the jobs.
    :param totals: see `summary.totals_of`.
    :param finished_before: number of cases that were finished already.
    :param cancelled: interrupted; running it again continues.
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
    on_start: Callable[[Workplace, int], None] = lambda workplace, count: None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    note: Callable[[str], None] = lambda text: None,
    cancel: Callable[[], bool] = lambda: False,
) -> BatchResult:
    """Segment all cases that are not finished, compare them with their references if any, and write the tables.

    :param jobs: all with the same folder for results, which is created if missing.
    :param workers: number of processes on this machine; unused with `scheduler`, which has its own.
    :param overwrite: redo cases that were done with another scan, other prompts or settings. Segmentations that were
        edited since are kept in any case.
    :param on_start: called with the cluster and the number of cases to do, unless there are none.
    :param on_outcome: called with the outcome of each case, finished ones included.
    :param cancel: polled several times a second; if true, running cases are abandoned, and the tables are written.
    :raises SAMLiverTumorError: the whole cohort cannot be run: the folder holds other results, is in use or cannot be
        written, or no scheduler answers. An error of one case is in its outcome instead.
    """
    out = jobs[0].out
    with _prepared(out):
        outcomes: dict[str, Outcome] = {}
        todo = _still_to_do(jobs, settings, overwrite, outcomes)
        for outcome in outcomes.values():
            on_outcome(outcome)
        finished = len(outcomes)
        if todo:
            # more processes than cases would only waste memory
            with opened(max(1, min(workers, len(todo))), scheduler) as workplace:
                check_workers(workplace, out, note)
                on_start(workplace, len(todo))
                for outcome in run_jobs(workplace, todo, settings, overwrite, cancel):
                    outcomes[outcome.name] = outcome
                    on_outcome(outcome)
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
            # also finished ones with a reference: a worker checks whether their figures exist
            todo.append(job)
    if changed:
        job, state = changed[0]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise OutputError(
            f"'{job.segmentation}' is {state.value}{more}; choose another folder, or add --overwrite to redo them."
        )
    return todo


def _state(job: Job, settings: BatchSettings) -> State:
    try:
        return state_of(job, settings)
    except InputError:
        # the worker gets the same error, which then fails this case only
        return State.ABSENT


@contextmanager
def _prepared(out: Path) -> Iterator[None]:
    """Create and lock the folder for results, and remove temporary files of killed runs.

    :raises OutputError: it cannot be created or written, is in use, or holds tables of something else.
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
            raise OutputError(f"Another batch is running in '{out}'; wait for it, or choose another folder.")
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
    """One process per GPU, else one per core or per `threads` cores, as far as memory allows."""
    import psutil
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.device_count()
    cores = (os.cpu_count() or 1) // (threads or 1)
    return max(1, min(cores, psutil.virtual_memory().available // _WORKER_BYTES))
