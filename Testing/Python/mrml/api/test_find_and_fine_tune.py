"""`findTumors` and `fineTune`: what scripts call."""

import numpy as np
import pytest
import SimpleITK as sitk
from session_case import Case
from text_search_case import SQUARE, Reader

from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.mrml.api.find_and_fine_tune import findTumors, fineTune
from SAMLiverTumorLib.mrml.segments.segments import provenance


@pytest.fixture
def case():
    case = Case()
    case.pool.fake = Reader()
    yield case
    case.session.close()


def test_found_tumors_are_added_within_the_liver(case):
    liver = np.zeros_like(SQUARE)
    liver[2:5] = True
    case.paint(case.b, liver)
    segment_id, found = findTumors(case.volume_node, case.node, (case.node, case.b), "A", pool=case.pool)
    assert segment_id == case.a and found.lesions == 1
    assert (case.array() == (SQUARE & liver)).all()
    assert provenance(case.node, case.a)[0]["prompts"] == {"text": "liver tumor"}


def test_where_nothing_is_found_nothing_changes(case):
    case.pool.fake.predict_text = lambda embedding, concept: type("None", (), {"mask": np.zeros(embedding, bool)})
    with pytest.raises(PromptError, match="Nothing was found on 8 slices"):
        findTumors(case.volume_node, case.node, segmentName="new", pool=case.pool)
    assert case.node.GetSegmentation().GetNumberOfSegments() == 2


class Started:
    def __init__(self, folder):
        self.folder, self.settings = folder, None

    def start(self, settings):
        self.settings = settings


def test_a_training_gets_the_segment_as_files(case, tmp_path):
    case.paint(case.a, SQUARE)
    training = fineTune(case.volume_node, case.node, case.a, tmp_path / "run", process=Started, epochs=3)
    assert (training.settings.epochs, training.settings.concepts) == (3, ("liver tumor",))
    assert training.settings.out == str(tmp_path / "run")
    labels = sitk.ReadImage(str(tmp_path / "run" / "data" / "labels" / "scene.nii.gz"))
    assert (sitk.GetArrayFromImage(labels) == 2 * SQUARE).all()


def test_an_empty_segment_is_refused(case, tmp_path):
    with pytest.raises(InputError, match="'A' is empty"):
        fineTune(case.volume_node, case.node, case.a, tmp_path / "run", process=Started)
