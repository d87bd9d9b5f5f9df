"""What the user does with a session beside prompting: clear, accept, cancel, switch; and what it never does."""

import threading

import numpy as np
import pytest
from session_case import Case

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.segment_slices import Settings, segment
from SAMLiverTumorLib.inference.threads.network_worker import NetworkWorker
from SAMLiverTumorLib.mrml.nodes.conversions import BOX, isOurs, promptsFromNodes
from SAMLiverTumorLib.mrml.segments.segments import provenance


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


def test_the_users_own_markups_are_never_touched(case):
    mine = [
        case.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "A include"),
        case.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Mine"),
    ]
    mine[0].AddControlPointWorld(*case.ras(5, 5, 4))
    mine[0].CreateDefaultDisplayNodes()
    times = [node.GetMTime() for node in mine] + [mine[0].GetDisplayNode().GetMTime()]
    case.click(10, 8, 4)
    case.finish()
    case.session.setSegment(case.b)
    case.click(10, 8, 4)
    case.session.clearAll()
    case.session.undo()
    case.finish()
    case.node.GetSegmentation().RemoveSegment(case.b)
    assert [node.GetMTime() for node in mine] + [mine[0].GetDisplayNode().GetMTime()] == times
    assert not any(isOurs(node) for node in mine)


def test_only_the_prompts_of_the_selected_segment_are_shown(case):
    first = case.session.promptNodes
    case.session.setSegment(case.b)
    second = case.session.promptNodes
    assert not set(first) & set(second)
    assert [node.GetDisplayNode().GetVisibility() for node in (*first, *second)] == [0, 0, 0, 1, 1, 1]
    case.session.setSegment(case.a)
    assert case.session.promptNodes == first
    assert [node.GetDisplayNode().GetVisibility() for node in (*first, *second)] == [1, 1, 1, 0, 0, 0]


def test_a_result_reaches_the_segment_it_was_asked_for_after_switching_to_another(case):
    case.click(10, 8, 4)
    case.session.setSegment(case.b)
    case.finish()
    assert np.array_equal(case.array(case.a), case.expected((10, 8), k=4))
    assert not case.array(case.b).any()


def test_what_is_on_the_slice_can_be_listed_and_cleared_as_one_step(case):
    case.click(10, 8, 4)
    case.click(14, 8, 4, "exclude")
    case.look(2)
    case.click(6, 6, 2)
    case.finish()
    before = case.array()
    case.look(4)
    roles = [(role, n) for role, n, _ in case.session.promptsOnSlice()]
    assert roles == [("include", 0), ("exclude", 0)]
    assert np.allclose(case.session.promptsOnSlice()[1][2], case.ras(14, 8, 4))
    case.session.clearSlice()
    case.finish()
    assert np.array_equal(case.array(), case.expected((6, 6), k=2))
    case.session.undo()
    case.finish()
    assert np.array_equal(case.array(), before)


def test_clearing_all_takes_the_object_back_at_once_and_leaves_what_was_there_before(case):
    painted = case.expected((12, 8), k=4)
    case.paint(case.a, painted)
    case.click(10, 8, 4)
    case.draw_box((2, 2, 4), (5, 5, 4))
    case.finish()
    case.session.clearAll()
    assert np.array_equal(case.array(), painted)
    assert not case.session.busy
    assert promptsFromNodes(*case.session.promptNodes).kinds == frozenset()


def test_accepting_keeps_the_object_and_starts_a_new_one(case):
    case.click(10, 8, 4)
    assert not case.session.canAccept  # still on its way
    case.finish()
    assert case.session.accept()
    assert promptsFromNodes(*case.session.promptNodes).kinds == frozenset()
    case.click(14, 8, 4)
    case.finish()
    case.session.clearAll()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    for _ in range(3):
        assert case.session.undo()
        case.finish()
    assert len(case.session.promptsOnSlice()) == 1
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    case.session.undo()
    assert not case.array().any()
    for _ in range(2):
        assert case.session.redo()
        case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    assert case.session.promptsOnSlice() == []


def test_what_the_user_can_mend_is_a_message_and_the_next_click_tries_again(case):
    case.pool.fake.error = ModelError("Download it first.")
    case.click(10, 8, 4)
    assert case.finish() == ["Download it first."]
    assert case.session.message == "Download it first." and case.session.log[-1] == "Download it first."
    case.pool.fake.error = None
    case.look(2)
    case.click(6, 6, 2)
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4) | case.expected((6, 6), k=2))


