"""`sam-liver-tumor report` on files, as a user calls it."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import files, write_volume

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.scene_files import saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, createSegmentation, setProvenance
from SAMLiverTumorLib.volume import Volume

pytest.importorskip("matplotlib")

OUTPUTS = ["lesions.csv", "lesions.html", "lesions.json", "lesions.pdf"]


def report(*words):
    return main(["report", *map(str, words)])


def refused(capsys, *words):
    """The one line that a run refuses with."""
    assert report(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("sam-liver-tumor: error: ")


@pytest.fixture
def labels(phantom):
    """Liver 1 and two tumors 2 on the phantom's grid: 4 x 20 x 10 and 1 x 4 x 4 voxels of 9 mm3."""
    array = np.zeros(phantom.array.shape, np.uint8)
    array[3:18, 25:65, 15:60] = 1
    array[8:12, 40:50, 30:50] = 2
    array[15, 30:34, 20:24] = 2
    return array


@pytest.fixture
def label_file(labels, phantom, tmp_path):
    return write_volume(tmp_path / "DOE^JANETTE-label.nii.gz", Volume(labels, phantom.ijk_to_ras, "labels"))


@pytest.fixture
def ct_file(phantom, tmp_path):
    return write_volume(tmp_path / "DOE^JANETTE-ct.nii.gz", phantom)


@pytest.fixture
def seg_file(labels, phantom, tmp_path):
    """The tumors as Slicer saves them, with a record of the model that made them."""
    scene = createScene()
    volumeNode = addVolumeNode(scene, phantom)
    segmentationNode = createSegmentation(scene, volumeNode)
    segmentId = addTumorSegment(segmentationNode, "DOE^JANETTE tumor")
    SegmentWriter(scene, segmentationNode, volumeNode).write(segmentId, Mask.from_array(labels == 2, phantom))
    setProvenance(segmentationNode, segmentId, {"models": [{"id": "liver|tumor", "sha256": "c0ffee"}]})
    saveSegmentation(segmentationNode, tmp_path / "p.seg.nrrd")
    return tmp_path / "p.seg.nrrd"


