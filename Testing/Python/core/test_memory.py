"""The most memory that a process took is its own, not that of whoever started it."""

import subprocess
import sys

import numpy as np

from SAMLiverTumorLib.memory import peak_memory

PROGRAM = "from SAMLiverTumorLib.memory import peak_memory; print(peak_memory())"


def test_a_process_does_not_begin_with_its_parents_peak(root):
    before = peak_memory()
    held = np.ones(400_000_000, np.uint8)
    assert peak_memory() >= max(before, held.nbytes)
    reported = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    assert 1_000_000 < int(reported.stdout) < 200_000_000


def test_the_peak_stays_when_memory_is_given_back():
    held = np.ones(300_000_000, np.uint8)
    peak = peak_memory()
    del held
    assert peak_memory() >= peak >= 300_000_000
