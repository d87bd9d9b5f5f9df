"""`sam-liver-tumor segment --mode volume --fuse ...`: maps on the CT's grid, the next best slice, all files or none.

The network is a rule of thumb that marks what is dark: real ones would take minutes for all these slices.
"""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import ONE_SLICE, files, read_in_slicer, read_segment, refused, run
from propagation_case import DarkPool, dice

from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.segment_volume import segment_volume
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.segments.segments import provenance
from SAMLiverTumorLib.prompts import Box, Prompts

# the lesion of 50 HU is darker than the middle of this window, the liver of 110 HU brighter
VOLUME = ("--mode", "volume", "--window", "0,160")


@pytest.fixture
def dark(monkeypatch):
    """The console program with a network that marks what is dark."""
    pool = DarkPool()
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: pool)
    return pool


@pytest.mark.usefixtures("dark")
def test_fused_passes_give_mask_maps_and_the_next_best_slice(ct, out, tmp_path, phantom, capsys):
    report, p_file, u_file = (tmp_path / name for name in ("report.json", "p.nrrd", "u.nii.gz"))
    options = ["--fuse", "axial,coronal,sagittal", "--probability", p_file, "--uncertainty", u_file]
    assert run(ct, "-o", out, ONE_SLICE, *VOLUME, *options, "--json", report) == 0
    printed = capsys.readouterr().out
    source = sitk.ReadImage(str(ct))
    maps = {}
    for path in (p_file, u_file):
        image = sitk.ReadImage(str(path))
        assert image.GetPixelID() == sitk.sitkUInt8
        assert image.GetSize() == source.GetSize()
        for name in ("GetOrigin", "GetSpacing", "GetDirection"):
            assert np.allclose(getattr(image, name)(), getattr(source, name)(), atol=1e-4)
        maps[path] = sitk.GetArrayFromImage(image)
    segment, cropped = read_segment(out)
    mask = np.zeros(phantom.array.shape, bool)
    low = np.rint(np.array(source.TransformPhysicalPointToIndex(cropped.GetOrigin())))[::-1].astype(int)
    mask[tuple(slice(a, a + n) for a, n in zip(low, segment.shape, strict=True))] = segment
    assert np.array_equal(maps[p_file] >= 50, mask), "50 percent and more is the mask"
    assert maps[p_file].max() <= 100
    assert 0 < maps[u_file].max() <= 100
    k, j, i = np.indices(phantom.array.shape)
    lesion = ((i - 34) * 1.5) ** 2 + ((j - 44) * 1.5) ** 2 + ((k - 10) * 4.0) ** 2 < 14**2
    assert dice(mask, lesion) > 0.85
    told = json.loads(report.read_text())
    assert told["probability"] == str(p_file)
    assert told["uncertainty"] == str(u_file)
    assert [p["orientation"] for p in told["passes"]] == ["axial", "coronal", "sagittal"]
    best = told["next_best_slice"]
    assert best["orientation"] == "axial"
    assert best["index"] != 10, "slice 10 is prompted already"
    assert f"next best slice: axial {best['index']} at R " in printed
    assert "fused: axial, coronal, sagittal\n" in printed
    node = read_in_slicer(out)
    (record, *_) = provenance(node, node.GetSegmentation().GetNthSegmentID(0))
    assert len(record["fusion"]["passes"]) == 3


@pytest.mark.usefixtures("dark")
def test_maps_alone_leave_the_mask_as_it_was(ct, out, tmp_path):
    assert run(ct, "-o", out, ONE_SLICE, *VOLUME, "--uncertainty", tmp_path / "u.nrrd") == 0
    box = Box.from_corners((35.5, -41.75, -272), (65.5, -9.75, -272))
    settings = Settings(window=Window(0, 160))
    expected = segment_volume(PlaneStack(read_volume(ct), "axial"), Prompts(box=box), DarkPool(), settings).mask()
    assert read_segment(out)[0].sum() == expected.count
    assert files(tmp_path) == ["ct.nrrd", "out.seg.nrrd", "u.nrrd"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--fuse", "coronal"], "--fuse is for propagating a tumor through the volume; add --mode volume"),
        (["--uncertainty", "u.nrrd"], "add --mode volume"),
        ([*VOLUME, "--fuse", "frontal"], "--fuse knows no 'frontal'; name planes (axial, coronal, sagittal)"),
        ([*VOLUME, "--uncertainty", "u.png"], "has to end in .nrrd"),
        ([*VOLUME, "--probability", "u.seg.nrrd"], "has to end in .nrrd"),
        ([*VOLUME, "--probability", "gone/p.nrrd"], "does not exist; create it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_end_with_one_line_before_anything_is_read(tmp_path, out, capsys, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    assert text in refused(capsys, "gone.nrrd", "-o", out, ONE_SLICE, *words)
    assert files(tmp_path) == []


def test_maps_replace_neither_inputs_nor_each_other_nor_old_files(ct, out, tmp_path, capsys):
    old = tmp_path / "old.nrrd"
    old.write_bytes(b"precious")
    for words, text in (
        (["--uncertainty", ct, "--overwrite"], "is given twice"),
        (["--uncertainty", tmp_path / "u.nrrd", "--probability", tmp_path / "u.nrrd"], "is given twice"),
        (["--uncertainty", old], "add --overwrite"),
    ):
        assert text in refused(capsys, ct, "-o", out, ONE_SLICE, *VOLUME, *words)
    assert old.read_bytes() == b"precious"


@pytest.mark.usefixtures("dark")
def test_a_map_that_cannot_be_written_leaves_no_other_file(ct, out, tmp_path, capsys, monkeypatch):
    def full_disk(*args):
        raise RuntimeError("itk::ERROR: disk full")

    monkeypatch.setattr(sitk, "WriteImage", full_disk)
    words = [*VOLUME, "--uncertainty", tmp_path / "u.nrrd", "--json", tmp_path / "report.json"]
    line = refused(capsys, ct, "-o", out, ONE_SLICE, *words)
    assert "cannot be written: itk::ERROR: disk full" in line
    assert files(tmp_path) == ["ct.nrrd"]
