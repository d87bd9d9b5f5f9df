"""Several processes: one out of memory halves the batch in all or ends all; cancelling ends all with a saved state."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from memory_case import train
from training_case import command, events, losses, options, write_cases

from SAMLiverTumorLib.training.optimization.checkpoint_state import load_state
from SAMLiverTumorLib.training.optimization.distributed import Processes

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "Testing" / "support"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def two_processes(folder, most):
    """Records of two processes, of which the second has memory for `most` examples at once."""
    path = os.pathsep.join([str(ROOT), str(SUPPORT)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    words = [sys.executable, *TORCHRUN, str(SUPPORT / "memory_case.py"), str(folder), str(most)]
    # processes that wait forever for one that is out of memory fail here
    subprocess.run(words, env=environment, check=True, capture_output=True, timeout=300)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_one_process_out_of_memory_halves_the_batch_in_all_and_the_steps_stay_the_same(tmp_path):
    first, second = two_processes(tmp_path, 1)
    # each has two of the four examples; the first step is tried whole, then all continue one by one
    assert first["sizes"] == second["sizes"] == [2, *[1] * 8]
    assert first["notes"] == second["notes"] == ["Out of graphics memory: continuing with the batch in 2 parts."]
    alone = train(tmp_path, 99, Processes())
    assert first["losses"] == second["losses"] == pytest.approx(alone["losses"], abs=1e-6)
    assert first["weight"] == second["weight"] == pytest.approx(alone["weight"], abs=1e-6)


def test_too_little_memory_for_half_the_batch_ends_all_processes_with_the_same_error(tmp_path):
    first, second = two_processes(tmp_path, 0)
    assert first["error"] == second["error"] and "--device cpu" in first["error"]
    assert first["losses"] == [] and first["weight"] == [0.0, 0.0]


def test_cancelling_ends_all_processes_with_a_state_that_resumes(tmp_path):
    cases = write_cases(tmp_path / "cases")
    words = options(cases, tmp_path / "run", epochs=2, steps=4, cache=tmp_path / "embeddings", text="liver tumor")
    process = command(*words, launcher=(*TORCHRUN, "-m", "SAMLiverTumorLib"))
    try:
        _wait(lambda: (tmp_path / "run" / "progress.jsonl").exists() and events(tmp_path / "run", "step"), process)
        (tmp_path / "run" / "cancel").touch()
        process.communicate(timeout=300)
    finally:
        process.kill()
    (cancelled,) = events(tmp_path / "run", "cancelled")
    done = load_state(tmp_path / "run").step
    assert done == cancelled["step"] == max(losses(tmp_path / "run")) < 8
    assert not list((tmp_path / "run").glob("*.safetensors"))
    (tmp_path / "run" / "cancel").unlink()
    process = command(*words, "--resume")
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert events(tmp_path / "run", "start")[1]["resumed_at"] == done and len(losses(tmp_path / "run")) == 8


def _wait(there, process):
    end = time.monotonic() + 400
    while not there():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.2)
