"""`storeCase`: a segment of the scene kept for training."""

import numpy as np
import pytest
from session_case import Case
from text_search_case import SQUARE

from SAMLiverTumorLib.datasets.store.case_store import NEW, REPLACED, CaseStore
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.api.keep_case import storeCase
from SAMLiverTumorLib.mrml.segments.segments import setProvenance


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


@pytest.fixture
def store(tmp_path):
    return CaseStore(tmp_path / "kept")


def test_a_segment_is_kept_with_the_liver_and_where_it_came_from(case, store):
    liver = np.zeros_like(SQUARE)
    liver[1:6] = True
    case.paint(case.a, SQUARE)
    case.paint(case.b, liver)
    point = case.volume_node.GetOrigin()
    setProvenance(case.node, case.a, {"models": [{"id": "mobile-sam"}], "prompts": {"include": [list(point)]}})
    added = storeCase(case.volume_node, case.node, case.a, (case.node, case.b), store)
    assert added.state == NEW and added.case == store.list()[0]
    expected = np.where(SQUARE, 2, liver)
    assert (read_volume(added.case.label).array == expected).all()
    assert added.case.models == ("mobile-sam",)
    # where the first voxel lies, prompts begin
    assert added.case.origin[0]["prompts"]["include"] == [[0.0, 0.0, 0.0]]


def test_corrected_outlines_take_the_place_of_the_earlier_ones(case, store):
    case.paint(case.a, SQUARE)
    first = storeCase(case.volume_node, case.node, case.a, store=store).case
    corrected = SQUARE.copy()
    corrected[0, 0, 0] = True
    case.paint(case.a, corrected)
    added = storeCase(case.volume_node, case.node, case.a, store=store, name="mine")
    assert (added.state, added.case.id, added.case.name) == (REPLACED, first.id, "mine")
    assert ((read_volume(added.case.label).array == 2) == corrected).all()


def test_an_empty_segment_is_refused(case, store):
    with pytest.raises(InputError, match="'A' is empty"):
        storeCase(case.volume_node, case.node, case.a, store=store)
    assert store.count() == 0
