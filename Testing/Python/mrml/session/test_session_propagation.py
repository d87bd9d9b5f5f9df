"""Propagating a tumor through the volume in a session: one step, corrections stick, cancel keeps what is done."""

import numpy as np
import pytest
import slicer
from session_case import state
from tumor_case import BALL, MIDDLE, Tumor

from SAMLiverTumorLib.mrml.segments.segments import provenance


@pytest.fixture
def case():
    case = Tumor()
    yield case
    case.session.close()


def test_one_box_becomes_the_whole_tumor_and_one_undo_takes_it_back(case):
    case.box_on(MIDDLE)
    prompted = state(case)
    assert case.slices() == [MIDDLE]
    lines = case.follow()
    whole = case.array()
    missed = BALL & ~whole
    # the last cap is smaller than the rules follow
    assert not (whole & ~BALL).any() and missed.sum() < 0.05 * BALL.sum()
    assert any("stopped at slice" in line for line in lines) and "Propagated through" in lines[-1]
    assert case.session.undo()
    assert state(case) == prompted
    assert case.session.redo()
    assert (case.array() == whole).all()
    assert case.session.undo() and case.session.undo() and not case.array().any()


def test_the_prompted_slice_keeps_its_voxels_and_other_segments_theirs(case):
    case.paint(case.b, BALL & (np.indices(BALL.shape)[2] > 24))
    case.box_on(MIDDLE)
    before, other = case.array()[MIDDLE].copy(), case.array(case.b).copy()
    case.follow()
    assert (case.array()[MIDDLE] == before).all()
    assert (case.array(case.b) == other).all()


def test_up_and_down_go_to_one_side_alone(case):
    case.box_on(MIDDLE)
    case.follow("up")
    assert min(case.slices()) == MIDDLE < max(case.slices())
    above = case.array()[MIDDLE:]
    case.follow("down")
    assert min(case.slices()) < MIDDLE and (case.array()[MIDDLE:] == above).all(), "what was found above stays"
    up_and_down = case.array()
    case.session.clearAll()
    case.box_on(MIDDLE)
    case.follow("down")
    assert min(case.slices()) < MIDDLE == max(case.slices())
    case.follow("up")
    assert (case.array() == up_and_down).all()


def test_what_other_weights_found_on_the_other_side_is_not_kept(case):
    case.box_on(MIDDLE)
    case.follow("up")
    assert max(case.slices()) > MIDDLE
    case.pool.network.model.sha256 = "1" * 64
    case.follow("down")
    assert max(case.slices()) == MIDDLE > min(case.slices())


def test_a_click_on_a_slice_that_was_reached_corrects_it_and_what_lies_beyond():
    # above slice 18 a vessel as dark as the tumor leads away from it
    inside = BALL.copy()
    inside[19:26, 17:23, 26:40] = True
    case = Tumor(inside)
    case.box_on(MIDDLE, high=(31, 30))
    case.follow()
    wrong = case.array().copy()
    calls = case.pool.calls
    case.look(20)
    case.click(34, 20, 20, "exclude")
    assert case.session.busy
    case.finish()
    now = case.array()
    assert wrong[20, 20, 34] and not now[20, 20, 34]
    assert (now[: MIDDLE + 1] == wrong[: MIDDLE + 1]).all(), "the other side is left alone"
    assert case.pool.calls - calls < calls, "only what lies beyond is done again"
    # the corrected slice is an anchor now
    corrected = now[20].copy()
    case.follow("both")
    assert (case.array()[20] == corrected).all()
    case.session.close()


def test_a_click_beyond_a_stop_goes_on_from_there():
    inside = BALL.copy()
    inside[18] = False  # a slice without the tumor: two parts
    case = Tumor(inside)
    case.box_on(MIDDLE)
    case.follow()
    assert max(case.slices()) == 17
    case.look(20)
    case.click(22, 20, 20)
    case.finish()
    assert {19, 20, 21} <= set(case.slices()) and min(case.slices()) < MIDDLE
    case.session.close()


