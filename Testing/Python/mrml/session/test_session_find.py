"""Searching a volume by text in a session: one step, beside prompts, cancelled without a trace."""

import numpy as np
import pytest
import slicer
from session_case import Case, state
from text_search_case import SQUARE, Reader

from SAMLiverTumorLib.mrml.nodes.label_sources import segmentSource
from SAMLiverTumorLib.mrml.segments.segments import provenance


@pytest.fixture
def case():
    case = Case()
    case.pool.fake = Reader()
    yield case
    case.session.close()


def test_what_is_found_goes_into_the_segment_as_one_step(case):
    before = state(case)
    assert case.session.find("mobile-sam")
    assert case.session.busy and "Searching" in case.session.message
    lines = case.finish()
    # 240 voxels of 1.5 x 1.25 x 3 mm
    assert lines == ["Found 1 piece, 1.4 ml, on 8 slices: check it."]
    assert (case.array() == SQUARE).all()
    assert not case.array(case.b).any() and not case.session.busy
    (entry,) = provenance(case.node, case.a)
    assert entry["prompts"] == {"text": "liver tumor"} and "torch" in entry["versions"]
    found = state(case)
    assert case.session.undo() and state(case) == before
    assert not case.session.canUndo
    assert case.session.redo() and state(case) == found


def test_only_the_liver_is_searched(case):
    liver = np.zeros_like(SQUARE)
    liver[2:5, :, :15] = True
    case.paint(case.b, liver)
    case.session.find("mobile-sam", segmentSource(case.node, case.b).copied())
    case.finish()
    assert (case.array() == (SQUARE & liver)).all()
    assert len(case.pool.fake.asked) == 3
    assert provenance(case.node, case.a)[0]["within"] == "liver"


def test_prompts_and_what_was_found_stay_apart(case):
    case.session.find("mobile-sam")
    case.finish()
    case.click(5, 6, 4)
    case.finish()
    disc = case.expected((5, 6), k=4)
    assert (case.array() == (SQUARE | disc)).all()
    (entry,) = provenance(case.node, case.a)
    assert entry["found"]["prompts"] == {"text": "liver tumor"} and len(entry["prompts"]["include"]) == 1
    case.session.clearAll()
    assert (case.array() == SQUARE).all()
    assert provenance(case.node, case.a) == [entry["found"]]
    assert case.session.undo() and (case.array() == (SQUARE | disc)).all()
    assert case.session.accept()
    case.click(5, 6, 6)
    case.finish()
    case.session.clearAll()
    assert (case.array() == (SQUARE | disc)).all(), "what was accepted lasts"


def test_voxels_that_were_there_before_stay_when_the_step_is_taken_back(case):
    painted = np.zeros_like(SQUARE)
    painted[3, 8:13, 10:14] = True
    case.paint(case.a, painted)
    case.session.find("mobile-sam")
    case.finish()
    assert (case.array() == (SQUARE | painted)).all()
    case.session.undo()
    assert (case.array() == painted).all()


def test_a_second_search_replaces_the_first(case):
    case.session.find("mobile-sam")
    case.finish()
    liver = np.zeros_like(SQUARE)
    liver[4] = True
    case.paint(case.b, liver)
    case.session.find("mobile-sam", segmentSource(case.node, case.b).copied())
    case.finish()
    assert (case.array() == (SQUARE & liver)).all()


def test_cancelling_leaves_no_trace(case):
    before = state(case)
    case.session.find("mobile-sam")
    case.session.cancel()
    case.finish()
    assert state(case) == before and not case.session.canUndo and not case.session.busy


@pytest.mark.parametrize("gone", ["segment", "segmentation", "volume", "scene"])
def test_nothing_breaks_when_what_it_works_on_is_deleted_meanwhile(case, gone):
    case.session.find("mobile-sam")
    if gone == "segment":
        case.node.GetSegmentation().RemoveSegment(case.a)
    elif gone == "scene":
        case.scene.Clear(0)
    else:
        case.scene.RemoveNode(case.node if gone == "segmentation" else case.volume_node)
    assert not case.session.busy
    case.finish()


def test_a_volume_that_changed_meanwhile_drops_what_was_found(case):
    case.session.find("mobile-sam")
    case.worker.finish()
    slicer.util.arrayFromVolume(case.volume_node)[:] = 0
    case.volume_node.GetImageData().GetPointData().GetScalars().Modified()
    assert any("changed meanwhile" in line for line in case.session.poll())
    assert not case.array().any()
