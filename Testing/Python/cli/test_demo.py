"""The demo on one tumor of the sample case: every file, and figures that are computed and agree with `evaluate`."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import read_segment

from SAMLiverTumorLib.cli.demo import LESIONS, largest_components, place_prompts, run_demo
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import createPromptNodes, promptsFromNodes
from SAMLiverTumorLib.mrml.rendering.render import PICTURES
from SAMLiverTumorLib.mrml.scene_files import loadScene


@pytest.fixture(scope="module")
def demo(pool, tmp_path_factory):
    """(folder, what the demo returned, what it said, its progress) for the fourth largest tumor."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "out"
    said, steps = [], []
    result = run_demo(folder, pool, said.append, lambda done, total: steps.append((done, total)), lesions=(4,))
    return folder, result, said, steps


def test_every_file_is_there_or_one_sentence_says_why_there_are_no_pictures(demo):
    folder, result, said, steps = demo
    names = {"segmentation.seg.nrrd", "scene.mrb", "report.json"}
    if result.pictures_missing is None:
        names |= set(PICTURES)
        for name in PICTURES:
            picture = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))
            assert picture.shape[:2] == (700, 900)
            assert picture.std() > 10
    else:
        assert result.pictures_missing.count("\n") == 0
        assert result.pictures_missing.rstrip().endswith(".")
    assert {path.name for path in folder.iterdir()} == {path.name for path in result.files} == names
    assert steps[-1] == (25, 25)
    assert said == ["Tumor 4: box of 42x46x40 mm, one include and one exclude point"]


def test_the_figures_are_those_of_the_evaluate_command_on_the_written_file(demo, sample_case, tmp_path, capsys):
    folder, _, _, _ = demo
    path = tmp_path / "evaluated.json"
    words = [str(folder / "segmentation.seg.nrrd"), str(sample_case / "label.nii.gz"), "--label", "2"]
    assert main(["evaluate", *words, "--json", str(path)]) == 0
    evaluated = json.loads(path.read_text(encoding="utf-8"))
    own = json.loads((folder / "report.json").read_text(encoding="utf-8"))["evaluation"]
    assert own
    assert {name: evaluated[name] for name in own} == own


def test_the_box_finds_the_tumor_and_the_dice_is_recomputed_from_the_files(demo, sample):
    folder, result, _, _ = demo
    mask, _ = read_segment(folder / "segmentation.seg.nrrd")
    _, labels = sample
    lesion = largest_components(labels == 2, 4)[3]
    assert lesion.sum() == 8887
    dice = 2 * (mask & lesion).sum() / (mask.sum() + lesion.sum())
    assert dice >= 0.65
    (found,) = (each for each in result.evaluation.found if each.number == 4)
    assert found.overlap.dice == pytest.approx(dice, abs=1e-9)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (segment,) = report["segments"]
    assert (segment["segment"], segment["voxels"]) == ("Tumor 4", mask.sum())
    # 1.36 x 1.36 x 1.6 mm
    assert segment["volume_ml"] == pytest.approx(mask.sum() * 0.00295936, rel=1e-5)
    assert {m["id"] for m in segment["provenance"]["models"]} == {"lite-medsam", "liver-tumor"}
    assert "LiTS" in report["caution"] and "liver-tumor was trained on this very case" in report["caution"]


def test_the_scene_opens_again_with_volume_segmentation_and_markups(demo):
    folder, _, _, _ = demo
    scene = createScene()
    loadScene(scene, folder / "scene.mrb")
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode").GetName() == "LiTS 117"
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode").GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())] == ["Tumor 4"]
    points = scene.GetNodesByClass("vtkMRMLMarkupsFiducialNode")
    assert [points.GetItemAsObject(n).GetNumberOfControlPoints() for n in range(points.GetNumberOfItems())] == [1, 1]
    size = scene.GetFirstNodeByClass("vtkMRMLMarkupsROINode").GetSize()
    assert np.allclose(size, (28 * 1.36 + 4, 31 * 1.36 + 4, 25 * 1.6), atol=0.01)


def test_prompts_are_placed_as_a_user_would(sample):
    volume, labels = sample
    lesion = largest_components(labels == 2, 4)[3]
    nodes = createPromptNodes(createScene(), "T")
    place_prompts(volume, lesion, *nodes)
    prompts = promptsFromNodes(*nodes)
    ijk = np.rint((np.linalg.inv(volume.ijk_to_ras) @ [*prompts.include[0], 1])[:3]).astype(int)
    outside = np.rint((np.linalg.inv(volume.ijk_to_ras) @ [*prompts.exclude[0], 1])[:3]).astype(int)
    assert lesion[tuple(ijk[::-1])]
    assert not lesion[tuple(outside[::-1])]
    assert ijk[2] == outside[2] == 73
    voxels = np.argwhere(lesion)[:, ::-1]
    assert prompts.box.contains(voxels @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]).all()


def test_the_demo_takes_the_second_to_fourth_largest_tumor(sample):
    assert LESIONS == (2, 3, 4)
    sizes = [int(lesion.sum()) for lesion in largest_components(sample[1] == 2, 4)]
    assert sizes == [52129, 37179, 11430, 8887]


def test_pictures_of_an_earlier_run_do_not_pass_for_this_ones(pool, tmp_path, monkeypatch):
    import SAMLiverTumorLib.cli.demo as module

    for name in PICTURES:
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(module, "renderScene", lambda *args: "No pictures were rendered: no OpenGL.")
    result = run_demo(tmp_path, pool, say=lambda text: None, lesions=(4,))
    assert result.pictures_missing
    assert not any((tmp_path / name).exists() for name in PICTURES)


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", "--out", str(tmp_path / "file" / "out")]) == 2
    captured = capsys.readouterr()
    assert "choose another with --out" in captured.err
    assert len(captured.err.splitlines()) == 1
