"""Cohorts on Dask: every case once, whatever is killed, damaged or cancelled meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from batch_case import BOX, ROW, batch, cases_of, jobs_of, settings, whole, write_prompts, write_scans
from cli_case import read_segment
from cli_case import run as segment

from SAMLiverTumorLib.batch.run import run_batch
from SAMLiverTumorLib.cli.main import main

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def scheduler():
    """Address of somebody's cluster, with one worker."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, memory_limit=0) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def scans(phantom, tmp_path):
    """Three scans."""
    return write_scans(tmp_path / "scans", phantom, NAMES)


@pytest.fixture
def prompts(tmp_path):
    """A box for each of them."""
    return write_prompts(tmp_path / "prompts.csv", NAMES)


def refusal(capsys, *words):
    """The one line that a batch refuses with."""
    assert main(["batch", *map(str, words)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


def test_every_case_is_done_once_though_workers_are_killed(scans, tmp_path):
    jobs, told, killed, places = jobs_of(scans, tmp_path / "out"), [], [], []

    def kill_one_at_work(outcome):
        told.append(outcome.name)
        if not killed:
            client = places[0].client
            pids, busy = client.run(os.getpid), [w for w, keys in client.processing().items() if keys]
            killed.append(pids[busy[-1]])
            os.kill(killed[0], signal.SIGKILL)

    # a whole volume each, so that the others are in the middle of one when the first is finished
    searched = settings(text="liver tumor", threads=1)
    result = run_batch(
        jobs, searched, 2, on_start=lambda place, count: places.append(place), on_outcome=kill_one_at_work
    )
    assert killed
    assert sorted(told) == NAMES
    assert [outcome.state for outcome in result.outcomes] == ["done"] * 3
    assert (result.finished_before, result.cancelled) == (0, False)
    whole(tmp_path / "out", NAMES)


def test_after_kill_9_the_same_command_goes_on_where_it_was(scans, tmp_path, scheduler, capsys):
    words = [str(scans), "--text", "liver tumor", "--model", "liver-tumor", "--out", str(tmp_path / "out")]
    program = [sys.executable, "-m", "SAMLiverTumorLib", "batch", *words, "--workers", "1"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        first = next(line for line in process.stdout if line.startswith("1/3"))
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    finished = first.split()[1].rstrip(":")
    record = tmp_path / "out" / "records" / f"{finished}.json"
    before = record.read_bytes(), record.stat().st_mtime_ns
    assert main(["batch", *words, "--scheduler", scheduler]) == 0
    assert f"{finished}: " in (out := capsys.readouterr().out)
    assert "1 of 3 cases are finished already" in out
    assert (record.read_bytes(), record.stat().st_mtime_ns) == before
    whole(tmp_path / "out", NAMES)


def test_a_damaged_scan_fails_alone(scans, prompts, tmp_path, scheduler, capsys):
    (scans / "b.nrrd").write_bytes((scans / "b.nrrd").read_bytes()[:5000])
    assert batch(scans, "--out", tmp_path / "out", "--prompts", prompts, "--scheduler", scheduler) == 1
    assert "b: failed: 'b.nrrd'" in capsys.readouterr().out
    cases = cases_of(tmp_path / "out")
    assert [cases[name]["state"] for name in NAMES] == ["done", "failed", "done"]
    assert "b.nrrd" in cases["b"]["reason"]
    whole(tmp_path / "out", ["a", "c"])


@pytest.mark.parametrize("mode", ["slice", "volume", "text"])
def test_masks_are_those_of_the_command_segment(mode, scans, prompts, tmp_path, scheduler, pool, warm):
    what = ["--text", "liver tumor"] if mode == "text" else ["--prompts", prompts, "--mode", mode]
    assert batch(scans / "b.nrrd", "--out", tmp_path / "out", *what, "--scheduler", scheduler) == 0
    alone = tmp_path / "alone.seg.nrrd"
    corners = ",".join(str(x) for corner in BOX for x in corner)
    what = ["--text", "liver tumor"] if mode == "text" else [f"--box={corners}", "--mode", mode]
    assert segment(scans / "b.nrrd", "-o", alone, "--model", "liver-tumor", *what) == 0
    theirs, image = read_segment(alone)
    ours, same = read_segment(tmp_path / "out" / "b.seg.nrrd")
    assert np.array_equal(ours, theirs)
    assert same.GetMetaData("Segment0_Tags") == image.GetMetaData("Segment0_Tags")
    assert same.GetOrigin() == image.GetOrigin()


def test_references_give_the_figures_of_the_command_evaluate(scans, prompts, tmp_path, scheduler, capsys):
    references = tmp_path / "references"
    references.mkdir()
    assert batch(scans, "--out", tmp_path / "out", "--prompts", prompts, "--scheduler", scheduler) == 0
    # one scan's mask as the truth for another one, whose picture is shifted by two voxels
    (references / "c_label.seg.nrrd").write_bytes((tmp_path / "out" / "a.seg.nrrd").read_bytes())
    words = (scans, "--out", tmp_path / "out", "--prompts", prompts, "--references", references)
    capsys.readouterr()
    assert batch(*words, "--scheduler", scheduler) == 0
    assert "There is no reference for 'a', 'b'." in capsys.readouterr().out
    files = [str(tmp_path / "out" / "c.seg.nrrd"), str(references / "c_label.seg.nrrd")]
    assert main(["evaluate", *files, "--json", str(tmp_path / "alone.json")]) == 0
    expected = json.loads((tmp_path / "alone.json").read_text())["overall"]
    cases = cases_of(tmp_path / "out")
    assert 0 < expected["dice"] < 1
    for figure in ("dice", "hd95_mm", "surface_dice"):
        assert cases["c"][figure] == expected[figure]
        assert cases["a"][figure] is None


def test_two_tumors_of_one_case_are_two_segments(scans, tmp_path, scheduler):
    table = tmp_path / "two.csv"
    rows = f"a,box,{ROW}first\na,include,{BOX[0][0]},{BOX[0][1]},{BOX[0][2]},,,,second\n"
    table.write_text(f"case,kind,r,a,s,r2,a2,s2,segment\n{rows}")
    assert batch(scans / "a.nrrd", "--out", tmp_path / "out", "--prompts", table, "--scheduler", scheduler) == 0
    segments = cases_of(tmp_path / "out")["a"]["segments"]
    assert [each["name"] for each in segments] == ["first", "second"]


def test_cancel_leaves_what_is_finished_and_nothing_else(scans, tmp_path, scheduler):
    cancelled = threading.Event()
    jobs = jobs_of(scans, tmp_path / "out")
    searched = settings(text="liver tumor", threads=None)
    result = run_batch(
        jobs, searched, 1, scheduler, on_outcome=lambda outcome: cancelled.set(), cancel=cancelled.is_set
    )
    states = {outcome.name: outcome.state for outcome in result.outcomes}
    assert result.cancelled
    assert sorted(states.values()) == ["cancelled", "cancelled", "done"]
    whole(tmp_path / "out", [name for name, state in states.items() if state == "done"])


def test_a_case_that_no_row_names_fails_alone(scans, tmp_path, scheduler):
    prompts = write_prompts(tmp_path / "one.csv", ["a"])
    words = (scans / "a.nrrd", scans / "b.nrrd", "--out", tmp_path / "out", "--prompts", prompts)
    assert batch(*words, "--scheduler", scheduler) == 1
    assert cases_of(tmp_path / "out")["b"]["reason"] == "No row of the prompts names 'b'."


def test_other_settings_are_refused_before_anything_is_done(scans, prompts, tmp_path, scheduler, capsys):
    words = (scans / "a.nrrd", "--out", tmp_path / "out", "--prompts", prompts, "--scheduler", scheduler)
    assert batch(*words) == 0
    capsys.readouterr()
    said = refusal(capsys, *words, "--model", "liver-tumor", "--window", "liver")
    assert "add --overwrite" in said
    assert batch(*words, "--window", "liver", "--overwrite") == 0
    record = json.loads((tmp_path / "out" / "records" / "a.json").read_text())
    assert record["settings"]["window"] == "liver"


def test_a_second_batch_in_the_same_folder_is_refused(scans, prompts, tmp_path, capsys):
    from SAMLiverTumorLib.models.download.lock import locked

    out = tmp_path / "out"
    out.mkdir()
    with locked(out / ".batch.lock"):
        said = refusal(capsys, scans, "--out", out, "--prompts", prompts, "--model", "liver-tumor")
    assert "Another batch is running" in said


def test_tables_of_something_else_are_not_replaced(scans, prompts, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").write_text("mine")
    assert "exists already" in refusal(capsys, scans, "--out", out, "--prompts", prompts, "--model", "liver-tumor")
    assert [path.name for path in out.iterdir()] == ["summary.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scheduler", "tcp://127.0.0.1:1"), "No Dask scheduler answers"),
        (("--scheduler", "nonsense://x"), "No Dask scheduler answers"),
        (("--workers", "0"), "give 1 or more"),
        (("--workers", "2", "--scheduler", "tcp://127.0.0.1:1"), "--workers sets"),
        (("--model", "nonsense"), "neither a known model"),
        (("--window", "nonsense"), "Unknown window"),
        (("--reference-label", "2"), "--references"),
        (("--liver", "somewhere"), "--mode volume"),
        (("--references", "nowhere"), "does not exist"),
    ],
)
def test_what_concerns_all_cases_is_refused_at_once(words, said, scans, prompts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("SAMLiverTumorLib.batch.cluster._CONNECT_S", 1)
    words = (*words, "--model", "liver-tumor") if "--model" not in words else words
    assert said in refusal(capsys, scans, "--out", tmp_path / "out", "--prompts", prompts, *words)
    assert not list((tmp_path / "out").rglob("*.nrrd"))
