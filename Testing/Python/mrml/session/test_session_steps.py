"""Undo and redo name what they do, choose its segment, and the status line says what is now."""

import numpy as np
import pytest
import slicer
from session_case import Case
from tumor_case import MIDDLE, Tumor

from SAMLiverTumorLib.mrml.segments.segments import provenance

DISC = 13  # voxels of one include point's disc


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


@pytest.fixture
def tumor():
    case = Tumor()
    yield case
    case.session.close()


def segments(case):
    return list(case.session.segmentationNode.GetSegmentation().GetSegmentIDs())


def test_undo_after_new_takes_back_new_and_leaves_the_lesion_before(tumor):
    case = tumor
    case.box_on(MIDDLE)
    case.follow()
    before = case.array()
    assert before.any(axis=(1, 2)).sum() > 1
    assert case.session.addSegment("C")
    added = case.session.segmentId
    # as the panel does, which asks at each change
    case.node.AddObserver(slicer.vtkSegmentation.SegmentRemoved, lambda *_: case.session.canUndo)
    assert case.session.undoName == "new segment C"
    assert case.session.undo()
    assert np.array_equal(case.array(), before)
    assert added not in segments(case) and case.session.segmentId == case.a
    assert case.session.message == f"Undone: new segment C. A: {before.sum():,} voxels."
    assert case.session.undoName == "propagation of A"
    assert case.session.undo()
    drawn = case.array()
    assert drawn.any(axis=(1, 2)).sum() == 1
    assert case.session.message == f"Undone: propagation of A. A: {drawn.sum():,} voxels."
    assert (case.session.undoName, case.session.redoName) == ("box of A", "propagation of A")


def test_undo_chooses_the_segment_that_it_changes_and_shows_it(case):
    chosen = []
    case.click(10, 8, 4)
    case.finish()
    case.session.setSegment(case.b)
    case.node.GetDisplayNode().SetSegmentVisibility(case.a, False)
    case.session.onChosen.append(lambda: chosen.append(case.session.segmentId))
    assert case.session.undo()
    assert case.session.segmentId == case.a and chosen == [case.a]
    assert case.node.GetDisplayNode().GetSegmentVisibility(case.a)
    assert case.session.message == "Undone: include point of A. A is empty."
    case.session.setSegment(case.b)
    assert case.session.message == "B is empty."
    assert case.session.redo()
    assert case.session.segmentId == case.a
    assert case.session.message == f"Redone: include point of A. A: {DISC} voxels."


def test_new_is_redone_with_its_name_color_and_terminology_and_the_steps_after_it(case):
    case.session.addSegment("C")
    added = case.session.segmentId
    segment = case.node.GetSegmentation().GetSegment(added)
    color, term = segment.GetColor(), segment.GetTerminology()
    case.click(10, 8, 4)
    case.finish()
    case.session.undo()
    case.session.undo()
    assert added not in segments(case) and not case.session.canUndo
    assert case.session.redo() and case.session.segmentId == added
    again = case.node.GetSegmentation().GetSegment(added)
    assert (again.GetName(), again.GetColor(), again.GetTerminology()) == ("C", color, term)
    assert not case.array(added).any()
    assert case.session.redo()
    assert np.array_equal(case.array(added), case.expected((10, 8), k=4))
    assert provenance(case.node, added)
    case.session.undo()
    case.session.undo()
    assert added not in segments(case)


def test_undo_of_new_never_deletes_voxels_that_were_drawn_by_hand(case):
    case.session.addSegment("C")
    added = case.session.segmentId
    drawn = case.expected((6, 6), k=2)
    case.paint(added, drawn)
    assert case.session.undo()
    assert np.array_equal(case.array(added), drawn) and case.session.segmentId == case.a
    assert case.session.redo() and case.session.segmentId == added
    assert np.array_equal(case.array(added), drawn)


def test_accept_is_a_step_between_others_and_is_named(case):
    case.click(10, 8, 4)
    case.finish()
    case.session.accept()
    case.session.addSegment("C")
    case.session.undo()
    assert case.session.undoName == "acceptance of A"
    case.session.undo()
    assert case.session.promptNodes[0].GetNumberOfControlPoints() == 1
    assert case.session.message == f"Undone: acceptance of A. A: {DISC} voxels."


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (lambda case: case.click(10, 8, 4, "exclude"), "exclude point of A"),
        (lambda case: case.draw_box((5, 5, 4), (14, 12, 4)), "box of A"),
        (lambda case: case.session.clearAll(), "removal of prompts of A"),
        (lambda case: case.session.promptNodes[0].SetNthControlPointPositionWorld(0, *case.ras(9, 9, 4)), "change of"),
        (lambda case: case.session.segment(), "segmentation of A"),
    ],
)
def test_each_change_has_its_name(case, act, name):
    case.click(10, 8, 4)
    case.finish()
    act(case)
    assert case.session.undoName.startswith(name)


def test_progress_does_not_stay_when_there_is_none(case):
    case.click(10, 8, 4)
    assert case.session.message == "Segmenting 1 slice ..."
    case.session.undo()
    assert case.session.message == "Undone: include point of A. A is empty."
    case.click(10, 8, 4)
    case.session.cancel()
    assert case.session.message == "Cancelled. A is empty."
    case.session.promptNodes[0].RemoveAllControlPoints()
    assert "..." not in case.session.message


def test_a_renamed_segment_is_named_as_it_is_called_now(case):
    case.click(10, 8, 4)
    case.finish()
    case.node.GetSegmentation().GetSegment(case.a).SetName("Segment 8 lesion")
    assert case.session.undoName == "include point of Segment 8 lesion"


def test_a_segment_deleted_by_others_takes_its_steps_along(case):
    case.session.addSegment("C")
    case.click(10, 8, 4)
    case.finish()
    case.node.GetSegmentation().RemoveSegment(case.session.segmentId)
    assert not case.session.canUndo and case.session.undoName == ""


@pytest.mark.parametrize("end", ["cancel", "nothing"])
def test_a_search_without_a_result_leaves_no_segment_and_no_segmentation(case, end):
    case.session.close()
    case.scene.RemoveNode(case.node)
    session = case.session = type(case.session)(case.scene, case.worker, case.pool)
    session.setVolume(case.volume_node)
    before = case.scene.GetNumberOfNodes()
    session.addSegment("Liver tumor", isProvisional=True)
    assert session.find("mobile-sam")
    if end == "cancel":
        session.cancel()
    else:
        case.finish()  # the fake network fails or finds nothing
    assert case.scene.GetNumberOfNodes() == before
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode", case.scene)
    assert not session.canUndo and session.segmentationNode is None


def test_a_cancelled_search_keeps_a_segment_that_the_user_has_added(case):
    case.session.addSegment("C")
    added = case.session.segmentId
    case.session.find("mobile-sam")
    case.session.cancel()
    assert added in segments(case) and case.session.segmentId == added
