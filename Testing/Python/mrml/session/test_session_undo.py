"""One undo step holds a prompt and its mask together, and nothing else of the scene."""

import numpy as np
import pytest
import slicer
from session_case import Case, state
from vtk.util.numpy_support import vtk_to_numpy

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.nodes.conversions import promptsFromNodes
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment

EDITOR = slicer.vtkMRMLSegmentEditorNode
SEGMENTATION = slicer.vtkMRMLSegmentationNode


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


def test_undo_takes_back_prompt_and_mask_together_and_redo_restores_both(case):
    def turn_roi():
        matrix = np.array([[0.8, -0.6, 0, 3], [0.6, 0.8, 0, 30], [0, 0, 1, 0], [0, 0, 0, 1]])
        case.session.promptNodes[2].SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))

    include, exclude, _ = case.session.promptNodes
    states = [state(case)]
    for action in (
        lambda: case.click(10, 8, 4),
        lambda: case.click(11, 8, 4, "exclude"),
        lambda: case.draw_box((5, 5, 2), (14, 12, 6)),
        turn_roi,
        lambda: include.SetNthControlPointPositionWorld(0, *case.ras(9, 9, 4)),
        lambda: exclude.RemoveNthControlPoint(0),
        case.session.clearAll,
    ):
        action()
        case.finish()
        states.append(state(case))
    assert len({repr(s) for s in states[:-1]}) == 7 and states[-1] == states[0]
    for _ in range(2):
        for wanted in states[-2::-1]:
            assert case.session.canUndo and case.session.undo()
            assert state(case) == wanted
            assert not case.session.busy
        assert not case.session.canUndo and not case.session.undo()
        for wanted in states[1:]:
            assert case.session.canRedo and case.session.redo()
            assert state(case) == wanted
        assert not case.session.canRedo and not case.session.redo()


def test_more_than_50_steps_can_be_taken_back(case):
    states = []
    for n in range(70):
        states.append(state(case))
        case.click(3 + n % 18, 3 + n // 5, 4, "exclude" if n % 7 == 6 else "include")
        case.finish()
    for wanted in reversed(states):
        assert case.session.undo()
        assert state(case) == wanted
    assert not case.session.canUndo


def test_a_new_prompt_after_undo_ends_what_could_be_redone(case):
    case.click(10, 8, 4)
    case.click(14, 8, 4)
    case.finish()
    case.session.undo()
    case.click(6, 6, 4)
    case.finish()
    assert not case.session.canRedo
    assert np.array_equal(case.array(), case.expected((10, 8), (6, 6), k=4))


def test_undo_of_a_quick_second_click_shows_what_the_first_alone_gives(case):
    case.click(10, 8, 4)
    case.click(14, 8, 4)
    case.finish()
    case.session.undo()
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    case.session.redo()
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), (14, 8), k=4))


def test_undo_while_the_network_works_drops_the_result_and_redo_asks_again(case):
    case.click(10, 8, 4)
    case.session.undo()
    assert not case.session.busy
    case.finish()
    assert not case.array().any()
    case.session.redo()
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_steps_of_two_segments_are_taken_back_in_order_whichever_is_selected(case):
    case.click(10, 8, 4)
    case.finish()
    case.session.setSegment(case.b)
    case.click(12, 8, 4)
    case.finish()
    case.session.setSegment(case.a)
    case.session.undo()
    assert np.array_equal(case.array(case.a), case.expected((10, 8), k=4))
    assert not case.array(case.b).any()
    case.session.undo()
    assert not case.array(case.a).any()
    case.session.redo()
    case.session.redo()
    assert np.array_equal(case.array(case.b), case.expected((12, 8), k=4))


def test_undo_leaves_what_was_painted_by_hand_where_it_is(case):
    case.click(10, 8, 4)
    case.finish()
    painted = case.expected((18, 14), k=2)
    case.paint(case.a, painted)
    case.paint(case.b, painted)
    case.session.undo()
    assert np.array_equal(case.array(case.a), painted)
    assert np.array_equal(case.array(case.b), painted)


def test_steps_of_a_deleted_segment_are_skipped(case):
    case.click(10, 8, 4)
    case.finish()
    case.session.setSegment(case.b)
    case.click(12, 8, 4)
    case.finish()
    case.node.GetSegmentation().RemoveSegment(case.b)
    assert case.session.undo()
    assert not case.array(case.a).any()
    assert not case.session.canUndo


def test_a_label_and_a_point_being_placed_survive_undo(case):
    include = case.session.promptNodes[0]
    case.click(10, 8, 4)
    include.SetNthControlPointLabel(0, "seed")
    case.click(14, 8, 4)
    with slicer.util.NodeModify(include):
        include.ResetNthControlPointPosition(include.AddControlPoint((0, 0, 0)))
    case.session.undo()
    assert include.GetNumberOfControlPoints() == 2
    assert promptsFromNodes(include).include.tolist() == [list(case.ras(10, 8, 4))]
    assert include.GetNthControlPointLabel(0) == "seed"


