"""The benchmark of zoom: which pieces it takes for trials, its table, and that it runs whole on a phantom."""

import json

import numpy as np
import pytest
from bench.accuracy_data import Case, Lesion
from bench.zoom import Row, diameter_mm, dice, main, pieces_of, summary
from cli_case import write_volume

from SAMLiverTumorLib.volume import Volume

AFFINE = np.diag([-0.7, -0.7, 5.0, 1.0])


def row(mm, prompt, way, value, index=0):
    return Row("a", 1, mm, index, "lite-medsam", prompt, way, value)


def test_the_table_has_means_by_diameter_and_what_was_gained():
    rows = [
        *(row(mm, "box", "whole", value, n) for n, (mm, value) in enumerate([(5, 0.5), (7.9, 0.7), (8, 0.8)])),
        *(row(mm, "box", "zoom 128", value, n) for n, (mm, value) in enumerate([(5, 0.6), (7.9, 0.8), (8, 0.7)])),
    ]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in summary(rows)]
    assert lines[0][3:7] == ["0 to 8 mm", "8 to 15 mm", "15 to 30 mm", "over 30 mm"]
    assert lines[2] == [
        *("lite-medsam", "box", "whole"),
        *("0.600 (n = 2)", "0.800 (n = 1)", "-", "-", "0.667 (n = 3)", "-"),
    ]
    # gains of 0.1, 0.1 and -0.1: the mean of all is 0.033, and a bootstrap's lies between the least and the greatest
    assert lines[3][3:8] == ["0.700 (+0.100)", "0.700 (-0.100)", "-", "-", "0.700 (+0.033)"]
    assert lines[3][8] == "-0.100 to +0.100"


def test_a_piece_is_the_largest_of_its_slice_and_specks_are_none():
    mask = np.zeros((3, 20, 20), bool)
    mask[0, 2:5, 2:5] = True  # 9 pixels
    mask[1, 2:6, 2:6] = mask[1, 10:14, 10:15] = True
    case = Case("a", Volume(np.zeros(mask.shape, np.int16), AFFINE), None, mask, ())
    (found,) = pieces_of(case, Lesion(1, mask, 0.1)).items()
    assert found[0] == 1
    assert np.count_nonzero(found[1]) == 20


def test_a_ball_of_half_a_milliliter_measures_9_8_mm():
    assert diameter_mm(Lesion(1, np.zeros((1, 1, 1), bool), 0.5)) == pytest.approx(9.847, abs=1e-3)
    assert dice(np.array([True, True, False]), np.array([True, False, False])) == pytest.approx(2 / 3)


@pytest.fixture
def folder(tmp_path):
    """A pair of three slices with one lesion of 10 mm."""
    v, u = np.indices((176, 160))
    inside = (u - 80) ** 2 + (v - 90) ** 2 < 49
    grey = np.random.default_rng(0).normal(np.where(inside, 90, 150), 6).clip(0, 255).astype(np.uint8)
    labels = np.where(inside, 2, 1).astype(np.uint8)
    write_volume(tmp_path / "liver_2_ct8.nii.gz", Volume(np.stack([grey] * 3), AFFINE))
    write_volume(tmp_path / "liver_2_label.nii.gz", Volume(np.stack([labels] * 3), AFFINE))
    return tmp_path


def test_it_runs_and_writes_every_trial(folder, capsys):
    arguments = ["--data", str(folder), "--models", "liver-tumor", "lite-medsam", "--edges", "96", "--slices", "1"]
    assert main([*arguments, "--out", str(folder / "zoom.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    ways = [(line.split("|")[1].strip(), line.split("|")[3].strip()) for line in lines[2:]]
    assert ways[-4:] == [("lite-medsam", way) for way in ("whole", "crop 96", "second 96", "zoom 96")]
    rows = json.loads((folder / "zoom.json").read_text())
    assert len(rows) == len(ways)
    by_way = {(r["model"], r["prompt"], r["way"]): r["dice"] for r in rows}
    for model in ("liver-tumor", "lite-medsam"):
        # three looks that saw different pictures
        assert len({by_way[model, "box", way] for way in ("whole", "crop 96", "zoom 96")}) > 1
        assert min(by_way[model, "box", way] for way in ("whole", "zoom 96")) > 0.8


def test_what_a_user_can_mend_is_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "bench zoom: " in capsys.readouterr().err
