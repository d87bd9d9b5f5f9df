"""A spacing of 1 x 1 x 1 mm that was lost is said wherever milliliters or millimeters are."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from batch_case import settings
from cli_case import run, write_volume

from SAMLiverTumorLib.batch import worker
from SAMLiverTumorLib.batch.jobs import Job, TumorPrompts
from SAMLiverTumorLib.batch.summary import write_summary
from SAMLiverTumorLib.cli.commands.batch import _Progress
from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.mrml.api.lesion_report import lesionReport
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, segmentArray
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession
from SAMLiverTumorLib.volume import Volume

# As in copies of LiTS 28 to 48: 512 pixels of 1 mm are 512 mm, more than a scanner sees.
AFFINE = np.diag([-1.0, -1, 1, 1])
LOST = "is 1 x 1 x 1 mm, which cannot be true for a CT of 512 x 512 x 3 voxels"
BOX = ((-290.0, -290, 1), (-230.0, -230, 1))


@pytest.fixture
def ct():
    """Liver of 110 HU with a dark ball in it."""
    k, j, i = np.ogrid[:3, :512, :512]
    far = (i - 260) ** 2 + (j - 260) ** 2 + 0 * k
    hu = np.where(far < 150**2, 110, -1000) - np.where(far < 25**2, 60, 0)
    noise = np.random.default_rng(0).normal(0, 8, hu.shape)
    return Volume((hu + noise).astype(np.int16), AFFINE, "volume-28")


@pytest.fixture
def ct_file(ct, tmp_path):
    return write_volume(tmp_path / "volume-28.nii", ct)


@pytest.fixture
def label_file(ct, tmp_path):
    """The ball as label 2."""
    k, j, i = np.ogrid[:3, :512, :512]
    ball = (i - 260) ** 2 + (j - 260) ** 2 + 0 * k < 25**2
    return write_volume(tmp_path / "label.nii", Volume(ball.astype(np.uint8) * 2, AFFINE, "label"))


@pytest.mark.parametrize("mode", ["slice", "volume"])
def test_segment_says_it_in_a_line_and_in_the_report(mode, ct_file, tmp_path, pool, warm, capsys):
    corners = ",".join(str(x) for corner in BOX for x in corner)
    words = (ct_file, "-o", tmp_path / "a.seg.nrrd", f"--box={corners}", "--model", "liver-tumor", "--mode", mode)
    assert run(*words, "--json", tmp_path / "a.json") == 0
    assert f"note: The spacing of 'volume-28.nii' {LOST}" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    # which names nobody
    assert report["volume_ml"] > 0 and f"The spacing {LOST}" in report["notes"][0]


def test_report_says_it_in_a_line_and_in_all_its_files(ct_file, label_file, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(label_file), str(ct_file), "-o", str(tmp_path / "out"), "--pictures", "0"]) == 0
    assert f"! The spacing of 'volume-28.nii' {LOST}" in capsys.readouterr().out
    for name in ("lesions.json", "lesions.html"):
        text = (tmp_path / "out" / name).read_text()
        assert f"The spacing {LOST}" in text and "volume-28" not in text


def test_evaluate_says_it_in_a_line_and_in_its_report(label_file, tmp_path, capsys):
    assert main(["evaluate", str(label_file), str(label_file), "--json", str(tmp_path / "e.json")]) == 0
    assert f"! The spacing of 'label.nii' {LOST}" in capsys.readouterr().out
    assert any(LOST in note for note in json.loads((tmp_path / "e.json").read_text())["notes"])


def test_batch_says_it_of_each_case_and_in_record_and_summary(ct_file, tmp_path, pool, monkeypatch, capsys):
    monkeypatch.setattr(worker, "prepared_pool", lambda settings: pool)
    (tmp_path / "out" / "records").mkdir(parents=True)
    job = Job("28", ct_file, tmp_path / "out", (TumorPrompts("Liver tumor", box=BOX),))
    outcome = worker.run_job(job, settings())
    assert outcome.state == "done", outcome.reason
    assert sum(LOST in note for note in json.loads(job.record.read_text())["notes"]) == 1
    with _Progress(1) as progress:
        progress.add(outcome)
    assert f"note: 28: The spacing of 'volume-28.nii' {LOST}" in capsys.readouterr().out
    write_summary(tmp_path / "out", [outcome], settings())
    assert f"- 28: The spacing of 'volume-28.nii' {LOST}" in (tmp_path / "out" / "summary.md").read_text()
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert LOST in row["notes"]
    assert LOST in json.loads((tmp_path / "out" / "summary.json").read_text())["cases"][0]["notes"][0]


def test_the_lesion_report_of_the_scene_and_the_sessions_log_say_it(ct):
    scene = createScene()
    volumeNode = addVolumeNode(scene, ct)
    segmentationNode = createSegmentation(scene, volumeNode)
    segmentId = addTumorSegment(segmentationNode, "Liver tumor")
    report = lesionReport(volumeNode, segmentationNode, segmentId).report
    assert any(f"The spacing {LOST}" in note for note in report.notes)
    assert not segmentArray(segmentationNode, segmentId, volumeNode).any()
    session = PromptSession(scene, SimpleNamespace(drop_idle=lambda: None), None)
    session.setVolume(volumeNode)
    assert f"The spacing of '{volumeNode.GetName()}' {LOST}" in session.message and len(session.log) == 1
    session.setVolume(addVolumeNode(scene, Volume(ct.array, np.diag([-0.8, -0.8, 1, 1]), "true")))
    assert len(session.log) == 1


def test_the_panels_log_says_it_where_a_volume_is_chosen_and_where_it_is_measured(at_panel):
    at_panel(
        """
import numpy as np
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
from SAMLiverTumorLib.volume import Volume

def told():
    return sum("is 1 x 1 x 1 mm, which cannot be true" in line for line in session.log)

array = np.zeros((2, 512, 512), np.int16)
node = addVolumeNode(slicer.mrmlScene, Volume(array, np.diag([-1.0, -1, 1, 1]), "volume-28"))
assert told() == 0
ui.volumeSelector.setCurrentNode(node)
user.finish()
assert told() == 1, session.log
segmentation = createSegmentation(slicer.mrmlScene, node)
tumor, truth = addTumorSegment(segmentation, "tumor"), addTumorSegment(segmentation, "truth")
array[1, 200:210, 200:220] = 1
for segmentId in (tumor, truth):
    slicer.util.updateSegmentBinaryLabelmapFromArray(array.astype(np.uint8), segmentation, segmentId, node)
ui.segmentationSelector.setCurrentNode(segmentation)
ui.lesionReportButton.click()
user.finish()
assert told() == 2 and session.log[-1].startswith("1 lesion, 0.20 ml"), session.log
assert "is 1 x 1 x 1 mm" in ui.lesionTable.toolTip
ui.referenceSelector.setCurrentNode(segmentation)
widget._parameterNode.referenceSegmentId = truth
ui.evaluateButton.click()
user.finish()
assert told() == 3 and session.log[-1].startswith("Dice 1.000"), session.log
assert "is 1 x 1 x 1 mm" in ui.evaluationNotesLabel.text
"""
    )
