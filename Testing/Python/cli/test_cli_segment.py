"""`sam-liver-tumor segment` with real weights: the same masks as everywhere, in files that others can read."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import (
    CENTER,
    ONE_SLICE,
    read_in_slicer,
    read_segment,
    refused,
    run,
    write_points,
    write_roi,
    write_volume,
)

from SAMLiverTumorLib.inference.segment_slices import segment
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.api.segment import segmentNodes
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.scene_files import loadMarkups, loadVolume
from SAMLiverTumorLib.mrml.segments.segments import provenance, segmentArray
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume, apply_affine


def test_program_scene_and_library_give_bit_identical_masks(ct, pool, tmp_path, out, phantom, capsys):
    roi = write_roi(tmp_path / "Box.mrk.json", CENTER, (30, 32, 8))
    include = write_points(tmp_path / "In.mrk.json", [CENTER])
    exclude = write_points(tmp_path / "Ex.mrk.json", [(50.5, -10.75, -272.0)])
    prompts = Prompts([CENTER], [(50.5, -10.75, -272.0)], Box(CENTER, np.eye(3), (30, 32, 8)))
    expected = segment(read_volume(ct), prompts, pool).mask.full()
    assert expected[9:12].any(axis=(1, 2)).all()

    assert run(ct, "-o", out, "--roi", roi, "--include", include, "--exclude", exclude, "--device", "cpu") == 0
    assert capsys.readouterr().out.startswith(f"{out}: segment 'Liver tumor', {expected.sum():,} voxels, ")

    scene = createScene()
    volume_node = loadVolume(scene, ct)
    nodes = [loadMarkups(scene, path) for path in (include, exclude, roi)]
    in_scene = segmentNodes(volume_node, *nodes, pool=pool)
    assert np.array_equal(segmentArray(in_scene.segmentationNode, in_scene.segmentId, volume_node), expected)

    read_node = read_in_slicer(out)
    scene = read_node.GetScene()
    segment_id = read_node.GetSegmentation().GetNthSegmentID(0)
    assert np.array_equal(segmentArray(read_node, segment_id, loadVolume(scene, ct)), expected)
    assert [m["id"] for m in provenance(read_node, segment_id)[0]["models"]] == ["lite-medsam", "liver-tumor"]


def test_as_a_program_of_its_own_it_writes_the_same_file_content(ct, out, pool, root, tmp_path, capsys):
    command = [sys.executable, "-m", "SAMLiverTumorLib", "segment", str(ct), "-o", str(out), ONE_SLICE]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    box = Box.from_corners((35.5, -41.75, -272), (65.5, -9.75, -272))
    expected = segment(read_volume(ct), Prompts(box=box), pool).mask.full()
    assert f"{expected.sum():,} voxels" in done.stdout
    assert "1 axial slice, lite-medsam" in done.stdout
    assert np.array_equal(read_segment(out)[0], expected)


def test_the_output_has_the_sources_geometry_for_simpleitk_and_for_slicer(ct, out, warm, phantom):
    assert run(ct, "-o", out, ONE_SLICE, "--segment-name", "Läsion 1") == 0
    source, (mask, image) = sitk.ReadImage(str(ct)), read_segment(out)
    assert image.GetSize() == source.GetSize() == (96, 96, 20)
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(image, name)(), getattr(source, name)(), atol=1e-5)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [10]
    read_node = read_in_slicer(out)
    segmentation = read_node.GetSegmentation()
    assert segmentation.GetNthSegment(0).GetName() == "Läsion 1"
    bounds = np.zeros(6)
    read_node.GetRASBounds(bounds)
    filled = apply_affine(phantom.ijk_to_ras, np.argwhere(mask)[:, ::-1])
    low, high = filled.min(axis=0), filled.max(axis=0)
    half = np.array([0.75, 0.75, 2.0])
    assert (bounds[0::2] > low - 2.5 * half).all()
    assert (bounds[1::2] < high + 2.5 * half).all()


@pytest.mark.parametrize("points", [["--point=-1.5,-25,-270"], ["--point", "-1.5,-25,-270"]])
def test_points_may_begin_with_a_minus_sign(ct, out, warm, tmp_path, points):
    report = tmp_path / "report.json"
    words = [*points, "--exclude-point", "-20.5,20,-272", "--point", "50.5,-25.75,-272", "--json", report]
    words += ["--model", "mobile-sam"]
    assert run(ct, "-o", out, *words) == 0
    prompts = json.loads(report.read_text())["provenance"]["prompts"]
    assert prompts == {"include": [[-1.5, -25, -270], list(CENTER)], "exclude": [[-20.5, 20, -272]]}


def test_the_report_says_what_was_done(ct, out, warm, tmp_path):
    report = tmp_path / "report.json"
    assert run(ct, "-o", out, ONE_SLICE, "--json", report, "--window", "-150,250", "--paths") == 0
    told = json.loads(report.read_text(encoding="utf-8"))
    mask, _ = read_segment(out)
    assert (told["ct"], told["output"], told["segment"]) == (str(ct), str(out), "Liver tumor")
    assert told["voxels"] == mask.sum() > 100
    # voxels of 1.5 x 1.5 x 4 mm are 0.009 ml
    assert told["volume_ml"] == pytest.approx(mask.sum() * 0.009, abs=1e-6)
    (only,) = told["slices"]
    assert (only["index"], only["model"], only["pixels"]) == (10, "lite-medsam", mask.sum())
    assert 0.5 < only["stability"] <= 1
    assert told["notes"] == []
    assert told["provenance"]["models"][0]["window"] == [-150, 250]


def test_a_coronal_box_segments_coronal_slices(ct, out, warm):
    assert run(ct, "-o", out, "--plane", "coronal", "--box=35.5,-25.75,-288,65.5,-25.75,-256") == 0
    mask, _ = read_segment(out)
    # A -25.75 is voxel j 44
    assert np.flatnonzero(mask.any(axis=(0, 2))).tolist() == [44]


def test_grey_images_need_a_window_of_their_own(phantom, out, warm, tmp_path, capsys):
    grey = Volume(np.clip((phantom.array + 160) * 255 / 400, 0, 255).astype(np.uint8), phantom.ijk_to_ras, "grey")
    path = write_volume(tmp_path / "grey.nrrd", grey)
    assert "--window 0,2" in refused(capsys, path, "-o", out, ONE_SLICE)
    assert "--window 0,2" in refused(capsys, path, "-o", out, ONE_SLICE, "--window", "liver")
    assert not out.exists()
    assert run(path, "-o", out, ONE_SLICE, "--window", "0,255") == 0
    assert read_segment(out)[0].sum() > 100


def test_an_roi_drawn_on_real_ct_gives_the_tumor_in_it(lits7, shared_data, out, warm, tmp_path, capsys):
    volume, labels = lits7
    ct = shared_data / "lits8" / "liver_7_ct8.nii.gz"
    slices = slice(38, 41)
    tumor = np.argwhere(labels[slices] == 2)[:, ::-1] + (0, 0, 38)
    low, high = tumor.min(axis=0) - 2.5, tumor.max(axis=0) + 2.5
    low[2], high[2] = 37.7, 40.3
    corners = apply_affine(volume.ijk_to_ras, [low, high])
    roi = write_roi(tmp_path / "Box.mrk.json", corners.mean(axis=0), np.abs(np.diff(corners, axis=0))[0])
    assert "--window 0,255" in refused(capsys, ct, "-o", out, "--roi", roi)
    assert run(ct, "-o", out, "--roi", roi, "--window", "0,255") == 0
    mask, image = read_segment(out)
    source = sitk.ReadImage(str(ct))
    assert image.GetSize() == source.GetSize() == (512, 512, 167)
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(image, name)(), getattr(source, name)(), atol=1e-4)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [38, 39, 40]
    for k in (38, 39, 40):
        truth = labels[k] == 2
        assert 2 * (mask[k] & truth).sum() / (mask[k].sum() + truth.sum()) > 0.9


def test_a_users_own_copy_of_a_checkpoint_works_by_path(ct, out, store, tmp_path, pool):
    from SAMLiverTumorLib.models.registry import get_model

    copy = tmp_path / "mine.pth"
    copy.write_bytes(store.path(get_model("lite-medsam")).read_bytes())
    report = tmp_path / "report.json"
    assert run(ct, "-o", out, ONE_SLICE, "--model", copy, "--json", report) == 0
    box = Box.from_corners((35.5, -41.75, -272), (65.5, -9.75, -272))
    assert np.array_equal(read_segment(out)[0], segment(read_volume(ct), Prompts(box=box), pool).mask.full())
    assert json.loads(report.read_text())["provenance"]["models"][0]["id"] == "lite-medsam"
