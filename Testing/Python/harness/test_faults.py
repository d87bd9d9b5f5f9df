"""Short forms of `python3 dev.py faults`: killed, full and read-only disks, wrong clocks, two at once."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from loopback import LoopbackServer

from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
from SAMLiverTumorLib.io.atomic import TEMPORARY_PREFIX, atomic_path
from SAMLiverTumorLib.training.runs.process import TrainingProcess, cancel_requested, job_lock

ROOT = Path(__file__).resolve().parents[3]
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")

_WRITER = """
import sys, time
from pathlib import Path
from SAMLiverTumorLib.io.atomic import atomic_path
print("ready", flush=True)
for number in range(10**6):
    with atomic_path(Path(sys.argv[1]) / "report.json", overwrite=True) as path:
        path.write_text("[" + ",".join([str(number)] * 20_000) + "]")
"""
_CACHE = """
import sys
import numpy as np
from pathlib import Path
from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache
cache = DiskCache(Path(sys.argv[1]) / "embeddings")
print("ready", flush=True)
for number in range(10**6):
    cache.put(str(number % 7), np.full((1, 64, 64, 64), number % 7, np.float16))
"""


def started(program, *words, prepare=None):
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


@posix
@pytest.mark.parametrize("program", [_WRITER, _CACHE], ids=["output", "cache"])
def test_files_that_a_killed_writer_leaves_under_their_final_name_are_complete(tmp_path, program):
    seen = 0
    for number, wait in enumerate(np.random.default_rng(5).uniform(0.005, 0.08, 10)):
        process = started(program, tmp_path)
        # every other one once there is something: on a slow disk the first file takes longer than these waits
        until = time.monotonic() + (10 if number % 2 else 0)
        while (
            time.monotonic() < until
            and not any(tmp_path.glob("report.json"))
            and not any(tmp_path.rglob("*.embedding"))
        ):
            time.sleep(0.005)
        time.sleep(wait)
        process.kill()
        process.communicate()
        if (tmp_path / "report.json").exists():
            assert len(json.loads((tmp_path / "report.json").read_text())) == 20_000
            seen += 1
        files = set(tmp_path.glob("embeddings/*.embedding"))
        cache = DiskCache(tmp_path / "embeddings")
        for number in range(7):
            array = cache.get(str(number))
            assert array is None or (array.shape == (1, 64, 64, 64) and (array == number).all())
        assert set(tmp_path.glob("embeddings/*.embedding")) == files  # none was damaged
        seen += bool(files)
    assert seen > 2


def _at_most_100_kb():
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@posix
def test_a_full_disk_is_reported_and_the_old_file_stays(tmp_path):
    (tmp_path / "report.json").write_text("old")
    process = started(_WRITER.replace("20_000", "200_000"), tmp_path, prepare=_at_most_100_kb)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "SAMLiverTumorLib.errors.OutputError" in told and "cannot be written" in told
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"


_SLICER_WRITER = """
import sys
import numpy as np
import slicer
from pathlib import Path
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.scene_files import saveScene, saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
from SAMLiverTumorLib.volume import Volume
scene = createScene()
noise = np.random.default_rng(0).integers(0, 2, (40, 200, 200)).astype(np.uint8)
node = addVolumeNode(scene, Volume(noise, np.eye(4), "ct"))
segmentation = createSegmentation(scene, node)
slicer.util.updateSegmentBinaryLabelmapFromArray(noise, segmentation, addTumorSegment(segmentation, "T"), node)
print("ready", flush=True)
if sys.argv[2].endswith(".mrb"):
    saveScene(scene, Path(sys.argv[1]) / sys.argv[2])
else:
    saveSegmentation(segmentation, Path(sys.argv[1]) / sys.argv[2])
