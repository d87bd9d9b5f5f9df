"""`sam-liver-tumor segment` on bad input, models and disks: status 2, one line, and nothing lost."""

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from cli_case import CENTER, ONE_SLICE, files, read_segment, refused, run, write_points, write_roi

REFUSALS = [
    ([], "no prompts"),
    (["--point", "500,0,-272"], r"mm outside 'ct.nrrd'"),
    (["--point", "1,2"], "not of the form R,A,S"),
    (["--point", "1,2,nan"], "not of the form R,A,S"),
    (["--box", "1,2,3,4,5"], "not of the form R1,A1,S1,R2,A2,S2"),
    (["--box", "1,2,3,1,2,3"], "at least two directions"),
    (["--exclude-point", "50,-25,-272"], "exclude points only"),
    ([ONE_SLICE, "--model", "sam-vit-x"], "'sam-vit-x' is neither a known model"),
    (["--point", "50,-25,-272", "--model", "lite-medsam"], "not for points"),
    ([ONE_SLICE, "--window", "9,1"], "the upper value has to be above"),
    ([ONE_SLICE, "--roi", "gone.mrk.json"], "There is no file 'gone.mrk.json'"),
    ([ONE_SLICE, "--json", "gone/report.json"], "does not exist"),
    ([ONE_SLICE, "--device", "abacus"], "'abacus' is not a device"),
]


@pytest.mark.parametrize(("words", "text"), REFUSALS, ids=[text for _, text in REFUSALS])
def test_mistakes_end_with_status_2_and_one_line_and_nothing_written(ct, out, capsys, tmp_path, store, words, text):
    assert text.replace("\\", "") in refused(capsys, ct, "-o", out, *words)
    assert files(tmp_path) == ["ct.nrrd"]


def test_outputs_are_checked_before_anything_is_read(tmp_path, out, capsys):
    assert "has to end in .seg.nrrd" in refused(capsys, "gone.nrrd", "-o", tmp_path / "out.nii.gz", ONE_SLICE)
    assert "does not exist; create it" in refused(capsys, "gone.nrrd", "-o", tmp_path / "no" / out.name, ONE_SLICE)
    out.write_text("precious")
    assert "add --overwrite" in refused(capsys, "gone.nrrd", "-o", out, ONE_SLICE)
    assert "'gone.nrrd' does not exist" in refused(capsys, "gone.nrrd", "-o", out, ONE_SLICE, "--overwrite")
    assert out.read_text() == "precious"


def test_an_existing_output_is_replaced_only_when_asked(ct, out, warm, capsys):
    out.write_text("precious")
    assert run(ct, "-o", out, ONE_SLICE, "--overwrite") == 0
    assert read_segment(out)[0].any()


def test_inputs_are_never_replaced_whatever_overwrite_says(ct, out, warm, capsys, tmp_path):
    roi = write_roi(tmp_path / "Box.mrk.json", CENTER, (30, 32, 2))
    before = {path: path.read_bytes() for path in (ct, roi)}
    for words in (["--json", ct], ["--json", roi], ["--json", out]):
        assert "is given twice" in refused(capsys, ct, "-o", out, "--roi", roi, "--overwrite", *words)
    assert {path: path.read_bytes() for path in (ct, roi)} == before
    assert not out.exists()


def test_roi_and_point_files_are_not_mixed_up(ct, out, capsys, tmp_path):
    roi = write_roi(tmp_path / "Box.mrk.json", CENTER, (30, 32, 2))
    points = write_points(tmp_path / "Points.mrk.json", [CENTER])
    broken = tmp_path / "Broken.mrk.json"
    broken.write_text(roi.read_text()[:60])
    assert "give an ROI as --roi" in refused(capsys, ct, "-o", out, "--include", roi)
    assert "holds no drawn ROI box" in refused(capsys, ct, "-o", out, "--roi", points)
    assert "not a markups file" in refused(capsys, ct, "-o", out, "--roi", broken)
    assert "not both" in refused(capsys, ct, "-o", out, "--roi", roi, ONE_SLICE)
    assert not out.exists()


