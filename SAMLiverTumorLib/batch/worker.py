"""One case in a worker process: read, segment as `sam-liver-tumor segment` does, write, compare with the reference.

A process loads each model once and reuses it for all its cases.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from SAMLiverTumorLib.batch.jobs import CANCELLED, DONE, FAILED, BatchSettings, Job, Outcome
from SAMLiverTumorLib.batch.records import State, fingerprint, is_same, read_record, state_of, write_case, write_record
from SAMLiverTumorLib.errors import Cancelled, ModelError, OutputError, SAMLiverTumorError
from SAMLiverTumorLib.inference.pool import PredictorPool

# A worker of an existing cluster may have several threads, while a process has one scene and one set of models.
_one_at_a_time = threading.Lock()


def dask_setup(worker: object) -> None:
    """Ignore Ctrl+C, which the main program handles; Dask calls this in each new worker process on this machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_job(
    job: Job, settings: BatchSettings, cancel: Callable[[], bool] | None = None, overwrite: bool = False
) -> Outcome:
    """Do what is left of one case; errors are in the outcome and never raised.

    :param cancel: polled between slices.
    :param overwrite: replace a segmentation of another scan, or one made with other prompts or settings.
    """
    with _one_at_a_time:
        try:
            return _run(job, settings, cancel, overwrite)
        except Cancelled:
            return Outcome(job.name, CANCELLED)
        except SAMLiverTumorError as error:
            return Outcome(job.name, FAILED, _without_folders(" ".join(str(error).split()), job))
        except MemoryError:
            return Outcome(job.name, FAILED, "There is not enough memory for this scan; use fewer workers.")
        except Exception as error:  # a bug in one case must not stop the others
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return Outcome(job.name, FAILED, f"Unexpected error, please report it: {_without_folders(text, job)}")


def _run(job: Job, settings: BatchSettings, cancel: Callable[[], bool] | None, overwrite: bool) -> Outcome:
    if cancel is not None and cancel():
        raise Cancelled("Cancelled before it began.")
    state = state_of(job, settings)
    if state in (State.CHANGED, State.FOREIGN) and not overwrite:
        raise OutputError(f"'{job.segmentation.name}' is {state.value}; add --overwrite to replace it.")
    worked = state not in (State.DONE, State.EDITED)
    record = _segment(job, settings, cancel) if worked else read_record(job)
    reason = "Edited since by somebody else, and left unchanged." if state is State.EDITED else ""
    if job.reference is not None and not _is_compared(job, settings, record):
        if cancel is not None and cancel():
            raise Cancelled("Cancelled before the comparison with the reference.")
        try:
            record = {**record, "comparison": _compare(job, settings)}
            write_record(job, record)
        except SAMLiverTumorError as error:
            record = {**record, "comparison": None}
            reason = f"No figures: {_without_folders(' '.join(str(error).split()), job)}"
    return Outcome(job.name, DONE, reason, record, worked)


def _segment(job: Job, settings: BatchSettings, cancel: Callable[[], bool] | None) -> dict:
    from SAMLiverTumorLib.batch.segmenting import segment_scan
    from SAMLiverTumorLib.mrml.scene_files import saveSegmentation

    start, work = time.perf_counter(), time.process_time()
    pool = prepared_pool(settings)
    try:
        made = segment_scan(job, settings, pool, cancel)
    finally:
        # the next scan shares no slice with this one
        pool.cache.clear()
    details = {
        "segments": list(made.segments),
        "models": list(made.models),
        "notes": list(made.notes),
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(time.process_time() - work, 3),
    }
    return write_case(job, settings, lambda path: saveSegmentation(made.segmentationNode, path), details)


def _compare(job: Job, settings: BatchSettings) -> dict:
    from SAMLiverTumorLib.datasets.cases import read_case_labels
    from SAMLiverTumorLib.evaluation.metrics.label_files import compare_labels
    from SAMLiverTumorLib.io.labels.dataset_json import reference_label

    label, said = reference_label(job.reference, settings.reference_label)
    compared = compare_labels(
        read_case_labels(job.segmentation),
        read_case_labels(job.reference),
        label=label,
        min_ml=settings.min_ml,
        option="--reference-label",
    )
    return {
        **_compared_with(settings),
        "reference": fingerprint(job.reference),
        "prediction": fingerprint(job.segmentation),
        "notes": [*said, *compared.notes],
        **compared.evaluation.as_dict(),
    }


def _compared_with(settings: BatchSettings) -> dict:
    return {"label": settings.reference_label, "smallest_lesion_ml": settings.min_ml}


def _is_compared(job: Job, settings: BatchSettings, record: dict) -> bool:
    """Whether the record's figures belong to these two files and this label."""
    noted = record.get("comparison")
    if not isinstance(noted, dict) or any(noted.get(key) != value for key, value in _compared_with(settings).items()):
        return False
    return is_same(noted.get("reference"), job.reference) and is_same(noted.get("prediction"), job.segmentation)


def prepared_pool(settings: BatchSettings) -> PredictorPool:
    """This process's models, on its own GPU if there are several."""
    return _pool(settings.device, settings.threads, settings.pinned, settings.yes)


@cache
def _pool(device: str, threads: int | None, pinned: bool, yes: bool) -> PredictorPool:
    import SimpleITK as sitk
    import torch

    if pinned and device in ("auto", "cuda"):
        pin_gpu(_worker_number(), torch.cuda.device_count())
    if threads is not None:
        torch.set_num_threads(threads)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    # no slice is used twice, so embeddings on disk would only fill it
    return PredictorPool(_agree if yes else _refuse, device=device, disk=None)


def _agree(question: str) -> bool:
    return True


def _refuse(question: str) -> bool:
    raise ModelError(f"{question} A worker cannot ask; fetch the model on its machine, or give --yes to agree.")


def pin_gpu(worker: int | None, count: int) -> None:
    """Restrict this process to one GPU: number `worker` of the visible ones, modulo their count.

    Call it before the process uses CUDA. A worker without a number, which existing clusters may have, is left alone.
    """
    if worker is None or count < 2:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in visible.split(",") if name.strip()] or [str(n) for n in range(count)]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[worker % len(names)]


def _worker_number() -> int | None:
    """This worker's number in Dask; None outside a worker, or if its name is no number."""
    from distributed import get_worker

    try:
        name = str(get_worker().name)
    except ValueError:
        return None
    return int(name) if name.isdecimal() else None


def _without_folders(text: str, job: Job) -> str:
    """A reason without folders, whose names may identify patients, for the summary."""
    paths: list[Path] = [path for path in (job.image, job.liver, job.reference, job.segmentation, job.record) if path]
    for path in paths:
        text = text.replace(f"{path.parent}{os.sep}", "")
    return text
