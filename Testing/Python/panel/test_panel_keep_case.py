"""The buttons Keep for training and Train on kept cases."""

import pytest

_OUTLINE = """
import numpy as np
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
store = CaseStore()
def outline(first=3):
    array = np.zeros(user.volume.array.shape, np.uint8)
    array[first:6, 5:9, 6:12] = 1
    node, segmentId = session.segmentationNode, session.segmentId
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segmentId, user.volumeNode)
    return array
"""


@pytest.fixture
def run(at_panel, tmp_path):
    return lambda program: at_panel(_OUTLINE + program, SAM_LIVER_TUMOR_CASES=str(tmp_path / "kept"))


def test_an_outline_is_kept_with_one_click_and_replaced_with_the_next(run):
    run(
        """
assert not ui.trainKeepButton.enabled and "Outline tumors" in ui.trainKeepButton.toolTip
assert not ui.trainKeptButton.enabled and ui.trainKeptLabel.text == "0 cases kept"
ui.addSegmentButton.click()
array = outline()
organs = createSegmentation(slicer.mrmlScene, user.volumeNode, "organs")
liver = addTumorSegment(organs, "liver")
whole = np.zeros_like(array); whole[2:7, 2:12, 3:20] = 1
slicer.util.updateSegmentBinaryLabelmapFromArray(whole, organs, liver, user.volumeNode)
widget._parameterNode.inside = organs
ui.trainKeepButton.click()
user.finish()
(kept,) = store.list()
assert (read_volume(kept.label).array == np.where(array, 2, whole)).all()
assert (read_volume(kept.image).array == user.volume.array).all()
assert ui.trainKeptLabel.text == "1 case kept" and str(store.root) in ui.trainKeptLabel.toolTip
assert kept.name + " is kept for training" in session.message, session.message
ui.trainKeepButton.click()
user.finish()
assert "already kept" in session.message and store.list() == [kept]
array = outline(first=2)
ui.trainKeepButton.click()
user.finish()
(newer,) = store.list()
assert "new outlines" in session.message and newer.version == 2
assert ((read_volume(newer.label).array == 2) == (array > 0)).all()
assert ui.trainKeptLabel.text == "1 case kept"
"""
    )


def test_kept_cases_are_handed_to_the_training(run):
    run(
        """
ui.addSegmentButton.click()
outline()
ui.trainKeepButton.click()
user.finish()
ui.trainKeptButton.click()
parameters = widget._parameterNode
assert parameters.trainSource == "folders"
assert parameters.trainImages == parameters.trainLabels == str(store.root)
assert ui.trainImagesEdit.currentPath == str(store.root) and ui.trainImagesEdit.enabled
assert ui.trainStartButton.enabled
"""
    )


def test_what_cannot_be_kept_says_why(run):
    run(
        """
ui.addSegmentButton.click()
ui.trainKeepButton.click()
user.finish()
assert "is empty within the volume" in session.message, session.message
store.root.mkdir()
(store.root / "notes.txt").write_text("")
outline()
ui.trainKeepButton.click()
user.finish()
assert "holds other files" in session.message, session.message
assert ui.trainKeptLabel.text == "0 cases kept" and not ui.trainKeptButton.enabled
"""
    )
