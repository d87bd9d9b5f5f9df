"""One request by four ways: `run_request`, console program, batch and Python functions give the same masks.

The network is a rule of thumb that marks what is dark: real ones would take minutes for all these slices.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import slicer.util
from cli_case import CENTER, ONE_SLICE, read_in_slicer, run, write_volume
from propagation_case import DarkPool, DarkPredictor, dice

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job, TumorPrompts
from SAMLiverTumorLib.batch.segmenting import segment_scan
from SAMLiverTumorLib.inference import Box, Prompts, SegmentationRequest, Settings, Window, run_request
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.api import findTumors, segmentNodes, segmentRequest
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import createPromptNodes
from SAMLiverTumorLib.mrml.scene_files import loadVolume
from SAMLiverTumorLib.mrml.segments.segments import createSegmentation, provenance, segmentArray
from SAMLiverTumorLib.versions import versions
from SAMLiverTumorLib.volume import Volume

BOX = ((35.5, -41.75, -272), (65.5, -9.75, -272))
# the lesion of 50 HU is darker than the middle of this window, the liver of 110 HU brighter
SETTINGS = Settings(window=Window(0, 160))
K, J, I = np.indices((20, 96, 96))  # noqa: E741
LESION = ((I - 34) * 1.5) ** 2 + ((J - 44) * 1.5) ** 2 + ((K - 10) * 4.0) ** 2 < 14**2
# the liver ends below slice 12, and so does the lesion in it
LIVER = (((I - 36) / 26) ** 2 + ((J - 44) / 22) ** 2 + ((K - 10) / 9) ** 2 < 1) & (K < 12)

HEAD = ["segment", "voxels", "volume_ml", "notes"]
MAPS = ["passes", "probability", "uncertainty", "next_best_slice"]
REPORT = {
    "slices": [*HEAD, "slices", "provenance"],
    "volume": [*HEAD, "mode", "cancelled", "slices", "stops", "provenance", *MAPS],
    "text": [*HEAD, "mode", "lesions", "slices", "cancelled", "provenance"],
}
SLICE = {
    "slices": ["index", "model", "pixels", "predicted_iou", "stability"],
    "volume": ["index", "model", "source", "confidence", "pixels", "predicted_iou", "stability"],
}


class Reader(DarkPredictor):
    """Marks all that is dark where it is asked by text."""

    def __init__(self):
        super().__init__()
        info = self.model.info
        self.model.info = replace(info, prompts=info.prompts | {"text"}, concepts=("liver tumor",))

    def predict_text(self, embedding, concept):
        return SimpleNamespace(mask=embedding < 120, predicted_iou=0.9, stability=1.0)


@pytest.fixture
def pool(monkeypatch):
    pool = DarkPool()
    pool.network = Reader()
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: pool)
    return pool


@pytest.fixture
def liver(phantom, tmp_path):
    return write_volume(tmp_path / "liver.nrrd", Volume(LIVER.astype(np.uint8), phantom.ijk_to_ras))


def request_of(mode):
    """The request that the words and the job below stand for."""
    prompts = Prompts(box=Box.from_corners(*BOX))
    return {
        "slices": SegmentationRequest(prompts=prompts, settings=SETTINGS),
        "volume": SegmentationRequest("volume", prompts, liver=LIVER, direction="up", settings=SETTINGS),
        "text": SegmentationRequest("text", liver=LIVER, settings=SETTINGS),
    }[mode]


def words_of(mode, liver):
    return {
        "slices": [ONE_SLICE],
        "volume": [ONE_SLICE, "--mode", "volume", "--liver", liver, "--direction", "up"],
        "text": ["--text", "liver tumor", "--liver", liver],
    }[mode]


def job_of(mode, ct, liver, out):
    tumors = () if mode == "text" else (TumorPrompts("Liver tumor", box=BOX),)
    chosen = {"slices": {}, "volume": {"mode": "volume", "direction": "up"}, "text": {"text": "liver tumor"}}[mode]
    job = Job("ct", ct, out, tumors, None if mode == "slices" else liver)
    return job, BatchSettings(window="0,160", **chosen)


@pytest.mark.parametrize("mode", ["slices", "volume", "text"])
def test_the_four_ways_give_the_same_mask_and_provenance(mode, pool, ct, out, liver, tmp_path):
    result = run_request(read_volume(ct), request_of(mode), pool)
    expected, said = result.mask.full(), json.loads(json.dumps(result.provenance))
    truth = {"slices": LESION & (K == 10), "volume": LESION & (K >= 10) & (K < 12), "text": LESION & (K < 12)}[mode]
    assert dice(expected, truth) > 0.95
    assert np.unique(np.nonzero(expected)[0]).tolist() == np.unique(np.nonzero(truth)[0]).tolist()

    report_file = tmp_path / "report.json"
    assert run(ct, "-o", out, *words_of(mode, liver), "--window", "0,160", "--json", report_file) == 0
    report = json.loads(report_file.read_text(encoding="utf-8"))
    assert (report["voxels"], report["provenance"]) == (np.count_nonzero(expected), said)
    assert list(report) == REPORT[mode]
    assert mode == "text" or {tuple(each) for each in report["slices"]} == {tuple(SLICE[mode])}
    node = read_in_slicer(out)
    segment_id = node.GetSegmentation().GetNthSegmentID(0)
    assert np.array_equal(segmentArray(node, segment_id, loadVolume(node.GetScene(), ct)), expected)
    assert provenance(node, segment_id) == [said]

    scanned = segment_scan(*job_of(mode, ct, liver, tmp_path), pool)
    node = scanned.segmentationNode
    segment_id = node.GetSegmentation().GetNthSegmentID(0)
    assert np.array_equal(segmentArray(node, segment_id, loadVolume(node.GetScene(), ct)), expected)
    assert provenance(node, segment_id) == [said]
    (row,) = scanned.segments
    assert (row["voxels"], row["slices"]) == (np.count_nonzero(expected), result.slices_seen)

    volume_node = loadVolume(createScene(), ct)
    node, segment_id, again = segmentRequest(volume_node, request_of(mode), pool=pool)
    assert np.array_equal(segmentArray(node, segment_id, volume_node), expected)
    assert again.provenance == result.provenance
    assert provenance(node, segment_id) == [said] and said["versions"] == versions()


def test_nodes_and_a_liver_segment_make_the_same_requests(pool, ct, liver):
    volume_node = loadVolume(createScene(), ct)
    _, _, roi_node = createPromptNodes(volume_node.GetScene())
    roi_node.SetCenter(*CENTER)
    roi_node.SetSize(30, 32, 0.001)
    volume = read_volume(ct)
    node, segment_id, _ = segmentNodes(volume_node, roiNode=roi_node, settings=SETTINGS, pool=pool)
    expected = run_request(volume, request_of("slices"), pool).mask.full()
    assert np.array_equal(segmentArray(node, segment_id, volume_node), expected)

    organs = createSegmentation(volume_node.GetScene(), volume_node)
    liver_id = organs.GetSegmentation().AddEmptySegment("", "liver")
    slicer.util.updateSegmentBinaryLabelmapFromArray(LIVER.astype(np.uint8), organs, liver_id, volume_node)
    segment_id, found = findTumors(volume_node, organs, (organs, liver_id), settings=SETTINGS, pool=pool)
    expected = run_request(volume, request_of("text"), pool)
    assert np.array_equal(segmentArray(organs, segment_id, volume_node), expected.mask.full())
    assert (found.lesions, found.slices_seen) == (expected.lesions, expected.slices_seen) == (1, 10)
