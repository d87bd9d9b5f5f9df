"""The speed benchmark runs completely on a tiny volume; its times are not tested."""

import json

import pytest
import torch
from bench.speed import main
from bench.speed_plain import PlainTinyViT
from bench.speed_rows import Row
from bench.speed_timing import Times, count_flops, take_turns


@torch.inference_mode()
def test_the_plain_way_gives_the_same_embedding(lite_medsam):
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    plain = PlainTinyViT(lite_medsam.image_encoder)(images)
    assert (plain - lite_medsam.image_encoder(images)).abs().max() <= 1e-4


def test_flops_are_those_of_the_matrix_product():
    a, b = torch.zeros(30, 40), torch.zeros(40, 50)
    assert count_flops(lambda: a @ b) == 2 * 30 * 40 * 50


def test_contenders_take_turns_and_the_first_round_does_not_count():
    order = []
    times = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert [len(times[name].runs) for name in "ab"] == [2, 2]


def test_ratios_are_of_medians():
    row = Row("x", Times((1.0, 2.0, 9.0)), {"other": Times((4.0, 5.0, 4.0)), "estimate": 8.0}, 0.5)
    assert row.ratios() == {"other": 0.5, "estimate": 0.25, "arithmetic limit": 4.0}
    assert row.ours.as_dict() == {"min_s": 1.0, "median_s": 2.0, "max_s": 9.0, "runs": 3}


def test_a_short_run_writes_every_row(store, tmp_path, capsys):
    out = tmp_path / "deep" / "bench.json"
    assert main(["--short", "--rows", "encode,decode,click,box", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    rows = {row["name"]: row for row in report["rows"]}
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
    assert len(rows) == 10  # three of encoding, two of decoding, two of clicks, three of boxes
    assert set(rows["encode one slice, liver-tumor"]["ratios"]) == {"lite-medsam", "mobile-sam", "arithmetic limit"}
    full = rows["encode one slice, mobile-sam"]
    assert full["notes"]["GFLOP"] == pytest.approx(77.5, abs=0.1)
    assert full["notes"]["Dice with the plain way's mask"] >= 0.995
    assert set(full["ratios"]) == {"segment-anything's SamPredictor", "arithmetic limit"}
    box = rows["box over 2 slices"]
    assert box["notes"]["encodes"] == 2
    # the encodes are a part of the run they are measured in
    assert 0 < box["others"]["its own 2 encodes"]["median_s"] < box["ours"]["median_s"]
    assert rows["the same again"]["notes"]["encodes"] == 0
    assert rows["the same after a new start"]["notes"]["encodes"] == 0


def test_a_missing_device_ends_with_one_line(store, tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("has a graphics card")
    assert main(["--device", "cuda", "--out", str(tmp_path / "out.json")]) == 2
    assert "graphics card" in capsys.readouterr().err