def test_a_lits_label_map_gives_tumors_and_liver(label_file, ct_file, tmp_path, capsys):
    assert report(label_file, ct_file, "--label", 2, "--liver", label_file, "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == OUTPUTS
    with (tmp_path / "out" / "lesions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["volume_ml"]) for row in rows] == pytest.approx([800 * 0.009, 16 * 0.009])
    data = json.loads((tmp_path / "out" / "lesions.json").read_text("utf-8"))
    assert data["total"]["liver_ml"] == pytest.approx(15 * 40 * 45 * 0.009)
    # the far sides of 20 x 10 pixels of 1.5 mm, to a pixel
    assert data["lesions"][0]["longest_axial_mm"] == pytest.approx(np.hypot(30, 15), abs=1.5 * 2**0.5)
    # rows 25 to 29 of the liver lie behind the small one, columns 15 to 19 beside it, slices 16 and 17 above
    assert data["lesions"][1]["liver_border_distance_mm"] == pytest.approx(7.5)
    assert data["models"] == []
    shown = capsys.readouterr().out
    assert "Lesions: 2, 7.344 ml in all." in shown


def test_a_slicer_segmentation_brings_the_model_that_made_it(seg_file, ct_file, tmp_path):
    assert report(seg_file, ct_file, "-o", tmp_path / "out", "--pictures", 0) == 0
    data = json.loads((tmp_path / "out" / "lesions.json").read_text("utf-8"))
    assert data["models"] == [{"id": "liver|tumor", "sha256": "c0ffee"}]
    assert "liver|tumor (SHA-256 c0ffee)" in (tmp_path / "out" / "lesions.html").read_text("utf-8")
    assert data["total"]["volume_ml"] == pytest.approx(816 * 0.009)


def test_no_name_and_no_path_is_written_unless_the_title_asks_for_it(seg_file, label_file, ct_file, tmp_path):
    out = tmp_path / "out"
    common = (ct_file, "--liver", label_file, "-o", out)
    # cropped by Slicer and reaching outside, so that there are notes on files as well
    assert report(seg_file, *common) == 0
    everything = b"".join(path.read_bytes() for path in out.iterdir())
    assert b"DOE^" not in everything and b"JANETTE" not in everything and str(tmp_path).encode() not in everything
    assert report(seg_file, *common, "--title", "DOE^JANETTE <1>", "--overwrite") == 0
    assert "<h1>DOE^JANETTE &lt;1&gt;</h1>" in (out / "lesions.html").read_text("utf-8")
    assert "DOE" not in (out / "lesions.json").read_text("utf-8")


def test_a_segmentation_on_another_grid_is_brought_onto_the_cts_and_that_is_said(labels, phantom, ct_file, tmp_path):
    image = sitk.GetImageFromArray((labels == 2).astype(np.uint8).repeat(2, 0).repeat(2, 1).repeat(2, 2))
    affine = phantom.ijk_to_ras @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
    fine = write_volume(tmp_path / "JANE.nrrd", Volume(sitk.GetArrayFromImage(image), affine, "fine"))
    assert report(fine, ct_file, "-o", tmp_path / "out") == 0
    data = json.loads((tmp_path / "out" / "lesions.json").read_text("utf-8"))
    assert data["total"]["volume_ml"] == pytest.approx(816 * 0.009)
    assert "'segmentation' lies on another voxel grid: resampled by nearest neighbor." in data["notes"]


def test_small_components_are_left_out(label_file, ct_file, tmp_path):
    assert report(label_file, ct_file, "--label", 2, "--min-ml", 1, "-o", tmp_path / "out") == 0
    total = json.loads((tmp_path / "out" / "lesions.json").read_text("utf-8"))["total"]
    assert (total["lesions"], total["left_out"], total["left_out_ml"]) == (1, 1, pytest.approx(0.144))


def test_a_patient_without_a_tumor_has_a_report_that_says_so(phantom, ct_file, tmp_path):
    healthy = np.zeros(phantom.array.shape, np.uint8)
    healthy[3:18, 25:65, 15:60] = 1
    path = write_volume(tmp_path / "healthy.nii.gz", Volume(healthy, phantom.ijk_to_ras, "labels"))
    assert report(path, ct_file, "--label", 2, "-o", tmp_path / "out") == 0
    assert "No lesion." in (tmp_path / "out" / "lesions.html").read_text("utf-8")


def test_refusals_say_what_to_do_and_write_nothing(label_file, seg_file, ct_file, phantom, tmp_path, capsys):
    out = tmp_path / "out"
    assert "choose one with --label" in refused(capsys, label_file, ct_file, "-o", out)
    assert "has no segment" in refused(capsys, seg_file, ct_file, "--segment", "liver", "-o", out).replace(
        "label", "segment"
    )
    assert "--liver-label needs --liver" in refused(capsys, seg_file, ct_file, "--liver-label", 1, "-o", out)
    assert "does not exist" in refused(capsys, seg_file, tmp_path / "no.nii", "-o", out)
    assert "give 0 or more" in refused(capsys, seg_file, ct_file, "--min-ml", -1, "-o", out)
    assert "give 0 or more" in refused(capsys, seg_file, ct_file, "--pictures", -1, "-o", out)
    assert "not a folder" in refused(capsys, seg_file, ct_file, "-o", ct_file)
    organs = np.zeros(phantom.array.shape, np.uint8)
    organs[3, 25:27, 15:18] = (5, 6, 7)
    many = write_volume(tmp_path / "organs.nii.gz", Volume(organs, phantom.ijk_to_ras, "organs"))
    assert "with --liver-label" in refused(capsys, seg_file, ct_file, "--liver", many, "-o", out)
    assert "no segment or label '9'" in refused(
        capsys, seg_file, ct_file, "--liver", many, "--liver-label", 9, "-o", out
    )
    elsewhere = phantom.ijk_to_ras.copy()
    elsewhere[:3, 3] += 900
    far = write_volume(tmp_path / "far.nii.gz", Volume(organs, elsewhere, "far"))
    assert "check that it belongs to this CT" in refused(capsys, far, ct_file, "--label", 5, "-o", out)
    assert not out.exists()


def test_dataset_json_says_which_value_is_the_tumor_and_which_the_liver(labels, phantom, ct_file, tmp_path, capsys):
    """The same file as in the test above with 1 for the tumor and 2 for the liver: the same figures."""
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tumor": 1, "liver": 2}}))
    swapped = np.array([0, 2, 1], np.uint8)[labels]
    path = write_volume(tmp_path / "labelsTr" / "p1.nii.gz", Volume(swapped, phantom.ijk_to_ras, "labels"))
    assert report(path, ct_file, "--liver", path, "-o", tmp_path / "out") == 0
    data = json.loads((tmp_path / "out" / "lesions.json").read_text("utf-8"))
    assert data["total"]["liver_ml"] == pytest.approx(15 * 40 * 45 * 0.009)
    assert [row["volume_ml"] for row in data["lesions"]] == pytest.approx([800 * 0.009, 16 * 0.009])
    said = "Label values as dataset.json says: 1 'tumor' is tumor, 2 'liver' is liver."
    assert data["notes"].count(said) == 1 and capsys.readouterr().out.count(said) == 1
    # a value is still a value
    assert report(path, ct_file, "--label", 2, "-o", tmp_path / "two") == 0
    data = json.loads((tmp_path / "two" / "lesions.json").read_text("utf-8"))
    assert data["lesions"][0]["volume_ml"] == pytest.approx((labels == 1).sum() * 0.009)


def test_a_liver_alone_is_not_measured_as_a_lesion(labels, phantom, ct_file, tmp_path, capsys):
    whole = Volume((labels > 0).astype(np.uint8), phantom.ijk_to_ras, "labels")
    path = write_volume(tmp_path / "p1_liver.nii.gz", whole)
    told = refused(capsys, path, ct_file, "-o", tmp_path / "out")
    assert "'p1_liver.nii.gz' holds the liver alone, not lesions" in told and "with --label 1" in told
    assert report(path, ct_file, "--label", 1, "-o", tmp_path / "out") == 0


def test_an_old_report_stays_unless_it_may_be_replaced(seg_file, ct_file, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "lesions.pdf").write_text("old")
    assert "--overwrite" in refused(capsys, seg_file, ct_file, "-o", out)
    assert files(out) == ["lesions.pdf"] and (out / "lesions.pdf").read_text() == "old"
    assert report(seg_file, ct_file, "-o", out, "--overwrite") == 0
    assert files(out) == OUTPUTS
