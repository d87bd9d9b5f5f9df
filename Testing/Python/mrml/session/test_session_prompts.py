"""What the user does to prompts, and what comes of it: one job, one slice, one step."""

import numpy as np
import pytest
import slicer
from session_case import Case

from SAMLiverTumorLib.mrml.nodes.conversions import promptsFromNodes


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


def test_a_click_is_one_job_and_its_disc_lands_where_it_was_made(case):
    case.click(10, 8, 4)
    assert case.worker.submitted == 1
    assert case.session.busy and not case.array().any()
    case.finish()
    assert not case.session.busy
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    assert case.worker.submitted == 1


def test_a_point_placed_with_the_mouse_counts_when_its_position_is_defined_and_not_before(case):
    include = case.session.promptNodes[0]
    preview = include.AddControlPoint((0, 0, 0))
    include.ResetNthControlPointPosition(preview)
    for i in range(5):
        include.SetNthControlPointPosition(preview, *case.ras(10 + i, 8, 4))
        include.ResetNthControlPointPosition(preview)
    submitted = case.worker.submitted
    heard = []
    include.AddObserver(include.PointPositionDefinedEvent, lambda *_: heard.append(1))
    include.SetNthControlPointPositionWorld(preview, *case.ras(10, 8, 4))
    assert heard
    assert case.worker.submitted == submitted + 1
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_preview_points_start_nothing_and_are_no_step(case):
    include = case.session.promptNodes[0]
    with slicer.util.NodeModify(include):
        preview = include.AddControlPoint(case.ras(10, 8, 4))
        include.SetNthControlPointPosition(preview, *case.ras(10, 8, 4), include.PositionPreview)
    for i in range(11, 15):
        include.SetNthControlPointPosition(preview, *case.ras(i, 8, 4), include.PositionPreview)
    assert case.worker.submitted == 0
    assert not case.session.canUndo and not case.session.busy


def test_a_dragged_point_is_segmented_once_when_it_is_let_go(case):
    case.click(10, 8, 4)
    case.finish()
    include = case.session.promptNodes[0]
    include.InvokeCustomModifiedEvent(include.PointStartInteractionEvent)
    for i in range(11, 15):
        include.SetNthControlPointPositionWorld(0, *case.ras(i, 8, 4))
    assert case.worker.submitted == 1
    include.InvokeCustomModifiedEvent(include.PointEndInteractionEvent)
    assert case.worker.submitted == 2
    case.finish()
    assert np.array_equal(case.array(), case.expected((14, 8), k=4))
    case.session.undo()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_a_point_moved_to_another_slice_leaves_nothing_behind(case):
    case.click(10, 8, 4)
    case.finish()
    case.look(2)
    case.session.promptNodes[0].SetNthControlPointPositionWorld(0, *case.ras(10, 8, 2))
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=2))


def test_only_the_slice_whose_prompts_changed_is_segmented_again(case):
    for k in (2, 4, 6):
        case.look(k)
        case.click(10, 8, k)
    case.finish()
    case.click(14, 8, 6)
    assert len(case.worker.waiting) == 1
    case.click(10, 10, 6, "exclude")
    case.finish()
    expected = case.expected((10, 8), k=2) | case.expected((10, 8), k=4)
    assert np.array_equal(case.array(), expected | case.expected((10, 8), (14, 8), k=6, exclude=[(10, 10)]))


def test_a_second_click_before_the_first_is_done_takes_its_place_and_neither_is_lost(case):
    case.click(10, 8, 4)
    case.worker.step()  # done, but not heard of yet
    case.click(14, 8, 4)
    assert case.session.poll() == []
    assert not case.array().any()
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), (14, 8), k=4))


def test_a_box_is_segmented_on_release_and_only_on_the_slice_it_was_drawn_on(case):
    roi = case.session.promptNodes[2]
    roi.InvokeCustomModifiedEvent(roi.PointStartInteractionEvent)
    roi.SetCenter(case.ras(10, 8, 4))
    roi.SetSize(6, 5, 12)
    assert case.worker.submitted == 0
    roi.InvokeCustomModifiedEvent(roi.PointEndInteractionEvent)
    assert case.worker.submitted == 1
    case.finish()
    expected = np.zeros_like(case.array())
    expected[4, 6:11, 8:13] = True  # 6 mm and 5 mm in voxels of 1.5 and 1.25 mm, centers on the edge included
    assert np.array_equal(case.array(), expected)


def test_a_box_through_slices_fills_all_it_crosses_and_can_be_turned_back(case):
    case.draw_box((5, 6, 2), (9, 10, 5))
    case.finish()
    one = case.array()
    case.session.boxThroughSlices = True
    case.finish()
    expected = np.zeros_like(one)
    expected[2:6, 6:11, 5:10] = True
    assert np.array_equal(case.array(), expected)
    case.session.boxThroughSlices = False
    case.finish()
    assert np.array_equal(case.array(), one)


