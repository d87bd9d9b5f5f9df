"""A short fuzzing run of every reader; `python3 dev.py fuzz --inputs 10000` is the long one."""

from collections import Counter
from contextlib import nullcontext, suppress

import pytest
from fuzz.drive import drive
from fuzz.seeds import trap_bytes
from fuzz.targets import TARGETS

from SAMLiverTumorLib.errors import SAMLiverTumorError

# Reading takes milliseconds, starting the process seconds: all targets share one.
_EACH = 12


def test_damaged_files_are_read_or_refused_and_do_nothing_else():
    tallies = drive([(name, number) for name in TARGETS for number in range(_EACH)], seed=2026)
    failures = [failure for tally in tallies.values() for failure in tally.failures.values()]
    assert failures == []
    assert {name: tally.inputs for name, tally in tallies.items()} == dict.fromkeys(TARGETS, _EACH)
    # damage that is never noticed, or whole files that are refused, would test nothing
    outcomes = sum((tally.outcomes for tally in tallies.values()), Counter())
    assert min(outcomes["read"], outcomes["refused"]) > len(TARGETS) * _EACH // 10


@pytest.mark.parametrize("name", TARGETS)
def test_the_files_to_damage_are_intact(name, tmp_path):
    target = TARGETS[name]
    for number, (kind, files) in enumerate(target.seeds.items()):
        folder, out = tmp_path / f"in{number}", tmp_path / f"out{number}"
        folder.mkdir()
        out.mkdir()
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        if kind.startswith("trap"):
            with pytest.raises(SAMLiverTumorError):
                target.read(folder, folder / next(iter(files)), out)
        else:
            with suppress(SAMLiverTumorError) if target.refuses_seeds else nullcontext():
                target.read(folder, folder / next(iter(files)), out)


def test_the_same_seed_damages_in_the_same_way_and_another_seed_differently():
    for target in TARGETS.values():
        assert target.damaged(1, 7) == target.damaged(1, 7)
    assert any(TARGETS["nifti"].damaged(1, n) != TARGETS["nifti"].damaged(2, n) for n in range(5))


_BAD_READERS = """
import os, signal, subprocess, time
from pathlib import Path
from fuzz import targets
from fuzz.target import Target
def reader(act):
    return Target("bad", lambda: {"x": {"x.bin": b"abc"}}, lambda folder, path, out: act(path, out), {})
acts = {
    "fine": lambda path, out: (out / "result").write_text("x"),
    "error": lambda path, out: {}["missing"],
    "crash": lambda path, out: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": lambda path, out: bytearray(6 << 30),
    "elsewhere": lambda path, out: (Path.home() / "left.txt").write_text("x"),
    "far": lambda path, out: open("/dev/shm/sam-fuzz-test", "w").close(),
    "program": lambda path, out: subprocess.run(["true"]),
}
targets.TARGETS.clear()
targets.TARGETS.update({name: reader(act) for name, act in acts.items()})
"""


def test_the_watch_detects_what_a_reader_must_not_do(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("")
    worker = tmp_path / "bad_worker.py"
    start = "import sys\nfrom pathlib import Path\nsys.path[0:0] = sys.argv[2:]\n"
    worker.write_text(start + _BAD_READERS + "from fuzz.worker import main\nmain(Path(sys.argv[1]))\n")
    from fuzz import drive as module

    paths = [str(path) for path in (module._WORKER.parents[2], module._WORKER.parents[1])]
    worker.write_text(worker.read_text().replace("sys.argv[2:]", repr(paths)))
    monkeypatch.setattr(module, "_WORKER", worker)
    names = ("fine", "error", "memory", "elsewhere", "far", "program", "crash")
    found = {name: next(iter(tally.outcomes)) for name, tally in drive([(name, 0) for name in names], 0).items()}
    assert found == {
        **{"fine": "read", "error": "error", "memory": "error", "elsewhere": "escape", "far": "escape"},
        **{"program": "escape", "crash": "crash"},
    }


def test_the_trap_in_the_checkpoints_works(tmp_path, monkeypatch):
    import io

    import torch

    monkeypatch.chdir(tmp_path)
    for zipped in (True, False):
        torch.load(io.BytesIO(trap_bytes(zipped)), weights_only=False)["x"].close()
        assert (tmp_path / "PICKLE-WAS-RUN").exists()
        (tmp_path / "PICKLE-WAS-RUN").unlink()
