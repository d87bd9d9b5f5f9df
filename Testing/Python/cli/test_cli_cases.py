"""`sam-liver-tumor cases`: outlines kept, listed, removed, exported, and handed to training."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import write_volume
from training_case import scan, write_cases

from SAMLiverTumorLib.cli.commands.train import settings_of
from SAMLiverTumorLib.cli.main import build_parser, main
from SAMLiverTumorLib.datasets.cases import load_case
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.scene_files import saveSegmentation
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, setProvenance
from SAMLiverTumorLib.training.samples.prepare import labeled_cases

ENTRY = {
    "models": [{"id": "liver-tumor", "sha256": "0f" * 32, "window": [-160.0, 240.0]}],
    "prompts": {"include": [[-64.0, -60.0, 10.0]], "exclude": []},
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_LIVER_TUMOR_CASES", str(tmp_path / "kept"))
    return CaseStore()


@pytest.fixture
def files(tmp_path):
    return write_cases(tmp_path / "cases")


def add(*words):
    return main(["cases", "add", *map(str, words)])


def refused(capsys, *words):
    assert main(["cases", *map(str, words)]) == 2
    return capsys.readouterr().err


def segmentation(ct, labels, path):
    """A .seg.nrrd with segments "liver" and "tumor", the latter with provenance, as Slicer writes it."""
    import slicer.util

    scene = createScene()
    volume_node = addVolumeNode(scene, read_volume(ct))
    node = createSegmentation(scene, volume_node)
    for name, mask in (("liver", labels == 1), ("tumor", labels == 2)):
        segment_id = addTumorSegment(node, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, volume_node)
    setProvenance(node, segment_id, ENTRY)
    saveSegmentation(node, path)
    return path


def test_a_label_map_with_tumor_and_liver_is_kept_and_listed(store, files, capsys):
    ct, label = files / "p1_ct.nii.gz", files / "p1_label.nii.gz"
    assert add(ct, label, "--segment", 2, "--liver-segment", 1) == 0
    (kept,) = store.list()
    given = read_volume(label).array
    assert (read_volume(kept.label).array == given).all()
    assert (read_volume(kept.image).array == read_volume(ct).array).all()
    # 2 x 2 x 5 mm
    said = f"{kept.name} kept: tumor {(given == 2).sum() * 0.02:.2f} ml, liver {(given > 0).sum() * 0.02:.0f} ml"
    assert said in capsys.readouterr().out
    assert add(ct, label, "--segment", 2, "--liver-segment", 1) == 0
    assert "is kept already" in capsys.readouterr().out
    assert main(["cases", "list"]) == 0
    out = capsys.readouterr().out
    assert kept.name in out and "64 x 64 x 5" in out and "1 case in" in out and "p1" not in out


def test_a_segmentation_brings_models_and_prompts_along(store, files, tmp_path, capsys):
    ct = files / "p1_ct.nii.gz"
    path = segmentation(ct, scan(center=(32, 30), radius=10)[1].array, tmp_path / "a.seg.nrrd")
    assert add(ct, path, "--segment", "tumor", "--liver-segment", "liver", "--point=-2,-4,5") == 0
    assert main(["cases", "list", "--json"]) == 0
    (case,) = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    first, second = case["origin"]
    # the scan's first voxel lies at 0, 0, 0
    assert first["models"] == ENTRY["models"] and first["prompts"] == {"include": ENTRY["prompts"]["include"]}
    assert second == {"prompts": {"include": [[-2.0, -4.0, 5.0]]}}
    (kept,) = store.list()
    assert (read_volume(kept.label).array == scan(center=(32, 30), radius=10)[1].array).all()
    assert kept.models == ("liver-tumor",)


def test_what_is_tumor_has_to_be_said_where_it_is_not_plain(store, files, tmp_path, capsys):
    ct, label = files / "p1_ct.nii.gz", files / "p1_label.nii.gz"
    assert "choose the tumor with --segment (in LiTS data --segment 2 --liver-segment 1)" in refused(
        capsys, "add", ct, label
    )
    assert "has no segment '3'; it has '1', '2'" in refused(capsys, "add", ct, label, "--segment", 3)
    labels = scan(center=(32, 30), radius=10)[1]
    only = write_volume(tmp_path / "only.nii.gz", type(labels)((labels.array == 2).astype(np.uint8), labels.ijk_to_ras))
    assert add(ct, only) == 0
    assert "there is no liver" in capsys.readouterr().out and store.list()[0].liver_ml is None
    liver = write_volume(tmp_path / "l.nii.gz", type(labels)((labels.array > 0).astype(np.uint8), labels.ijk_to_ras))
    assert add(ct, only, "--liver", liver) == 0
    (kept,) = store.list()
    assert kept.version == 2 and kept.liver_ml == pytest.approx((labels.array > 0).sum() * 0.02)


def test_held_out_patients_are_refused_by_the_name_of_their_file(store, files, tmp_path, capsys):
    (tmp_path / "hold-out.txt").write_text("p2\n")
    words = ["--segment", 2, "--hold-out", tmp_path / "hold-out.txt"]
    assert add(files / "p1_ct.nii.gz", files / "p1_label.nii.gz", *words) == 0
    assert "p2 is held out" in refused(capsys, "add", files / "p2_ct.nii.gz", files / "p2_label.nii.gz", *words)
    assert len(store.list()) == 1


def test_cases_are_removed_and_exported(store, files, tmp_path, capsys):
    for name in ("p1", "p2"):
        assert add(files / f"{name}_ct.nii.gz", files / f"{name}_label.nii.gz", "--segment", 2, "--name", name) == 0
    assert main(["cases", "export", str(tmp_path / "out"), "p2"]) == 0
    label = sitk.ReadImage(str(tmp_path / "out" / "labels" / "p2.nii.gz"))
    assert label.GetOrigin() == (0.0, 0.0, 0.0) and label.GetSpacing() == (2.0, 2.0, 5.0)
    assert "exists already" in refused(capsys, "export", tmp_path / "out")
    assert main(["cases", "remove", "p1", store.find("p2").id[:9]]) == 0
    assert "There is no case 'p1'" in refused(capsys, "remove", "p1")
    assert "No case is kept" in refused(capsys, "export", tmp_path / "out2")
    assert main(["cases", "list"]) == 0
    assert "0 cases in" in capsys.readouterr().out


@pytest.mark.parametrize("named", ["store", "images"])
def test_a_training_learns_from_the_store(store, files, named):
    for number in (1, 2, 3):
        name = f"p{number}"
        ct, label = files / f"{name}_ct.nii.gz", files / f"{name}_label.nii.gz"
        assert add(ct, label, "--segment", 2, "--liver-segment", 1, "--name", name) == 0
    words = {"store": ["--store"], "images": ["--images", str(store.root), "--labels", str(store.root)]}[named]
    settings = settings_of(build_parser().parse_args(["train", "--out", "run", *words]))
    cases = labeled_cases(settings)
    assert [case.name for case in cases] == ["p1", "p2", "p3"]
    read = load_case(cases[1], settings.label_names)
    given = read_volume(files / "p2_label.nii.gz").array
    assert (read.tumor == (given == 2)).all() and (read.liver == (given > 0)).all()


def test_the_store_adds_to_what_is_named_besides(store, files):
    assert add(files / "p1_ct.nii.gz", files / "p1_label.nii.gz", "--segment", 2, "--name", "mine") == 0
    words = ["train", "--out", "run", "--images", str(files), "--labels", str(files), "--store", str(store.root)]
    settings = settings_of(build_parser().parse_args(words))
    assert [case.name for case in labeled_cases(settings)] == ["p1", "p2", "p3", "mine"]