def test_images_that_are_no_ct_volume_are_refused(phantom, out, capsys, tmp_path):
    images = {
        "flat.nrrd": sitk.Image(8, 8, sitk.sitkInt16),
        "series.nrrd": sitk.Image((8, 8, 4, 3), sitk.sitkInt16),
        "color.nrrd": sitk.Image((8, 8, 4), sitk.sitkVectorUInt8, 3),
    }
    for name, image in images.items():
        sitk.WriteImage(image, str(tmp_path / name))
    holes = phantom.array.astype(np.float32)
    image = sitk.GetImageFromArray(holes)
    image[3, 3, 3] = float("nan")
    sitk.WriteImage(image, str(tmp_path / "holes.nrrd"))
    (tmp_path / "text.nrrd").write_text("no image")
    for name, text in {
        "flat.nrrd": "two-dimensional",
        "series.nrrd": "4 dimensions",
        "color.nrrd": "3 values per voxel",
        "holes.nrrd": "NaN or infinite",
        "text.nrrd": "NRRD",
    }.items():
        assert text in refused(capsys, tmp_path / name, "-o", out, ONE_SLICE)
    assert not out.exists()


def test_a_store_with_a_wrong_file_is_not_trusted(ct, out, capsys, tmp_path, monkeypatch):
    folder = tmp_path / "store"
    folder.mkdir()
    wrong = folder / "lite_medsam.pth"
    with wrong.open("wb") as stream:
        stream.truncate(39_370_479)  # the right size
    monkeypatch.setenv("SAM_LIVER_TUMOR_MODELS", str(folder))
    line = refused(capsys, ct, "-o", out, ONE_SLICE)
    assert "LiteMedSAM" in line
    assert "--yes" in line
    assert not out.exists()


class Trap:
    """What a malicious checkpoint holds: unpickling it would write a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"echo caught > '{self.marker}'",)


def test_a_checkpoint_with_code_in_it_is_never_run_and_a_cut_one_is_refused(ct, out, capsys, tmp_path, store):
    import torch

    from SAMLiverTumorLib.models.registry import get_model

    marker = tmp_path / "marker"
    old, new, cut = (tmp_path / name for name in ("old.pth", "new.pth", "cut.pth"))
    old.write_bytes(pickle.dumps({"model": Trap(marker)}))
    torch.save({"model": Trap(marker)}, new)
    cut.write_bytes(store.path(get_model("lite-medsam")).read_bytes()[:5_000_000])
    for path, text in ((old, "was not opened"), (new, "was not opened"), (cut, "damaged or incomplete")):
        assert text in refused(capsys, ct, "-o", out, ONE_SLICE, "--model", path)
    assert not marker.exists()
    assert not out.exists()
    pickle.loads(old.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("victim", ["segmentation", "report"])
def test_a_full_disk_leaves_the_old_files_and_no_others(ct, out, warm, tmp_path, monkeypatch, capsys, victim):
    report = tmp_path / "report.json"
    for path in (out, report):
        path.write_text("precious")
    full = OSError(errno.ENOSPC, "No space left on device")

    class Full(slicer.vtkMRMLSegmentationStorageNode):
        def WriteData(self, node):
            Path(self.GetFileName()).write_text("half")
            raise full

    def write_text(self, *args, **options):
        raise full

    if victim == "segmentation":
        monkeypatch.setattr(slicer, "vtkMRMLSegmentationStorageNode", Full)
    else:
        monkeypatch.setattr(Path, "write_text", write_text)
    line = refused(capsys, ct, "-o", out, ONE_SLICE, "--json", report, "--overwrite")
    monkeypatch.undo()
    assert "No space left" in line
    assert "free some space" in line
    assert (out.read_text(), report.read_text()) == ("precious", "precious")
    assert files(tmp_path) == ["ct.nrrd", "out.seg.nrrd", "report.json"]


def test_a_network_that_marks_nothing_writes_nothing(ct, out, warm, tmp_path, monkeypatch, capsys):
    import SAMLiverTumorLib.inference.segment_slices as module

    monkeypatch.setattr(module, "within", lambda box, shape: np.zeros(shape, bool))
    assert "marked no voxel" in refused(capsys, ct, "-o", out, ONE_SLICE)
    assert files(tmp_path) == ["ct.nrrd"]


def test_an_interrupted_run_ends_with_status_130_and_writes_nothing(ct, out, monkeypatch, capsys, tmp_path):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("SAMLiverTumorLib.inference.segmentation_request.segment", interrupted)
    assert run(ct, "-o", out, ONE_SLICE) == 130
    assert capsys.readouterr().err == "sam-liver-tumor: interrupted; nothing was left half written\n"
    assert files(tmp_path) == ["ct.nrrd"]
