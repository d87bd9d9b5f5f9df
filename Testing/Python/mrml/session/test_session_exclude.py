"""An exclude click on a slice without an include prompt takes the connected piece under it away, on that slice."""

import numpy as np
import pytest
import slicer
from session_case import Case

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.segments.segments import provenance
from SAMLiverTumorLib.mrml.session.open_object import FOUND, SliceShare


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


def pieces(case):
    """Two pieces on slice 4, one of two squares that touch in a corner; the other piece goes on on slice 5."""
    mask = np.zeros(case.volume.array.shape, bool)
    mask[4, 3:6, 3:6] = mask[4, 6:8, 6:8] = True
    mask[4:6, 12:16, 14:18] = True
    return mask


def without_the_first(mask):
    left = mask.copy()
    left[4, :10, :10] = False
    return left


def find(case, mask):
    """What text has found, as the search writes it."""
    target, source = case.session.selection.current, case.session.selection.source
    share = SliceShare(None, Mask.from_array(mask, case.volume), provenance={"models": [{"name": "fake"}]})
    case.session._undo.record(target, "search")
    case.session._objects.set(target, source.key, FOUND, share)


@pytest.mark.parametrize("origin", ["found by text", "painted", "accepted"])
def test_the_piece_under_the_point_goes_and_undo_brings_it_back(case, origin):
    mask = pieces(case)
    if origin == "painted":
        case.paint(case.a, mask)
    else:
        find(case, mask)
        if origin == "accepted":
            case.session.accept()
    assert np.array_equal(case.array(), mask)
    case.click(4, 4, 4, "exclude")
    # the square that touches it in a corner belongs to it
    assert np.array_equal(case.array(), without_the_first(mask))
    assert case.session.message == f"A: {without_the_first(mask).sum()} voxels."
    assert not case.worker.waiting
    case.session.undo()
    assert np.array_equal(case.array(), mask)
    case.session.redo()
    assert np.array_equal(case.array(), without_the_first(mask))


def test_on_its_slice_only(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.click(15, 13, 4, "exclude")
    left = mask.copy()
    left[4, 12:16, 14:18] = False
    assert np.array_equal(case.array(), left) and left[5].any()


def test_removing_the_point_brings_the_piece_back_and_accepting_makes_it_last(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.click(4, 4, 4, "exclude")
    case.session.promptNodes[1].RemoveNthControlPoint(0)
    assert np.array_equal(case.array(), mask)
    case.click(7, 7, 4, "exclude")
    assert case.session.canAccept and case.session.accept()
    assert np.array_equal(case.array(), without_the_first(mask))
    assert case.session.promptNodes[1].GetNumberOfControlPoints() == 0
    case.click(15, 13, 4, "exclude")
    assert np.array_equal(case.array(), without_the_first(mask) & ~(pieces(case) & (np.arange(8) == 4)[:, None, None]))


def test_several_points_on_a_slice_take_several_pieces(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.click(4, 4, 4, "exclude")
    case.click(15, 13, 4, "exclude")
    assert not case.array()[4].any() and np.array_equal(case.array()[5], mask[5])


def test_beside_every_piece_the_user_is_asked_for_another_prompt(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.click(20, 2, 4, "exclude")
    assert np.array_equal(case.array(), mask)
    assert "There are exclude points only on axial 4" in case.session.message


def test_with_an_include_point_there_the_network_decides_as_before(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.click(15, 5, 4)
    case.click(4, 4, 4, "exclude")
    case.finish()
    assert np.array_equal(case.array(), mask | case.expected((15, 5), k=4))


def test_not_live_the_piece_goes_with_segment(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.session.live = False
    case.click(4, 4, 4, "exclude")
    assert np.array_equal(case.array(), mask)
    case.session.segment()
    assert np.array_equal(case.array(), without_the_first(mask))
    case.session.undo()
    assert np.array_equal(case.array(), mask) and not case.session.canUndo


def test_a_loaded_scene_loses_nothing_to_the_exclude_points_in_it(case):
    mask = pieces(case)
    case.session.promptNodes[1].AddControlPointWorld(*case.ras(4, 4, 4))
    case.paint(case.a, mask)
    case.session.close()
    case.session = case.new_session()
    case.look(4)
    case.click(20, 2, 6)
    case.finish()
    assert np.array_equal(case.array(), mask | case.expected((20, 2), k=6))


def test_other_segments_are_not_touched(case):
    mask = pieces(case)
    case.paint(case.a, mask)
    case.paint(case.b, mask)
    case.click(4, 4, 4, "exclude")
    assert np.array_equal(case.array(case.b), mask)
    assert slicer.mrmlScene is case.scene


def test_a_point_on_nothing_removes_nothing_that_comes_later_when_the_user_clicks_elsewhere(case):
    mask = pieces(case)
    case.click(4, 4, 4, "exclude")
    find(case, mask)
    assert np.array_equal(case.array(), mask)
    case.click(20, 2, 6)
    case.finish()
    assert np.array_equal(case.array(), mask | case.expected((20, 2), k=6))
    case.session.undo()
    assert np.array_equal(case.array(), mask)
    # another point there is said of what is there now
    case.click(15, 13, 4, "exclude")
    assert not case.array()[4].any()


def test_not_live_a_point_is_asked_again_with_segment(case):
    mask = pieces(case)
    case.session.live = False
    case.click(4, 4, 4, "exclude")
    case.session.segment()
    case.paint(case.a, mask)
    case.session.segment()
    assert np.array_equal(case.array(), without_the_first(mask))


@pytest.mark.parametrize("origin", ["found by text", "painted"])
def test_what_was_removed_is_in_the_provenance_as_long_as_it_is(case, origin):
    mask = pieces(case)
    if origin == "painted":
        case.paint(case.a, mask)
    else:
        find(case, mask)
        case.session.poll()
        case.look(2)
        case.click(4, 15, 2)
        case.finish()
    before = provenance(case.node, case.a)
    case.look(4)
    case.click(4, 4, 4, "exclude")
    (entry,) = provenance(case.node, case.a)
    # nine voxels, and four of the square in the corner
    assert entry["removed"] == {"axial 4": 13} and len(entry["prompts"]["exclude"]) == 1
    assert bool(entry.get("found")) == (origin != "painted") and "torch" in entry["versions"]
    case.session.undo()
    assert provenance(case.node, case.a) == before and np.array_equal(case.array() & mask, mask)
    case.session.redo()
    assert provenance(case.node, case.a) == [entry]
    case.session.accept()
    assert provenance(case.node, case.a) == [entry]
