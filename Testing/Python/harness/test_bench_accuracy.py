"""The accuracy benchmark: the cases it accepts, the prompts it derives, the figures it computes."""

import csv
import json

import numpy as np
import pytest
from bench.accuracy import main
from bench.accuracy_data import find_pairs, lesions_of, read_case
from bench.accuracy_prompts import box_anchor, largest_slice, next_click, point_anchor
from bench.accuracy_report import interval, summary
from bench.accuracy_trials import State, Trial, hd95
from cli_case import write_volume
from propagation_case import DarkPool, ball, phantom_of

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.volume import Volume, apply_affine

BALL = ball()


def write_pair(folder, number, inside=BALL):
    """A phantom and its labels (1 liver, 2 tumor) under LiTS names."""
    volume = phantom_of(inside)
    labels = np.where(inside, 2, 1).astype(np.uint8)
    write_volume(folder / f"liver_{number}_ct8.nii.gz", volume)
    write_volume(folder / f"liver_{number}_label.nii.gz", Volume(labels, volume.ijk_to_ras))
    return volume


@pytest.mark.parametrize("number", [4, 8, 9, 10])
def test_held_out_cases_are_refused_named_or_not(tmp_path, number, capsys):
    for n in (2, number):
        write_pair(tmp_path, n)
    for arguments in ([], ["--cases", f"2,{number}"]):
        assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), *arguments]) == 2
        assert "held out" in capsys.readouterr().err
    assert [p.name for p in find_pairs(tmp_path, ["2"])] == ["liver_2"]


def test_pairs_are_found_in_each_layout(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "lits117").mkdir()
    for path in ("imagesTr/liver_12.nii.gz", "labelsTr/liver_12.nii.gz", "imagesTr/liver_13.nii.gz"):
        (tmp_path / path).touch()
    for path in ("ct.nii.gz", "label.nii.gz"):
        (tmp_path / "lits117" / path).touch()
    assert [(p.name, p.label.parent.name) for p in find_pairs(tmp_path)] == [
        ("liver_12", "labelsTr"),
        ("lits117", "lits117"),
    ]
    for names, text in ((["99"], "no case 99"), (["8"], "held out")):
        with pytest.raises(InputError, match=text):
            find_pairs(tmp_path, names)
    with pytest.raises(InputError, match="no pairs"):
        find_pairs(tmp_path / "labelsTr")


def test_grey_is_shown_whole_and_any_label_is_liver(tmp_path):
    write_pair(tmp_path, 2)
    case = read_case(find_pairs(tmp_path)[0], 0.5)
    assert (case.window.low, case.window.high) == (0, 255)
    assert case.liver.all()
    (lesion,) = case.lesions
    assert lesion.ml == pytest.approx(BALL.sum() * 0.002)


def test_lesions_touch_at_corners_and_small_ones_are_left_out():
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[4, 4, 4] = True
    assert [(x.number, x.mask.sum(), x.ml) for x in lesions_of(mask, 0.5, 0.0)] == [(1, 2, 1.0), (2, 1, 0.5)]
    assert [x.ml for x in lesions_of(mask, 0.5, 0.6)] == [1.0]


def test_prompts_lie_on_the_largest_slice():
    stack = PlaneStack(phantom_of(BALL), "axial")
    assert largest_slice(stack, BALL) == 15
    u0, v0, u1, v1 = box_anchor(stack, BALL).prompts.box
    # a radius of 9, its end excluded: 17 pixels, 2 more on each side and half a pixel to the edge
    assert (u1 - u0, v1 - v0) == (21.0, 21.0)
    (point,) = point_anchor(stack, BALL).prompts.points
    assert stack.slice_mask_of(BALL, stack.plane(15))[int(point[1]), int(point[0])]


def test_the_next_click_lies_deepest_in_the_largest_error():
    stack = PlaneStack(phantom_of(BALL), "axial")
    mask = BALL.copy()
    mask[15:] = False
    mask[2:5, 2:5, 2:5] = True
    click = next_click(stack, mask, BALL)
    assert click.include
    k, j, i = np.rint(apply_affine(stack.volume.ras_to_ijk, click.point_ras)[0])[::-1]
    assert (j, i) == (20, 22)
    # the dome missing is 16 mm high and 18 mm wide
    assert k in (17, 18, 19)
    mask = BALL.copy()
    mask[2:5, 1:8, 1:8] = True
    click = next_click(stack, mask, BALL)
    assert not click.include
    assert np.allclose(apply_affine(stack.volume.ras_to_ijk, click.point_ras)[0], (4, 4, 3))
    assert next_click(stack, BALL, BALL) is None


