"""`sam-liver-tumor segment --mode volume` with real weights: the tumor propagated, reasons reported, work kept."""

import json
import os
import signal

import numpy as np
import pytest
from cli_case import CENTER, ONE_SLICE, files, read_in_slicer, read_segment, refused, run, write_volume
from propagation_case import dice

from SAMLiverTumorLib.cli.terminal import cancel_by_interrupt
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import bounding_box
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.segment_volume import segment_volume
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.segments.segments import provenance
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume, apply_affine

# The phantom's lesion is a ball of 14 mm around slice 10; slices are 4 mm apart, so it shows on 7 to 13.
SLICES = range(7, 14)


def lesion_of(phantom):
    k, j, i = np.indices(phantom.array.shape)
    return ((i - 34) * 1.5) ** 2 + ((j - 44) * 1.5) ** 2 + ((k - 10) * 4.0) ** 2 < 14**2


@pytest.mark.usefixtures("warm")
def test_program_and_library_give_the_same_mask_and_tell_where_it_ended(ct, out, tmp_path, phantom, pool, capsys):
    report = tmp_path / "report.json"
    assert run(ct, "-o", out, ONE_SLICE, "--mode", "volume", "--json", report) == 0
    printed = capsys.readouterr().out
    mask, _ = read_segment(out)
    box = Box.from_corners((35.5, -41.75, -272), (65.5, -9.75, -272))
    result = segment_volume(PlaneStack(read_volume(ct), "axial"), Prompts(box=box), pool)
    whole = result.mask()
    assert np.array_equal(mask[bounding_box(mask)], whole.array)
    assert dice(whole.full(), lesion_of(phantom)) > 0.85
    assert abs(result.reached[0] - SLICES[0]) <= 1
    assert abs(result.reached[-1] - SLICES[-1]) <= 1
    written = json.loads(report.read_text())
    assert [s["index"] for s in written["slices"]] == list(result.slices)
    assert [s["source"] for s in written["slices"] if s["index"] == 10] == ["anchor"]
    assert [(s["direction"], s["index"]) for s in written["stops"]] == [(s.direction, s.index) for s in result.stops]
    assert written["voxels"] == whole.count
    for stop in result.stops:
        assert f"{stop.direction}: ended at slice {stop.index}: {stop.reason}" in printed
    node = read_in_slicer(out)
    record = provenance(node, node.GetSegmentation().GetNthSegmentID(0))
    assert "volume" in json.dumps(record)


@pytest.mark.usefixtures("warm")
def test_the_liver_limits_it_and_points_elsewhere_correct_it(ct, out, tmp_path, phantom):
    liver = np.ones(phantom.array.shape, np.uint8)
    liver[12:] = 0
    write_volume(tmp_path / "liver.nrrd", Volume(liver, phantom.ijk_to_ras))
    # slice 8 is 8 mm below the center
    options = ["--liver", tmp_path / "liver.nrrd", f"--exclude-point={CENTER[0]},{CENTER[1]},{CENTER[2] - 8}"]
    assert run(ct, "-o", out, ONE_SLICE, "--mode", "volume", "--direction", "both", *options) == 0
    mask, image = read_segment(out)
    first = round((image.GetOrigin()[2] - phantom.ijk_to_ras[2, 3]) / 4.0)
    filled = np.flatnonzero(mask.any(axis=(1, 2))) + first
    assert filled.tolist() == [9, 10, 11]


@pytest.mark.usefixtures("warm")
def test_outlined_slices_start_it(ct, out, tmp_path, phantom):
    drawn = lesion_of(phantom)
    drawn[np.delete(np.arange(20), [10])] = False
    write_volume(tmp_path / "drawn.nrrd", Volume(drawn.astype(np.uint8), phantom.ijk_to_ras))
    assert run(ct, "-o", out, "--mode", "volume", "--start", tmp_path / "drawn.nrrd") == 0
    mask, image = read_segment(out)
    first = round((image.GetOrigin()[2] - phantom.ijk_to_ras[2, 3]) / 4.0)
    assert np.count_nonzero(mask[10 - first]) == np.count_nonzero(drawn[10])
    assert mask.any(axis=(1, 2)).sum() >= 5


@pytest.mark.usefixtures("warm")
def test_ctrl_c_writes_what_is_done_and_says_so(ct, out, tmp_path, capsys, pool, monkeypatch):
    report = tmp_path / "report.json"
    predictor, seen = pool.predictor("lite-medsam"), []
    embed = predictor.embed

    def embed_then_interrupt(*args, **options):
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return embed(*args, **options)

    monkeypatch.setattr(predictor, "embed", embed_then_interrupt)
    assert run(ct, "-o", out, ONE_SLICE, "--mode", "volume", "--json", report) == 130
    assert "note: Cancelled; the slices done until then are kept." in capsys.readouterr().out
    written = json.loads(report.read_text())
    assert written["cancelled"] is True
    assert written["stops"][-1]["kind"] == "cancelled"
    assert 1 <= len(written["slices"]) <= 3
    assert read_segment(out)[0].any()


def test_a_second_ctrl_c_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), cancel_by_interrupt() as cancel:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancel()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_options_that_need_the_mode_and_empty_labels_are_refused(ct, out, tmp_path, capsys, phantom):
    empty = write_volume(tmp_path / "empty.nrrd", Volume(np.zeros((20, 96, 96), np.uint8), phantom.ijk_to_ras))
    before = files(tmp_path)
    assert "add --mode volume" in refused(capsys, ct, "-o", out, ONE_SLICE, "--liver", empty)
    assert "no labeled voxel" in refused(capsys, ct, "-o", out, ONE_SLICE, "--mode", "volume", "--liver", empty)
    assert "no prompts" in refused(capsys, ct, "-o", out, "--mode", "volume")
    alone = ["--mode", "volume", "--exclude-point", "50,-25,-272"]
    assert "Exclude points alone" in refused(capsys, ct, "-o", out, *alone)
    assert files(tmp_path) == before


def test_one_box_on_a_real_tumor_finds_the_rest_of_it(sample, pool):
    volume, labels = sample
    tumor = np.zeros(labels.shape, bool)
    tumor[47:55, 71:79, 107:115] = labels[47:55, 71:79, 107:115] == 2
    assert np.count_nonzero(tumor) == 206
    index = int(tumor.sum(axis=(1, 2)).argmax())
    _, j, i = np.nonzero(tumor[index : index + 1])
    corners = apply_affine(
        volume.ijk_to_ras, [[i.min() - 2.5, j.min() - 2.5, index], [i.max() + 2.5, j.max() + 2.5, index]]
    )
    result = segment_volume(PlaneStack(volume, "axial"), Prompts(box=Box.from_corners(*corners)), pool)
    # measured 0.869
    assert dice(result.mask().full(), tumor) > 0.8
    assert {s.result.model for s in result.slices.values()} == {"lite-medsam"}