def test_cancel_keeps_the_slices_that_are_done_and_undo_takes_them_back(case):
    case.box_on(MIDDLE)
    prompted = state(case)
    predict = case.pool.network.predict
    asked = []

    def counted(embedding, prompts):
        asked.append(prompts)
        if len(asked) == 6:
            case.session.cancel()
        return predict(embedding, prompts)

    case.pool.network.predict = counted
    assert case.session.propagate()
    case.finish()
    kept = case.slices()
    assert not case.session.busy and "kept" in case.session.message
    assert len(kept) > 1 and MIDDLE in kept and len(kept) < 6
    case.pool.network.predict = predict
    assert case.session.undo()
    assert state(case) == prompted
    case.session.redo()
    assert case.slices() == kept
    case.follow()
    assert len(case.slices()) > len(kept)


def test_without_prompts_what_is_drawn_on_the_slice_is_propagated(case):
    drawn = np.zeros_like(BALL)
    drawn[MIDDLE] = BALL[MIDDLE]
    case.paint(case.a, drawn)
    case.follow()
    assert len(case.slices()) > 10 and (case.array()[MIDDLE] == BALL[MIDDLE]).all()
    assert case.session.undo()
    assert (case.array() == drawn).all()


def test_nothing_to_propagate_is_refused_and_leaves_no_step(case):
    assert not case.session.propagate()
    assert "Prompt this slice" in case.session.message and not case.session.canUndo
    case.session.setPlane(None)
    assert not case.session.propagate()


def test_clearing_the_prompts_takes_back_what_was_propagated_and_accepting_keeps_it(case):
    case.box_on(MIDDLE)
    case.follow()
    whole = case.array()
    case.session.clearAll()
    assert not case.array().any()
    case.session.undo()
    assert (case.array() == whole).all()
    assert case.session.accept()
    assert (case.array() == whole).all()
    case.session.clearAll()
    assert (case.array() == whole).all(), "accepted"


def test_a_box_through_slices_limits_how_far_the_tumor_is_propagated(case):
    case.session.boxThroughSlices = True
    case.look(MIDDLE)
    case.draw_box((12, 10, 12), (32, 30, 18))
    case.finish()
    assert case.slices() == list(range(12, 19))
    case.follow()
    assert set(case.slices()) <= set(range(12, 19)) and MIDDLE in case.slices()


@pytest.mark.parametrize("name, index", [("coronal", 20), ("sagittal", 22)])
def test_other_orientations_are_propagated_along_their_own_normal(case, name, index):
    case.look(index, name)
    low, high = [12, 10, 5], [32, 30, 25]
    axis = {"coronal": 1, "sagittal": 0}[name]
    low[axis] = high[axis] = index
    case.draw_box(low, high)
    case.finish()
    case.follow()
    whole = case.array()
    assert not (whole & ~BALL).any() and whole.sum() > 0.8 * BALL.sum()


def test_an_oblique_slice_is_propagated_along_its_normal(case):
    matrix = np.eye(4)
    angle = np.deg2rad(30)
    matrix[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = case.ras(22, 20, MIDDLE)
    case.session.setPlane(matrix)
    case.click(22, 20, MIDDLE)
    case.finish()
    assert case.array().any()
    case.follow()
    whole = case.array()
    assert (whole & BALL).sum() > 0.75 * BALL.sum() and (whole & ~BALL).sum() < 0.05 * BALL.sum()
    case.session.undo()
    case.session.undo()
    assert not case.array().any()


def test_provenance_records_what_was_propagated(case):
    case.box_on(MIDDLE)
    case.follow()
    (entry,) = provenance(case.node, case.a)
    assert {model.get("mode", "slice") for model in entry["models"]} == {"slice", "volume"}


def test_a_volume_moved_in_the_middle_drops_the_rest(case):
    case.box_on(MIDDLE)
    kept = case.array()
    assert case.session.propagate()
    case.worker.finish()
    transform = case.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3)))
    case.volume_node.SetAndObserveTransformNodeID(transform.GetID())
    case.session.poll()
    case.volume_node.SetAndObserveTransformNodeID(None)
    assert not case.session.busy and (case.array() == kept).all()


def test_deleting_the_segment_in_the_middle_is_survived(case):
    case.box_on(MIDDLE)
    assert case.session.propagate()
    case.node.GetSegmentation().RemoveSegment(case.a)
    case.finish()
    assert not case.session.busy
