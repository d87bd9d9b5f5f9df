"""`sam-liver-tumor segment --channel`: further phases and modalities from files."""

import json

import numpy as np
import pytest
from cli_case import ONE_SLICE, read_segment, refused, run, write_volume

from SAMLiverTumorLib.image.channels import further_channel
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.segment_slices import Settings, segment
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.api.segment import segmentNodes
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.channel_nodes import furtherChannels
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, createPromptNodes
from SAMLiverTumorLib.mrml.segments.segments import segmentArray
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume

PROMPTS = Prompts(box=Box.from_corners((35.5, -41.75, -272), (65.5, -9.75, -272)))


@pytest.fixture
def phase(phantom):
    """The phantom in another phase, on a finer grid of its own: two of its slices for each of the phantom's."""
    affine = phantom.ijk_to_ras @ np.diag([1, 1, 0.5, 1])
    array = np.where((phantom.array > 20) & (phantom.array < 80), 0, phantom.array).astype(np.int16)
    return Volume(np.repeat(array, 2, axis=0), affine, "arterial, early.nrrd")


@pytest.fixture
def phase_file(phase, tmp_path):
    return write_volume(tmp_path / phase.name, phase)


def test_program_library_and_nodes_give_the_same_mask_with_two_channels(
    ct, phase_file, out, pool, warm, tmp_path, capsys
):
    report = tmp_path / "report.json"
    words = (ct, "-o", out, ONE_SLICE, "--json", report)
    assert run(*words, "--channel", phase_file, "--channel", f"{phase_file},0,200") == 0
    volume, other = read_volume(ct), read_volume(phase_file)
    further = (further_channel(volume, other)[0], further_channel(volume, other, Window(0, 200))[0])
    expected = segment(volume, PROMPTS, pool, Settings(further=further)).mask.full()
    assert (read_segment(out)[0] == expected).all()
    assert (expected != segment(volume, PROMPTS, pool).mask.full()).any()
    said = json.loads(report.read_text())["provenance"]["further"]
    assert [(entry["name"], entry["window"]) for entry in said] == [
        ("arterial, early.nrrd", [-160.0, 240.0]),
        ("arterial, early.nrrd", [0.0, 200.0]),
    ]
    assert said[0]["voxels"] == further[0].volume.voxel_hash
    # the last of the finer slices ends a quarter of a slice before the CT does
    assert "note:" not in capsys.readouterr().out

    scene = createScene()
    volume_node, other_node = addVolumeNode(scene, volume), addVolumeNode(scene, other)
    _, _, roi_node = createPromptNodes(scene)
    roi_node.SetCenter(50.5, -25.75, -272)
    roi_node.SetSize(30, 32, 0.001)
    channels = furtherChannels(volume_node, [other_node, other_node], ["auto", "0,200"])
    in_scene = segmentNodes(volume_node, roiNode=roi_node, pool=pool, settings=Settings(further=channels))
    assert (segmentArray(in_scene.segmentationNode, in_scene.segmentId, volume_node) == expected).all()
    with pytest.raises(Exception, match="3 further volumes are too many"):
        furtherChannels(volume_node, [other_node] * 3)


def test_a_channel_elsewhere_is_refused_and_registration_is_offered(ct, phantom, out, tmp_path, capsys):
    affine = phantom.ijk_to_ras.copy()
    affine[2, 3] += 5000
    away = write_volume(tmp_path / "away.nrrd", Volume(phantom.array, affine, "away"))
    told = refused(capsys, ct, "-o", out, ONE_SLICE, "--channel", away)
    assert "'away.nrrd' and 'ct.nrrd' do not overlap (0% of the smaller one)" in told
    assert "--register" in told
    assert not out.exists()


def test_a_registered_channel_is_said_and_recorded(ct, phantom, out, warm, tmp_path, capsys):
    """The phantom itself, 5 m away: moved back by exactly that."""
    affine = phantom.ijk_to_ras.copy()
    affine[:3, 3] += (12, 8, 5000)
    away, report = write_volume(tmp_path / "away.nrrd", Volume(phantom.array, affine, "away")), tmp_path / "report.json"
    assert run(ct, "-o", out, ONE_SLICE, "--channel", away, "--register", "--json", report) == 0
    assert "note: 'away.nrrd' was moved onto 'ct.nrrd': by 5000.0 mm and 0." in capsys.readouterr().out
    said = json.loads(report.read_text())["provenance"]["further"][0]["registration"]
    assert np.array(said["matrix"])[:3, 3] == pytest.approx((12, 8, 5000), abs=30)
    assert said["shift_mm"] == pytest.approx(5000.02, abs=1)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--register"], "--register needs a further volume"),
        (["--channel", "CT"] * 3, "--channel is given 3 times; the network has room for 2"),
        (["--channel", "CT", "--channels", "windows"], "--channel takes the place of --channels windows"),
        (["--channel", "gone.nrrd"], "'gone.nrrd' does not exist"),
        (["--channel", "CT,bone"], "Unknown window 'bone'"),
        (["--channel", "CT,200,100"], "the upper value has to be above the lower"),
    ],
    ids=str,
)
def test_channels_that_make_no_sense_are_refused(ct, out, capsys, words, reason):
    assert reason in refused(capsys, ct, "-o", out, ONE_SLICE, *[word.replace("CT", str(ct)) for word in words])
    assert not out.exists()


def test_an_output_never_replaces_a_channel(ct, phase, out, tmp_path, capsys):
    channel = write_volume(tmp_path / "other.seg.nrrd", phase)
    told = refused(capsys, ct, "-o", channel, ONE_SLICE, "--channel", f"{channel},wide", "--overwrite")
    assert "is given twice" in told


def test_percentiles_of_the_volume_itself_are_a_window(ct, phantom, tmp_path, out, warm):
    values = np.where(phantom.array < -500, 0, phantom.array + 500).astype(np.uint16)
    mr, report = write_volume(tmp_path / "mr.nrrd", Volume(values, phantom.ijk_to_ras, "mr")), tmp_path / "report.json"
    assert run(mr, "-o", out, ONE_SLICE, "--window", "percentile", "--json", report) == 0
    low, high = json.loads(report.read_text())["provenance"]["models"][0]["window"]
    assert (low, high) == pytest.approx(np.percentile(values[values > 0], [0.5, 99.5]))
