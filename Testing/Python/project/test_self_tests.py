"""The self-tests that ctest runs in the Slicer application, on the desktop stand-in."""

import re

import pytest
from desktop.process import ROOT

FOLDER = ROOT / "Testing" / "Slicer"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("test_*.py")))
def test_a_self_test_passes_on_the_stand_in(run_layers, name):
    out = run_layers(
        f"""
import unittest
sys.path.insert(0, {str(FOLDER)!r})
suite = unittest.defaultTestLoader.loadTestsFromName({name!r})
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
assert result.wasSuccessful()
"""
    )
    written = re.findall(r"^    def test_", (FOLDER / f"{name}.py").read_text("utf-8"), re.MULTILINE)
    assert f"Ran {len(written)} tests" in out


def test_ctest_is_told_of_every_self_test():
    listed = re.findall(r"SCRIPT (\S+)\)", (FOLDER / "CMakeLists.txt").read_text("utf-8"))
    assert sorted(listed) == sorted(path.name for path in FOLDER.glob("test_*.py"))
