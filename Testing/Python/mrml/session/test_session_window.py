"""A CT whose window shows no liver gets the liver window, once, as an undoable step."""

import numpy as np
import pytest
import slicer
from session_case import Case

from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.nodes.liver_window import LEVEL, WIDTH, DisplayWindow
from SAMLiverTumorLib.volume import Volume


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


def shown(case, node=None):
    display = (node or case.volume_node).GetDisplayNode()
    return display.GetWindow(), display.GetLevel(), bool(display.GetAutoWindowLevel())


def look_at(case, width, level):
    case.volume_node.GetDisplayNode().SetAutoWindowLevel(False)
    case.volume_node.GetDisplayNode().SetWindowLevel(width, level)


@pytest.mark.parametrize(
    ("width", "level", "shows"),
    [
        (2377, 170, False),  # the sample case as Slicer opens it
        (1500, -600, False),  # lung
        (2000, 300, False),  # bone
        (80, 40, False),  # brain: enhanced liver is white
        (150, 30, True),  # the radiologist's liver window
        (350, 60, True),
        (400, 40, True),  # soft tissue
        (100, 60, True),
    ],
)
def test_a_window_in_which_lesions_do_not_differ_from_liver_is_replaced(case, width, level, shows):
    look_at(case, width, level)
    assert case.session.showLiver() != shows
    assert shown(case) == ((width, level, False) if shows else (350, 60, False))
    assert case.session.canUndo != shows


def test_undo_restores_the_window_before_and_redo_the_liver_window(case):
    case.volume_node.GetDisplayNode().SetAutoWindowLevel(True)
    look_at(case, 2377, 170)
    case.session.showLiver()
    assert case.session.message == "CT is shown in the liver window, -115 to 235 HU."
    case.click(10, 8, 4)
    case.finish()
    case.session.undo()
    assert case.session.undoName == "liver window of CT" and shown(case) == (WIDTH, LEVEL, False)
    case.session.undo()
    assert shown(case) == (2377, 170, False) and not case.session.canUndo
    assert case.session.message.startswith("Undone: liver window of CT.")
    case.session.redo()
    assert shown(case) == (WIDTH, LEVEL, False)
    case.session.redo()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_the_window_that_the_user_chooses_afterwards_is_kept(case):
    look_at(case, 2377, 170)
    case.session.showLiver()
    look_at(case, 2000, 300)
    assert not case.session.showLiver() and shown(case) == (2000, 300, False)
    assert case.session.showLiver(always=True) and shown(case) == (350, 60, False)


def test_other_images_than_ct_keep_their_window(case):
    node = addVolumeNode(case.scene, Volume(np.full((4, 5, 6), 900, np.int16), np.eye(4), "MR"))
    case.session.setVolume(node)
    before = shown(case, node)
    assert not case.session.showLiver() and shown(case, node) == before


def test_a_step_of_a_deleted_volume_is_skipped(case):
    look_at(case, 2377, 170)
    case.session.showLiver()
    case.scene.RemoveNode(case.volume_node)
    assert not case.session.canUndo and not case.session.undo()


def test_a_volume_without_a_display_gets_one(case):
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetAndObserveImageData(case.volume_node.GetImageData())
    case.scene.AddNode(node)
    assert DisplayWindow.of(node).exists and node.GetDisplayNode() is not None
