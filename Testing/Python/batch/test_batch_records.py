"""Which cases of a cohort are finished, whatever was interrupted, copied or edited; without a cluster."""

import hashlib
import json
import os
import shutil

import pytest
from batch_case import BOX, MODEL, jobs_of, settings, write_scans

from SAMLiverTumorLib.batch.jobs import CANCELLED, DONE, FAILED, Job, TumorPrompts
from SAMLiverTumorLib.batch.records import State, read_record, state_of
from SAMLiverTumorLib.batch.worker import pin_gpu, run_job
from SAMLiverTumorLib.models.registry import get_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def job(phantom, tmp_path) -> Job:
    """One case, to be done."""
    out = tmp_path / "out"
    (out / "records").mkdir(parents=True)
    return jobs_of(write_scans(tmp_path / "scans", phantom, ["a"]), out)[0]


@pytest.fixture(scope="module")
def finished() -> dict:
    """Scans and results of that case once it has been done, kept for the tests after the first."""
    return {}


@pytest.fixture
def done(job, finished) -> Job:
    """The same, done."""
    files = (job.image, job.segmentation, job.record)
    if not finished:
        assert run_job(job, settings()).worked
        finished.update({path.name: path.read_bytes() for path in files})
    for path in files:
        path.write_bytes(finished[path.name])
    return job


def test_a_finished_case_is_not_done_again(done):
    before = done.segmentation.stat().st_mtime_ns, done.record.read_bytes()
    outcome = run_job(done, settings())
    assert (outcome.state, outcome.worked) == (DONE, False)
    assert (done.segmentation.stat().st_mtime_ns, done.record.read_bytes()) == before


def test_other_settings_or_prompts_do_not_count_as_finished(done):
    assert state_of(done, settings()) is State.DONE
    assert state_of(done, settings(window="liver")) is State.CHANGED
    assert state_of(done, settings(hashes=(("liver-tumor", "0" * 64),))) is State.CHANGED
    moved = Job(done.name, done.image, done.out, (TumorPrompts("Liver tumor", include=(BOX[0],)),))
    assert state_of(moved, settings()) is State.CHANGED
    assert run_job(moved, settings()).reason.endswith("add --overwrite to replace it.")


def test_how_many_threads_work_does_not_matter(done):
    assert state_of(done, settings(threads=8, pinned=False, yes=True, device="cpu")) is State.DONE


@pytest.mark.parametrize(("runtime", "state"), [(None, State.DONE), ("onnxruntime", State.CHANGED)])
def test_a_record_of_0_1_counts_where_it_names_no_other_runtime(done, runtime, state):
    said = {
        **{"text": None, "mode": "slice", "plane": "axial", "window": "auto", "channels": "single", "quality": "full"},
        **{"direction": "both", "segment_name": "Liver tumor", "runtime": runtime, "model": MODEL},
        "models": {MODEL: get_model(MODEL).sha256},
    }
    prompts = [["Liver tumor", [], [], BOX]]
    key = hashlib.sha256(json.dumps([prompts, said, False], sort_keys=True).encode()).hexdigest()
    done.record.write_text(json.dumps({**read_record(done), "key": key, "settings": said}))
    assert state_of(done, settings()) is state
    reason = run_job(done, settings()).reason
    assert reason == (
        "" if state is State.DONE else f"'{done.segmentation.name}' is {state.value}; add --overwrite to replace it."
    )


def test_a_scan_is_known_by_its_content_when_its_time_changes(done):
    os.utime(done.image, (1e9, 1e9))
    assert state_of(done, settings()) is State.DONE
    data = bytearray(done.image.read_bytes())
    data[-1] ^= 1
    done.image.write_bytes(data)
    assert state_of(done, settings()) is State.CHANGED


def test_a_kill_between_record_and_segmentation_leaves_a_case_to_do(done):
    old = done.segmentation.read_bytes()
    assert run_job(done, settings(window="liver"), overwrite=True).worked
    assert done.segmentation.read_bytes() != old
    # the record was in place, the old segmentation not yet replaced
    done.segmentation.write_bytes(old)
    assert state_of(done, settings(window="liver")) is State.ABSENT
    done.segmentation.unlink()
    assert state_of(done, settings(window="liver")) is State.ABSENT


def test_what_somebody_has_edited_is_never_replaced(done):
    edited = done.segmentation.read_bytes() + b"\n"
    done.segmentation.write_bytes(edited)
    for changed in (settings(), settings(window="liver")):
        outcome = run_job(done, changed, overwrite=True)
        assert (outcome.state, outcome.worked) == (DONE, False)
        assert "Edited" in outcome.reason
    assert done.segmentation.read_bytes() == edited


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"format": 1, "output": 3}', b"\xff"])
def test_a_file_with_a_damaged_record_is_nobodys(done, damage):
    done.record.write_bytes(damage)
    assert read_record(done) == {}
    assert state_of(done, settings()) is State.FOREIGN
    assert run_job(done, settings()).state == FAILED


def test_overwrite_replaces_a_file_of_nobody(job):
    job.segmentation.write_bytes(b"mine")
    assert run_job(job, settings(), overwrite=True).worked
    assert state_of(job, settings()) is State.DONE


def test_figures_are_made_anew_when_the_reference_changes_and_the_mask_is_not(done, tmp_path):
    reference = tmp_path / "reference.seg.nrrd"
    shutil.copy(done.segmentation, reference)
    compared = Job(done.name, done.image, done.out, done.tumors, reference=reference)
    outcome = run_job(compared, settings())
    assert outcome.record["comparison"]["overall"]["dice"] == 1.0
    assert not outcome.worked
    written = done.record.read_bytes()
    run_job(compared, settings())
    assert done.record.read_bytes() == written
    reference.write_bytes(b"no label")
    outcome = run_job(compared, settings())
    assert outcome.state == DONE
    assert outcome.reason.startswith("No figures: 'reference.seg.nrrd'")


def test_a_case_that_is_cancelled_leaves_nothing(job):
    asked = []
    outcome = run_job(job, settings(text="liver tumor"), lambda: len(asked) > 3 or asked.append(0))
    assert outcome.state == CANCELLED
    assert [path.name for path in job.out.rglob("*")] == ["records"]


def test_a_bug_in_one_case_is_that_cases_failure(job, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("SAMLiverTumorLib.batch.segmenting.segment_scan", fail)
    outcome = run_job(job, settings())
    assert (outcome.state, outcome.reason) == (
        FAILED,
        "Unexpected error, please report it: ZeroDivisionError: division by zero",
    )


def test_reasons_name_no_folder(job):
    job.image.write_bytes(b"NRRD0004\n")
    reason = run_job(job, settings()).reason
    assert "'a.nrrd'" in reason
    assert str(job.image.parent) not in reason


@pytest.mark.parametrize(
    ("visible", "worker", "count", "expected"),
    [
        (None, 0, 2, "0"),
        (None, 3, 2, "1"),
        ("4,7", 1, 2, "7"),
        ("GPU-aa,GPU-bb", 0, 2, "GPU-aa"),
        (None, 1, 1, None),
        (None, None, 8, None),
    ],
)
def test_workers_take_gpus_in_turn(monkeypatch, visible, worker, count, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    pin_gpu(worker, count)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == expected
