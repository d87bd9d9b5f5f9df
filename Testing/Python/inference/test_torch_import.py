"""Importing PyTorch without blocking the other threads; each test in a process that has not imported it yet."""

import subprocess
import sys

import pytest


def run(program, root):
    """Run a program with the library on its path; its standard output."""
    start = "import gc, sys\nfrom SAMLiverTumorLib.inference.threads import torch_import\n"
    command = [sys.executable, "-c", start + program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_a_network_needs_is_imported_and_garbage_collection_stays_enabled(root):
    run(
        """
assert "torch" not in sys.modules
torch_import.import_torch_quietly()
assert {"torch", "torchvision", "segment_anything", "SAMLiverTumorLib.inference.predictor"} <= set(sys.modules)
assert gc.isenabled()
assert gc.get_freeze_count() > 100_000, "each collection goes through all of PyTorch"
gc.disable()
torch_import.import_torch_quietly()
assert not gc.isenabled()
""",
        root,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads which libraries are loaded from /proc")
def test_the_libraries_are_loaded_before_python_imports_them(root):
    run(
        """
torch_import._load_libraries()
assert "torch" not in sys.modules
assert "libtorch_cpu" in open("/proc/self/maps").read()
""",
        root,
    )


def test_a_pytorch_that_is_missing_or_has_other_libraries_is_reported_by_the_import_alone(root):
    run(
        """
torch_import._LIBRARIES = ("libtorch_of_another_build",)
torch_import._load_libraries()
sys.modules["torch"] = None
try:
    torch_import.import_torch_quietly()
except ImportError:
    assert gc.isenabled()
else:
    raise AssertionError("there is no PyTorch to import")
""",
        root,
    )