def test_hausdorff_distances_are_in_millimeters():
    a, b = np.zeros((2, 12, 30, 30), bool)
    a[5, 10:20, 10:20] = True
    b[7, 10:20, 10:20] = True
    assert hd95(a, b, (2.5, 1.0, 1.0)) == pytest.approx(5.0)
    assert hd95(a, a, (2.5, 1.0, 1.0)) == 0.0
    assert np.isnan(hd95(a, b & False, (1.0, 1.0, 1.0)))


def test_means_are_over_lesions_and_over_patients_and_ends_are_counted():
    def trial(case, lesion, dice, ends):
        return Trial(case, lesion, 1.0, 10, "box", (State(1, dice, 2.0, 9, ends),), "")

    trials = [trial("a", 1, 0.9, (0, 0)), trial("a", 2, 0.7, (-2, 3)), trial("b", 1, 0.5, (-1, 0))]
    (row,) = summary(trials)
    assert row["dice_lesions"] == pytest.approx(0.7)
    assert row["dice_patients"] == pytest.approx(0.65)
    assert (row["stopped_early"], row["slices_missed"], row["ran_on"], row["slices_in_excess"]) == (2, 3, 1, 3)
    assert [t.prompts_to(0.8) for t in trials] == [1, None, None]
    low, high = interval([0.9, 0.7, 0.5])
    assert 0.5 <= low < 0.7 < high <= 0.9


def test_whole_lesions_are_measured_by_the_same_rules(tmp_path, monkeypatch, capsys):
    import torch

    from SAMLiverTumorLib.inference.whole_tumor.lesion_network import LesionNetwork

    class Darker(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, channels):  # grey 120 is -0.6
            return -10.0 * (channels[:, :1] + 0.6) * torch.where(channels[:, :1] > -2.5, 1.0, -1.0)

    network = LesionNetwork(Darker(), {"split": {"train": ["liver_3"]}})
    monkeypatch.setattr("bench.accuracy.load_lesion_network", lambda path: network)
    monkeypatch.setattr("bench.accuracy.PredictorPool", lambda *args, **options: DarkPool("mobile-sam"))
    write_pair(tmp_path, 2)
    out = tmp_path / "out"
    options = ["--data", str(tmp_path), "--out", str(out), "--corrections", "1"]
    assert main([*options, "--whole", "n.safetensors", "--prompts", "box,point,outline"]) == 0
    rows = json.loads((out / "accuracy.json").read_text())["summary"]
    assert [(row["prompt"], row["prompts"]) for row in rows] == [
        (kind, n) for kind in ("box", "point", "outline") for n in (1, 2)
    ]
    for row in rows:
        assert row["dice_lesions"] > 0.95 and row["seconds"] > 0 and row["stopped_early"] == row["ran_on"] == 0
    text = (out / "accuracy.md").read_text()
    assert "learned from liver_3" in text and "n.safetensors" not in text
    capsys.readouterr()
    assert main([*options, "--prompts", "outline"]) == 2
    assert "box and point" in capsys.readouterr().err


def test_it_measures_and_writes_its_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bench.accuracy.PredictorPool", lambda *args, **options: DarkPool("mobile-sam"))
    write_pair(tmp_path, 2)
    out = tmp_path / "out"
    assert main(["--data", str(tmp_path), "--corrections", "2", "--out", str(out)]) == 0
    assert "liver_2 lesion 1 box: 1.000 1.000 1.000" in capsys.readouterr().out
    report = json.loads((out / "accuracy.json").read_text())
    assert [(row["prompt"], row["prompts"]) for row in report["summary"]] == [
        ("box", 1),
        ("box", 2),
        ("box", 3),
        ("point", 1),
    ]
    assert report["summary"][0]["dice_lesions"] == pytest.approx(1.0)
    with (out / "accuracy.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    text = (out / "accuracy.md").read_text()
    assert "derived from the reference" in text
    assert str(tmp_path) not in text
    assert main(["--data", str(tmp_path), "--prompts", "scribble"]) == 2
