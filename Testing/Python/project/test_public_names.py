"""The names that scripts and the README import: which there are, where they lead, and what importing them costs."""

import importlib
import re
import subprocess
import sys

import pytest

PUBLIC = {
    "SAMLiverTumorLib.inference": [
        "Box",
        "Ensemble",
        "PredictorPool",
        "Prompts",
        "SegmentationRequest",
        "SegmentationResult",
        "Settings",
        "Window",
        "parse_window",
        "run_request",
        "window_for",
    ],
    "SAMLiverTumorLib.mrml.api": [
        "exportDicomSeg",
        "exportSegments",
        "findTumors",
        "fineTune",
        "furtherChannels",
        "lesionReport",
        "loadDicomSeries",
        "loadIrcadbCase",
        "promptsFromNodes",
        "segmentNodes",
        "segmentRequest",
        "storeCase",
        "volumeFromNode",
        "writeResult",
    ],
}
"""A name goes from here only with a line in the changelog: somebody's script imports it."""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these_and_each_leads_to_what_it_says(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == PUBLIC[package]
    assert set(PUBLIC[package]) <= set(dir(module))
    for name in PUBLIC[package]:
        assert getattr(module, name).__name__ == name
        assert getattr(module, name).__module__.startswith("SAMLiverTumorLib.")


@pytest.mark.parametrize("package", PUBLIC)
def test_a_name_that_is_none_is_refused_as_python_does(package):
    module = importlib.import_module(package)
    assert not hasattr(module, "segmentEverything")
    with pytest.raises(ImportError, match="segmentEverything"):
        exec(f"from {package} import segmentEverything")


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        ("import SAMLiverTumorLib.inference", {"torch", "numpy", "scipy", "SimpleITK", "slicer"}),
        ("import SAMLiverTumorLib.mrml.api", {"torch", "numpy", "scipy", "SimpleITK", "slicer"}),
        (f"from SAMLiverTumorLib.inference import {', '.join(PUBLIC['SAMLiverTumorLib.inference'])}", {"torch"}),
        (f"from SAMLiverTumorLib.mrml.api import {', '.join(PUBLIC['SAMLiverTumorLib.mrml.api'])}", {"torch"}),
    ],
    ids=["inference", "api", "names of inference", "names of api"],
)
def test_importing_them_brings_no_pytorch_and_a_package_alone_nothing_heavy(line, absent, root):
    program = f"import sys\n{line}\nprint(sorted({absent} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[]\n")


def test_the_readme_imports_from_these_packages_alone(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^from (SAMLiverTumorLib[\w.]*) import (.+)$", text, re.MULTILINE)
    assert len(found) >= 3
    for package, names in found:
        assert set(names.split(", ")) <= set(PUBLIC.get(package, ())), package