def test_a_bug_in_a_job_is_raised_and_other_results_are_written_first(case):
    case.click(10, 8, 4)
    case.worker.step()
    case.pool.fake.error = ZeroDivisionError("a bug")
    case.look(2)
    case.click(6, 6, 2)
    case.worker.step()
    with pytest.raises(ZeroDivisionError):
        case.session.poll()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    assert not case.session.busy


def test_what_nobody_wants_any_more_is_stopped_in_the_worker(case):
    case.click(10, 8, 4)
    case.look(2)
    case.click(6, 6, 2)
    first, second = case.worker.waiting
    case.session.promptNodes[0].RemoveNthControlPoint(0)
    assert first.is_cancelled() and not second.is_cancelled()
    case.session.undo()
    assert not second.is_cancelled()
    case.session.cancel()
    assert all(job.is_cancelled() for job in case.worker.waiting)
    assert not case.session.busy


def test_a_cancelled_prompt_leaves_no_trace_and_is_not_started_again_by_a_click_elsewhere(case):
    case.click(10, 8, 4)
    case.worker.step()
    case.session.cancel()
    assert not case.session.busy
    assert case.session.poll() == []
    case.look(2)
    case.click(6, 6, 2)
    case.finish()
    assert np.array_equal(case.array(), case.expected((6, 6), k=2))
    case.look(4)
    assert case.session.segment()
    case.finish()
    assert np.array_equal(case.array(), case.expected((6, 6), k=2) | case.expected((10, 8), k=4))


def test_the_network_runs_in_the_workers_thread_only():
    worker = NetworkWorker()
    case = Case(worker)
    case.click(10, 8, 4)
    case.draw_box((2, 2, 2), (8, 8, 5))
    case.session.boxThroughSlices = True
    case.session.prefetch()
    assert worker.wait(20)
    case.session.poll()
    case.session.undo()
    case.session.redo()
    case.session.segment()
    assert worker.wait(20)
    case.session.poll()
    case.session.close()
    assert worker.stop()
    assert case.array().any()
    threads = set(case.pool.fake.threads)
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_neighbors_are_encoded_ahead_nearest_first_and_dropped_when_the_user_goes_elsewhere(case):
    case.look(0)
    case.session.prefetch()
    assert [job.key[-1] for job in case.worker.idle] == [1, 2]
    case.look(5)
    case.session.prefetch()
    assert [job.key[-1] for job in case.worker.idle] == [6, 4, 7, 3]
    for job in case.worker.idle:
        job.work(job.is_cancelled)
    assert case.pool.fake.embedded == 4 and case.pool.fake.seen == []
    assert not case.session.busy


def test_the_mask_and_its_provenance_are_those_of_the_console_function(case):
    case.session.setSettings(Settings(model="mobile-sam"))
    case.click(10, 8, 4)
    case.click(14, 9, 4, "exclude")
    case.draw_box((5, 5, 4), (15, 12, 4))
    case.finish()
    result = segment(case.volume, promptsFromNodes(*case.session.promptNodes), case.pool, case.session.settings)
    assert np.array_equal(case.array(), result.mask.full())
    assert result.mask.count > 5
    assert provenance(case.node, case.a) == [result.provenance]
    case.session.clearAll()
    assert provenance(case.node, case.a) == []
    case.session.undo()
    case.finish()
    assert provenance(case.node, case.a) == [result.provenance]


def test_prompts_carry_role_segmentation_and_segment(case):
    nodes = case.session.promptNodes
    assert [node.GetAttribute("SAMLiverTumor.Role") for node in nodes] == ["include", "exclude", BOX]
    for node in nodes:
        assert node.GetNodeReference("SAMLiverTumor.Segmentation") is case.node
        assert node.GetAttribute("SAMLiverTumor.Segment") == case.a


def test_nothing_is_observed_or_done_after_closing(case):
    case.click(10, 8, 4)
    include = case.session.promptNodes[0]
    case.session.close()
    case.worker.finish()
    assert case.session.poll() == []
    include.AddControlPointWorld(*case.ras(4, 4, 4))
    assert case.worker.submitted == 1
    assert not case.array().any()
