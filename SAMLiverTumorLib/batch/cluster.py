"""Where cases are worked on: processes of this machine, or a Dask cluster that is there already."""

from __future__ import annotations

import logging
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.batch.jobs import FAILED, BatchSettings, Job, Outcome
from SAMLiverTumorLib.batch.worker import run_job
from SAMLiverTumorLib.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, Future

_CONNECT_S, _POLL_S, _ASK_S = 10, 0.2, 0.5


@dataclass(frozen=True)
class Workplace:
    """A cluster to work on.

    :param local: made for this batch, and gone with it.
    :param dashboard: address of Dask's pages about it; empty where there are none.
    """

    client: Client
    local: bool
    dashboard: str = ""


def check_dask() -> None:
    """Refuse to begin without Dask.

    :raises InputError: saying how to get it.
    """
    if find_spec("distributed") is None:
        raise InputError("Batches need the package distributed: pip install sam-liver-tumor[batch].")


@contextmanager
def opened(workers: int, scheduler: str | None = None) -> Iterator[Workplace]:
    """A cluster: the one whose scheduler has that address, or so many processes of this machine.

    Nobody but this machine's users can reach the processes' ports.

    :raises InputError: no scheduler answers.
    """
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            with _without_logs():
                client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"No Dask scheduler answers at '{scheduler}'; start one with `dask scheduler`, and give its address, "
                "such as tcp://node1:8786."
            ) from error
        with client:
            yield Workplace(client, False, _dashboard(client))
        return
    # Dask looks a hundred times a second where a task is, for pages that nobody sees, and takes the lock for it
    quiet = dask.config.set({"distributed.worker.profile.enabled": _has_dashboard()})
    with quiet, _without_logs(), warnings.catch_warnings():
        # the usual port of the dashboard may be taken, and another one is then
        warnings.simplefilter("ignore")
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:8787" if _has_dashboard() else None,
            # Dask would pause a worker at 80 % of its share for as long as PyTorch keeps its memory: for ever
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            preload="SAMLiverTumorLib.batch.worker",
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield Workplace(client, True, _dashboard(client))


def check_workers(workplace: Workplace, out: Path, note: Callable[[str], None]) -> None:
    """Make sure that workers of a cluster run this program and see the results' folder; wait for the first of them.

    :raises InputError: they do not.
    """
    if workplace.local:
        return
    client = workplace.client
    if not client.scheduler_info()["workers"]:
        note("The cluster has no worker yet; waiting for one.")
    try:
        first = client.submit(_look, str(out), pure=False)
        first.result()
        answers = client.run(_look, str(out))
    except Exception as error:  # whatever their Python answers with
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"The cluster cannot run SAM Liver Tumor {__version__}: {text}. Install the same version, with its batch "
            "extra, on scheduler and workers."
        ) from error
    for worker, (version, sees) in answers.items():
        if version != __version__:
            raise InputError(f"Worker {worker} runs version {version}, this is {__version__}; install the same one.")
        if not sees:
            raise InputError(f"Worker {worker} cannot write to '{out}'; name a folder that all machines share.")


def run_jobs(
    workplace: Workplace,
    jobs: Sequence[Job],
    settings: BatchSettings,
    overwrite: bool = False,
    cancel: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Do the jobs, and give each one's outcome as it comes.

    A case whose worker dies is given to another one; the scheduler gives up after several deaths over one case.

    :param cancel: asked several times a second; what has not begun is then left, what has stops after its slice.
    """
    from distributed import Event

    client = workplace.client
    stop = Event(f"sam-liver-tumor-{uuid.uuid4().hex}", client=client)
    settings = replace(settings, pinned=True)
    # no name of a case leaves this machine with the task's own name, which the dashboard shows
    run = uuid.uuid4().hex[:8]
    futures = {
        client.submit(_work, job, settings, overwrite, stop.name, key=f"case-{n + 1}-{run}", pure=False): job
        for n, job in enumerate(jobs)
    }
    finished: SimpleQueue[Future] = SimpleQueue()
    for future in futures:
        future.add_done_callback(finished.put)
    left = dict(futures)
    stopped = False
    while left:
        if cancel() and not stopped:
            stopped = True
            stop.set()
            # those that have begun see the event; those that have not are taken back
            _take_back(client, left)
        try:
            future = finished.get(timeout=_POLL_S)
        except Empty:
            if stopped and not _running(client, left):
                return
            continue
        job = left.pop(future, None)
        if job is not None and not future.cancelled():
            yield _outcome(future, job)


def _take_back(client: Client, left: dict[Future, Job]) -> None:
    busy = _running(client, left)
    client.cancel([future for future in left if future.key not in busy], force=True)


def _running(client: Client, left: dict[Future, Job]) -> set[str]:
    """Keys of those that a worker has begun."""
    keys = {future.key for future in left}
    with suppress(OSError):
        return {str(key) for held in client.processing().values() for key in held} & keys
    return set()


def _outcome(future: Future, job: Job) -> Outcome:
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, KilledWorker):
        reason = "The worker died over it again and again; mostly memory is short: use fewer workers."
    else:
        reason = f"Unexpected error, please report it: {type(error).__name__}: {' '.join(str(error).split())}"
    return Outcome(job.name, FAILED, reason)


def _work(job: Job, settings: BatchSettings, overwrite: bool, stop: str) -> Outcome:
    """The task: `run_job`, asking Dask whether to stop."""
    from distributed import Event

    return run_job(job, settings, _now_and_then(Event(stop).is_set), overwrite)


def _now_and_then(ask: Callable[[], bool]) -> Callable[[], bool]:
    """Ask twice a second at most: the networks ask at each band, and an answer is a message there and back."""
    asked, answer = time.monotonic(), False

    def answered() -> bool:
        nonlocal asked, answer
        if not answer and time.monotonic() - asked > _ASK_S:
            answer = ask()
            asked = time.monotonic()
        return answer

    return answered


def _look(out: str) -> tuple[str, bool]:
    """What a worker runs, and whether it can write to a folder."""
    return __version__, Path(out).is_dir() and os.access(out, os.W_OK)


def _has_dashboard() -> bool:
    return find_spec("bokeh") is not None


def _dashboard(client: Client) -> str:
    """Dask makes the pages with bokeh; without it there is an address with nothing to see."""
    with suppress(Exception):
        return client.dashboard_link if _has_dashboard() else ""
    return ""


@contextmanager
def _without_logs() -> Iterator[None]:
    """Dask logs lost connections at length; what matters of them is in the errors raised here."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
