"""Where cases are processed: processes on this machine, or an existing Dask cluster."""

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
    """A cluster.

    :param local: started for this batch, and stopped with it.
    :param dashboard: address of Dask's dashboard; empty if there is none.
    """

    client: Client
    local: bool
    dashboard: str = ""


def check_dask() -> None:
    """Check that Dask is installed.

    :raises InputError: it is not; the text says how to install it.
    """
    if find_spec("distributed") is None:
        raise InputError("Batches need the package distributed: pip install sam-liver-tumor[batch].")


@contextmanager
def opened(workers: int, scheduler: str | None = None) -> Iterator[Workplace]:
    """A cluster: the one with that scheduler, or `workers` processes on this machine.

    Ports of the local processes are reachable from this machine only.

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
    # Dask's profiler samples tasks a hundred times a second and takes the GIL for it; only the dashboard shows it
    quiet = dask.config.set({"distributed.worker.profile.enabled": _has_dashboard()})
    with quiet, _without_logs(), warnings.catch_warnings():
        # a warning says so if the dashboard's usual port is taken and another is used
        warnings.simplefilter("ignore")
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:8787" if _has_dashboard() else None,
            # Dask pauses a worker at 80 % of its memory share; PyTorch keeps its memory, so it would pause forever
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            preload="SAMLiverTumorLib.batch.worker",
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield Workplace(client, True, _dashboard(client))


def check_workers(workplace: Workplace, out: Path, note: Callable[[str], None]) -> None:
    """Check that workers of a cluster run this version and can write the results; wait for the first worker.

    :raises InputError: they do not.
    """
    if workplace.local:
        return
    client = workplace.client
    if not client.scheduler_info()["workers"]:
        note("The cluster has no worker yet; waiting for one.")
    try:
        first = client.submit(_inspect, str(out), pure=False)
        first.result()
        answers = client.run(_inspect, str(out))
    except Exception as error:  # anything that their Python raises
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"The cluster cannot run SAM Liver Tumor {__version__}: {text}. Install the same version, with its batch "
            "extra, on scheduler and workers."
        ) from error
    for worker, (version, sees) in answers.items():
        if version != __version__:
            raise InputError(
                f"Worker {worker} runs version {version}, this is {__version__}; install the same version."
            )
        if not sees:
            raise InputError(f"Worker {worker} cannot write to '{out}'; give a folder that all machines share.")


def run_jobs(
    workplace: Workplace,
    jobs: Sequence[Job],
    settings: BatchSettings,
    overwrite: bool = False,
    cancel: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Run the jobs, and yield the outcome of each as it finishes.

    If a worker dies, another one gets its case; the scheduler gives up after several deaths with the same case.

    :param cancel: polled several times a second; if true, no further job starts, and running ones stop after their
        current slice.
    """
    from distributed import Event

    client = workplace.client
    stop = Event(f"sam-liver-tumor-{uuid.uuid4().hex}", client=client)
    settings = replace(settings, pinned=True)
    # task names appear on the dashboard, so they must not contain names of cases
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
            # running jobs see the event; waiting ones are taken back
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
    """Keys of the jobs that a worker has started."""
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
        reason = "Workers died repeatedly with this case, probably for lack of memory; use fewer workers."
    else:
        reason = f"Unexpected error, please report it: {type(error).__name__}: {' '.join(str(error).split())}"
    return Outcome(job.name, FAILED, reason)


def _work(job: Job, settings: BatchSettings, overwrite: bool, stop: str) -> Outcome:
    """The task: `run_job`, which polls Dask for cancellation."""
    from distributed import Event

    return run_job(job, settings, _throttled(Event(stop).is_set), overwrite)


def _throttled(ask: Callable[[], bool]) -> Callable[[], bool]:
    """Ask at most twice a second: networks poll in every band, and each answer costs a round trip to the scheduler."""
    asked, answer = time.monotonic(), False

    def answered() -> bool:
        nonlocal asked, answer
        if not answer and time.monotonic() - asked > _ASK_S:
            answer = ask()
            asked = time.monotonic()
        return answer

    return answered


def _inspect(out: str) -> tuple[str, bool]:
    """A worker's version, and whether it can write to a folder."""
    return __version__, Path(out).is_dir() and os.access(out, os.W_OK)


def _has_dashboard() -> bool:
    return find_spec("bokeh") is not None


def _dashboard(client: Client) -> str:
    """Address of the dashboard; empty without bokeh, which Dask needs to render it."""
    with suppress(Exception):
        return client.dashboard_link if _has_dashboard() else ""
    return ""


@contextmanager
def _without_logs() -> Iterator[None]:
    """Silence Dask's long logs of lost connections; the errors raised here say what matters."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