"""


@posix
@pytest.mark.parametrize("name", ["out.seg.nrrd", "scene.mrb"])
def test_slicers_writers_do_not_leave_a_partial_file_as_complete(tmp_path, name):
    process = started(_SLICER_WRITER, tmp_path, name, prepare=_at_most_100_kb)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1, told
    assert "SAMLiverTumorLib.errors.OutputError" in told and f"{name}' " in told
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_cache_on_a_full_disk_stays_empty_and_fails_nothing(tmp_path):
    program = _CACHE.replace("cache.put(", "assert not cache.put(").replace("10**6", "3")
    process = started(program, tmp_path, prepare=_at_most_100_kb)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    assert list((tmp_path / "embeddings").iterdir()) == []


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="choose a folder you may write to"), atomic_path(tmp_path / "a.json"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_training_run_in_a_read_only_folder_is_reported(tmp_path, monkeypatch):
    def refuse(path, *args, **options):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("SAMLiverTumorLib.models.download.lock._take", refuse)
    with (
        pytest.raises(OutputError, match=r"Read-only file system.*choose another folder"),
        job_lock(tmp_path, TrainingProcess),
    ):
        pytest.fail("the training ran")


@pytest.mark.parametrize("years", [-40, 40])
def test_entries_dated_years_away_are_served_and_leftovers_deleted(tmp_path, years):
    cache = DiskCache(tmp_path)
    array = np.ones(10, np.float16)
    cache.put("key", array)
    (tmp_path / ".killed.tmp").write_bytes(b"half")
    moment = time.time() + years * 365 * 86_400
    for path in tmp_path.iterdir():
        os.utime(path, (moment, moment))
    cache.sweep()
    assert (cache.get("key") == array).all()
    # a leftover of the future would never grow old
    assert not (tmp_path / ".killed.tmp").exists()


@pytest.mark.parametrize(("seconds", "counts"), [(0, True), (-3600, False), (40 * 365 * 86_400, False)])
def test_only_a_current_request_cancels_a_training_run(tmp_path, seconds, counts):
    cancel = tmp_path / "cancel"
    cancel.touch()
    moment = time.time() + seconds
    os.utime(cancel, (moment, moment))
    assert cancel_requested(cancel) is counts


def test_leftovers_of_killed_writers_are_deleted_after_a_day(tmp_path):
    old, new = tmp_path / f"{TEMPORARY_PREFIX}old", tmp_path / f"{TEMPORARY_PREFIX}new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "out.seg.nrrd").write_bytes(b"half")
    yesterday = time.time() - 2 * 86_400
    os.utime(old, (yesterday, yesterday))
    with atomic_path(tmp_path / "report.json") as path:
        path.write_text("{}")
    assert not old.exists() and new.exists()


@posix
def test_a_killed_download_resumes_and_never_leaves_a_wrong_file(tmp_path):
    weights = np.random.default_rng(0).bytes(2_000_000)
    server = LoopbackServer()
    server.files["/w"] = weights
    server.stall_after = 700_000
    program = f"""
import dataclasses, hashlib, sys
from pathlib import Path
from SAMLiverTumorLib.models.registry import UrlSource, get_model
from SAMLiverTumorLib.models.download.store import ModelStore
info = dataclasses.replace(get_model("sam-vit-b"), size=2_000_000,
    sha256={__import__("hashlib").sha256(weights).hexdigest()!r}, sources=(UrlSource({server.url + "/w"!r}),))
print("ready", flush=True)
ModelStore(Path(sys.argv[1])).fetch(info, lambda question: True)
"""
    try:
        killed = started(program, tmp_path)
        part = tmp_path / "sam_vit_b_01ec64.pth.part"
        end = time.monotonic() + 60
        while time.monotonic() < end and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        killed.kill()
        killed.communicate()
        assert not (tmp_path / "sam_vit_b_01ec64.pth").exists()
        server.stall_after = None
        again = started(program, tmp_path)
        assert (again.communicate(timeout=60)[1], again.returncode) == ("", 0)
        assert (tmp_path / "sam_vit_b_01ec64.pth").read_bytes() == weights
        assert [path.name for path in tmp_path.iterdir()] == ["sam_vit_b_01ec64.pth"]
    finally:
        server.close()


@posix
def test_the_harness_notices_incomplete_files_and_jobs_that_do_not_complete(tmp_path):
    sys.path.insert(0, str(ROOT / "Testing"))
    from faults.disturb import kill
    from faults.job import Job

    def slow_and_careless(folder):
        with (folder / "out").open("w") as file:
            for _ in range(20):
                file.write("x" * 10)
                file.flush()
                time.sleep(0.01)
        return 0

    def check(folder):
        with suppress(FileNotFoundError):
            assert len((folder / "out").read_text()) == 200

    result = kill(Job("careless", slow_and_careless, check, lambda folder: (folder / "out").exists()), 8, seed=0)
    assert result.struck > 0 and result.failures
    stubborn = SimpleNamespace(runs=0)

    def only_once(folder):
        stubborn.runs += 1
        if (folder / "lock").exists():
            return 2
        (folder / "lock").touch()
        time.sleep(0.1)
        return 0

    result = kill(Job("stubborn", only_once, lambda folder: None, lambda folder: True), 4, seed=0)
    assert any("did not complete" in failure for failure in result.failures)
