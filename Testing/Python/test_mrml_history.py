"""One undo step holds a prompt and its mask together."""

import numpy as np
import pytest
import slicer.util

from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.bootstrap import createScene
from SAMLiverTumorLib.mrml.history import PromptHistory
from SAMLiverTumorLib.mrml.nodes import addVolumeNode, createPromptNodes, promptsFromNodes, volumeFromNode
from SAMLiverTumorLib.mrml.segments import SegmentWriter, addTumorSegment, createSegmentation, segmentArray


class Case:
    def __init__(self, phantom):
        self.scene = createScene()
        self.volume_node = addVolumeNode(self.scene, phantom)
        self.node = createSegmentation(self.scene, self.volume_node)
        self.a, self.b = addTumorSegment(self.node, "A"), addTumorSegment(self.node, "B")
        self.volume = volumeFromNode(self.volume_node)
        self.writer = SegmentWriter(self.scene, self.node, self.volume_node)
        self.include, self.exclude, self.roi = self.prompt_nodes = createPromptNodes(self.scene)
        self.history = PromptHistory(self.writer, self.prompt_nodes)

    def box(self, i0, i1):
        return Mask.from_array(np.ones((4, 10, i1 - i0), bool), self.volume, (i0, 30, 5))

    def write(self, mask):
        self.history.added = self.writer.write(self.a, mask, previous=self.history.added)

    def state(self):
        prompts = promptsFromNodes(*self.prompt_nodes).as_dict()
        added = None if self.history.added is None else self.history.added.full().sum()
        return prompts, segmentArray(self.node, self.a, self.volume_node).tobytes(), added


@pytest.fixture
def case(phantom):
    return Case(phantom)


def test_undo_takes_back_prompt_and_mask_together_and_redo_restores_both(case):
    states = [case.state()]

    def step(prompt, mask):
        case.history.record()
        prompt()
        if mask is not None:
            case.write(mask)
        states.append(case.state())

    def turn_roi():
        matrix = [[0.8, -0.6, 0, 3], [0.6, 0.8, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]]
        case.roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(np.array(matrix)))

    def draw_roi():
        case.roi.SetCenter(1, 2, 3)
        case.roi.SetSize(20, 30, 40)

    step(lambda: case.include.AddControlPointWorld(1, 2, 3), case.box(10, 20))
    step(lambda: case.exclude.AddControlPointWorld(4, 5, 6), case.box(10, 15))
    step(draw_roi, None)
    step(turn_roi, case.box(12, 30))
    step(lambda: case.include.SetNthControlPointPositionWorld(0, 7, 8, 9), case.box(12, 30))
    step(lambda: case.include.RemoveNthControlPoint(0), case.box(11, 12))
    assert len({repr(state) for state in states}) == 7

    for _ in range(2):
        for state in states[-2::-1]:
            assert case.history.canUndo
            assert case.history.undo()
            assert case.state() == state
        assert not case.history.undo()
        for state in states[1:]:
            assert case.history.canRedo
            assert case.history.redo()
            assert case.state() == state
        assert not case.history.redo()


def test_after_undo_a_new_step_writes_on_as_if_the_undone_one_had_never_been(case):
    case.history.record()
    case.write(case.box(10, 20))
    case.history.record()
    case.write(case.box(10, 30))
    case.history.undo()
    case.history.record()
    case.write(case.box(15, 25))
    assert not case.history.canRedo
    assert np.array_equal(segmentArray(case.node, case.a, case.volume_node), case.box(15, 25).full())
    case.history.undo()
    assert np.array_equal(segmentArray(case.node, case.a, case.volume_node), case.box(10, 20).full())
    case.history.undo()
    assert not segmentArray(case.node, case.a, case.volume_node).any()


def test_a_click_heard_of_after_it_was_made_is_undone_to_before_it(case):
    before = case.history.snapshot()
    case.include.AddControlPointWorld(1, 2, 3)
    case.history.record(before)
    case.write(case.box(10, 20))
    case.history.undo()
    assert promptsFromNodes(*case.prompt_nodes).kinds == frozenset()
    case.history.redo()
    assert promptsFromNodes(*case.prompt_nodes).include.tolist() == [[1, 2, 3]]


def test_the_users_markups_and_other_segments_stay_untouched(case):
    mine = case.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    mine.AddControlPointWorld(1, 2, 3)
    case.writer.write(case.b, case.box(12, 18))
    other = segmentArray(case.node, case.b, case.volume_node)
    modified = mine.GetMTime()
    for n in range(3):
        case.history.record()
        case.include.AddControlPointWorld(n, 0, 0)
        case.write(case.box(10, 20 + n))
    while case.history.undo():
        assert np.array_equal(segmentArray(case.node, case.b, case.volume_node), other)
    while case.history.redo():
        assert np.array_equal(segmentArray(case.node, case.b, case.volume_node), other)
    assert mine.GetMTime() == modified


def test_nodes_that_are_not_ours_are_refused(case):
    mine = case.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    with pytest.raises(ValueError, match="'Mine' is not a prompt node"):
        PromptHistory(case.writer, [case.include, mine])


def test_labels_and_a_point_being_placed_survive_undo(case):
    case.include.AddControlPointWorld(1, 2, 3)
    case.include.SetNthControlPointLabel(0, "seed")
    case.history.record()
    case.include.RemoveAllControlPoints()
    placing = case.include.AddControlPoint((0, 0, 0))
    case.include.ResetNthControlPointPosition(placing)
    case.history.undo()
    assert promptsFromNodes(case.include).include.tolist() == [[1, 2, 3]]
    assert case.include.GetNumberOfControlPoints() == 2
    assert "seed" in [case.include.GetNthControlPointLabel(n) for n in range(2)]


def test_the_last_steps_can_be_taken_back_after_more_steps_than_are_kept(case):
    # as many as the writer keeps by default, and some more; all columns of the phantom are used
    states = []
    for n in range(85):
        states.append(case.state())
        case.history.record()
        case.include.AddControlPointWorld(n, 0, 0)
        case.write(case.box(10, 11 + n))
    case.history.levels = 50
    for n in range(20):
        states.append(case.state())
        case.history.record()
        case.exclude.AddControlPointWorld(n, 0, 0)
        case.write(case.box(10, 95 - n))
    for state in states[:-51:-1]:
        assert case.history.undo()
        assert case.state() == state
    assert not case.history.canUndo


def test_at_least_50_steps_can_be_taken_back(case):
    states = []
    for n in range(60):
        states.append(case.state())
        case.history.record()
        case.include.AddControlPointWorld(n, 0, 0)
        case.write(case.box(10, 11 + n))
    for state in reversed(states):
        assert case.history.undo()
        assert case.state() == state