def test_a_box_on_chosen_slices_grows_slice_by_slice_on_demand(case):
    case.session.live = False
    case.draw_box((5, 6, 1), (9, 10, 6))
    assert case.worker.submitted == 0
    expected = np.zeros_like(case.array())
    for k in (3, 4):
        case.look(k)
        assert case.session.segment()
        case.finish()
        expected[k, 6:11, 5:10] = True
    expected[4, 6:11, 5:10] = True
    assert np.array_equal(case.array(), expected)


def test_on_demand_nothing_is_segmented_before_it_is_asked_for(case):
    case.session.live = False
    case.click(10, 8, 4)
    case.click(14, 8, 4)
    assert case.worker.submitted == 0
    assert case.session.segment()
    assert case.worker.submitted == 1
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), (14, 8), k=4))
    case.session.undo()
    assert not case.array().any()
    assert len(case.session.promptsOnSlice()) == 1


def test_points_count_on_the_slice_of_the_view_they_were_placed_in(case):
    case.look(9, "coronal")
    case.click(10, 9, 4)
    assert case.worker.submitted == 1
    case.finish()
    found = np.argwhere(case.array())
    assert set(found[:, 1]) == {9}
    assert len(set(found[:, 0])) > 1


def test_an_oblique_view_is_segmented_in_its_own_plane(case):
    center = case.ras(12, 10, 4)
    slice_to_ras = np.eye(4)
    normal, right = np.array([0, 0.6, 0.8]), np.array([1.0, 0, 0])
    slice_to_ras[:3, :3] = np.column_stack([right, np.cross(normal, right), normal])
    slice_to_ras[:3, 3] = center
    case.session.setPlane(slice_to_ras)
    case.click(12, 10, 4)
    case.session.promptNodes[0].AddControlPointWorld(*(center + 6 * np.cross(normal, right)))
    assert len([job for job in case.worker.waiting if not job.is_cancelled()]) == 1
    case.finish()
    ijk = np.argwhere(case.array())[:, ::-1]
    heights = [(case.ras(*voxel) - center) @ normal for voxel in ijk]
    assert len(ijk) > 10 and len(set(ijk[:, 1])) > 1 and len(set(ijk[:, 2])) > 1
    assert np.abs(heights).max() <= 1.25


def test_a_slice_views_own_matrix_is_the_straight_slice_it_shows(case):
    slice_to_ras = np.diag([-1.0, 1, 1, 1])
    slice_to_ras[:3, 3] = np.add(case.ras(3, 3, 5), (0, 0, 0.4))
    case.session.setPlane(slice_to_ras)
    assert (case.session.view.name, case.session.view.index) == ("axial", 5)


def test_a_point_outside_the_volume_is_refused_with_words_and_the_next_one_works(case):
    case.click(10, 8, 4)
    case.finish()
    case.click(100, 8, 4)
    assert not case.session.busy
    assert "outside 'CT'" in case.session.message
    case.session.promptNodes[0].RemoveNthControlPoint(1)
    case.click(14, 8, 4)
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), (14, 8), k=4))


def test_a_box_that_is_just_being_drawn_is_not_segmented_before_its_last_corner_is_set(case):
    # as Slicer's place mode does it: the first corner, then a preview of the other one that follows the mouse
    roi = case.session.promptNodes[2]
    roi.AddControlPoint(case.ras(5.5, 5.5, 3))
    with slicer.util.NodeModify(roi):
        corner = roi.AddControlPoint(case.ras(8, 8, 5))
        roi.SetNthControlPointPosition(corner, *case.ras(8, 8, 5), roi.PositionPreview)
    for i in (9, 11, 12.5):
        roi.SetNthControlPointPosition(corner, *case.ras(i, 10.5, 5), roi.PositionPreview)
    assert min(roi.GetSize()) > 0 and case.worker.submitted == 0 and not case.session.canUndo
    roi.SetNthControlPointPosition(corner, *case.ras(12.5, 10.5, 5))
    assert len([job for job in case.worker.waiting if not job.is_cancelled()]) == 1
    case.finish()
    drawn = np.zeros_like(case.array())
    drawn[4, 6:11, 6:13] = True
    assert np.array_equal(case.array(), drawn)
    case.session.undo()
    assert not case.array().any() and promptsFromNodes(*case.session.promptNodes).box is None
    assert not case.session.canUndo
    case.session.redo()
    case.finish()
    assert np.array_equal(case.array(), drawn)