def test_the_users_masking_is_kept_to_and_undone_without_it(case):
    wall = case.expected((11, 8), k=4)
    case.paint(case.b, wall)
    user = case.editor_node()
    user.SetMaskMode(SEGMENTATION.EditAllowedOutsideAllSegments)
    user.SetOverwriteMode(EDITOR.OverwriteNone)
    case.session.editorRules = EditorRules(user)
    case.click(10, 8, 4)
    case.finish()
    expected = case.expected((10, 8), k=4) & ~wall
    assert expected.any() and np.array_equal(case.array(), expected)
    user.SetMaskMode(SEGMENTATION.EditAllowedInsideAllSegments)
    case.session.undo()
    assert not case.array().any()
    case.session.redo()
    assert np.array_equal(case.array(), expected)
    assert np.array_equal(case.array(case.b), wall)


def test_voxels_taken_by_the_overwrite_mode_are_given_back_when_the_object_lets_go_of_them(case):
    theirs = case.expected((11, 8), (14, 12), k=4)
    case.paint(case.b, theirs)
    user = case.editor_node()
    user.SetOverwriteMode(EDITOR.OverwriteAllSegments)
    case.session.editorRules = EditorRules(user)
    case.click(10, 8, 4)
    case.finish()
    mine = case.expected((10, 8), k=4)
    assert np.array_equal(case.array(), mine)
    assert (theirs & mine).any() and np.array_equal(case.array(case.b), theirs & ~mine)
    case.session.promptNodes[0].SetNthControlPointPositionWorld(0, *case.ras(7, 8, 4))
    case.finish()
    moved = case.expected((7, 8), k=4)
    assert np.array_equal(case.array(), moved)
    assert np.array_equal(case.array(case.b), theirs & ~moved)
    for wanted in (mine, np.zeros_like(mine)):
        case.session.undo()
        assert np.array_equal(case.array(), wanted)
        assert np.array_equal(case.array(case.b), theirs & ~wanted)
    case.session.redo()
    assert np.array_equal(case.array(case.b), theirs & ~mine)


def test_only_the_changed_box_of_the_changed_segment_is_written(case, monkeypatch):
    far = case.expected((20, 16), k=1)
    case.paint(case.b, far)
    shares = case.node.GetSegmentation().GetSegment(case.b).GetRepresentation("Binary labelmap")
    before, time = vtk_to_numpy(shares.GetPointData().GetScalars()).copy(), shares.GetMTime()
    written = []
    modify = SegmentWriter._modify

    def spy(self, segment_id, box, start, lattice, mode):
        if box.any():
            written.append((segment_id, int(box.sum()), box.shape))
        return modify(self, segment_id, box, start, lattice, mode)

    monkeypatch.setattr(SegmentWriter, "_modify", spy)
    case.click(10, 8, 4)
    case.finish()
    one, both = case.expected((10, 8), k=4), case.expected((10, 8), (14, 8), k=4)
    case.click(14, 8, 4)
    case.finish()
    assert [(segment, count) for segment, count, _ in written] == [
        (case.a, int(one.sum())),
        (case.a, int(both.sum() - one.sum())),
    ]
    # a disc is 5 pixels wide, two of them 4 apart 9
    assert written[0][2] == (1, 5, 5) and written[1][2] == (1, 5, 9)
    same = case.node.GetSegmentation().GetSegment(case.b).GetRepresentation("Binary labelmap")
    assert same is shares and same.GetMTime() == time
    assert np.array_equal(vtk_to_numpy(same.GetPointData().GetScalars()), before)


def test_voxels_that_two_slices_of_an_object_share_stay_until_both_let_go(case):
    case.click(10, 8, 4)
    case.look(8, "coronal")
    case.click(12, 8, 5)
    case.finish()
    both, axial = case.array(), case.expected((10, 8), k=4)
    assert both[4, 8, 11:13].all() and axial[4, 8, 11:13].all() and both.sum() > axial.sum()
    case.session.promptNodes[0].RemoveNthControlPoint(1)
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_a_segment_that_shares_its_labelmap_is_left_as_it_is(case):
    c = addTumorSegment(case.node, "C")
    painter = SegmentWriter(case.scene, case.node, case.volume_node)
    painter.write(case.b, Mask.from_array(case.expected((12, 8), k=4), case.volume))
    painter.write(c, Mask.from_array(case.expected((18, 14), k=4), case.volume))
    case.node.GetSegmentation().CollapseBinaryLabelmaps(False)
    case.click(10, 8, 4)
    case.finish()
    case.session.undo()
    case.session.redo()
    assert np.array_equal(case.array(case.b), case.expected((12, 8), k=4))
    assert np.array_equal(case.array(c), case.expected((18, 14), k=4))
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
