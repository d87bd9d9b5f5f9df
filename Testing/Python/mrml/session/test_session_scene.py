"""Anything may be deleted, moved, closed, saved or loaded while a slice is on its way."""

import numpy as np
import pytest
import slicer
from session_case import Case, FakePool, SteppedWorker, small_volume

from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, promptsFromNodes
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import promptNodesInScene
from SAMLiverTumorLib.mrml.scene_files import loadScene, saveScene
from SAMLiverTumorLib.mrml.segments.segments import segmentArray
from SAMLiverTumorLib.mrml.session.prompt_session import PromptSession


@pytest.fixture
def case():
    case = Case()
    yield case
    case.session.close()


def translation(case):
    node = case.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = 30
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def test_a_transform_put_on_the_volume_in_the_middle_of_a_job_drops_its_result(case):
    case.click(10, 8, 4)
    case.worker.step()
    case.volume_node.SetAndObserveTransformNodeID(translation(case).GetID())
    lines = case.session.poll()
    assert "discarded" in lines[-1] and not case.session.busy
    case.volume_node.SetAndObserveTransformNodeID(None)
    assert not case.array().any()


def test_voxels_changed_in_the_middle_of_a_job_drop_its_result(case):
    case.click(10, 8, 4)
    slicer.util.updateVolumeFromArray(case.volume_node, case.volume.array + 1)
    case.finish()
    assert not case.array().any()
    assert "segment again" in case.session.message
    assert case.session.segment()
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_volume_and_segmentation_moved_together_after_a_click_are_written_where_the_image_shows_it(case):
    case.click(10, 8, 4)
    case.finish()
    transform = translation(case)
    for node in (case.volume_node, case.node, *case.session.promptNodes):
        node.SetAndObserveTransformNodeID(transform.GetID())
    case.session.promptNodes[0].AddControlPointWorld(*(case.ras(14, 8, 4) + 30))
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), (14, 8), k=4))
    case.session.undo()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_volume_deleted_in_the_middle_of_a_job_is_survived(case, when):
    case.click(10, 8, 4)
    if when == "after":
        case.worker.step()
    case.scene.RemoveNode(case.volume_node)
    assert case.session.volumeNode is None
    assert not case.session.busy
    case.finish()
    assert case.node.GetSegmentation().GetSegment(case.a).GetRepresentation("Binary labelmap").IsEmpty()
    case.session.promptNodes[0].AddControlPointWorld(1, 2, 3)
    assert "volume" in case.session.message
    assert not case.session.segment()
    other = addVolumeNode(case.scene, small_volume(name="Other"))
    case.session.setVolume(other)
    case.session.clearAll()
    case.click(14, 8, 4)
    case.finish()
    assert np.array_equal(case.array(volume_node=other), case.expected((14, 8), k=4))


def test_the_voxels_of_a_deleted_volume_stay_readable_for_the_job_that_runs_on_them(case):
    case.click(10, 8, 4)
    work = case.worker.waiting[0].work
    case.scene.RemoveNode(case.volume_node)
    case.volume_node = None
    [np.zeros((8, 20, 24), np.int16) for _ in range(100)]
    assert work(lambda: False).mask.count == case.expected((10, 8), k=4).sum()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_segmentation_deleted_in_the_middle_of_a_job_is_survived(case, when):
    case.click(10, 8, 4)
    if when == "after":
        case.worker.step()
    case.scene.RemoveNode(case.node)
    assert case.session.segmentationNode is None and case.session.promptNodes is None
    case.finish()
    assert not case.session.busy and not case.session.undo()
    assert promptNodesInScene(case.scene) == []
    case.session.clearAll()
    case.session.clearSlice()
    case.session.cancel()
    assert not case.session.accept() and not case.session.segment()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_segment_deleted_in_the_middle_of_a_job_is_survived(case, when):
    case.click(10, 8, 4)
    if when == "after":
        case.worker.step()
    case.node.GetSegmentation().RemoveSegment(case.a)
    assert case.session.segmentId == ""
    case.finish()
    assert case.node.GetSegmentation().GetSegmentIDs() == (case.b,)
    assert not case.array(case.b).any()
    case.session.setSegment(case.b)
    case.click(14, 8, 4)
    case.finish()
    assert np.array_equal(case.array(case.b), case.expected((14, 8), k=4))


@pytest.mark.parametrize("role", [0, 1, 2])
def test_a_prompt_node_deleted_in_the_middle_of_a_job_is_a_step_that_undo_takes_back(case, role):
    case.click(10, 8, 4)
    case.click(11, 8, 4, "exclude")
    case.draw_box((6, 5, 4), (15, 12, 4))
    case.finish()
    before, array = promptsFromNodes(*case.session.promptNodes).as_dict(), case.array()
    case.session.promptNodes[0].SetNthControlPointPositionWorld(0, *case.ras(9, 8, 4))
    moved = case.session.promptNodes
    case.scene.RemoveNode(moved[role])
    case.finish()
    left = promptsFromNodes(*(node if n != role else None for n, node in enumerate(moved)))
    assert promptsFromNodes(*case.session.promptNodes).as_dict() == left.as_dict()
    assert not np.array_equal(case.array(), array)
    assert case.session.undo() and case.session.undo()
    case.finish()
    assert promptsFromNodes(*case.session.promptNodes).as_dict() == before
    assert np.array_equal(case.array(), array)
    # the node that was made again is listened to
    case.session.promptNodes[0].SetNthControlPointPositionWorld(0, *case.ras(9, 8, 4))
    assert case.session.busy


def test_a_closed_scene_in_the_middle_of_a_job_leaves_an_empty_session_that_works_again(case):
    lines = []
    case.session.onChanged.append(lambda: lines.append(case.session.segmentId))
    case.click(10, 8, 4)
    case.worker.step()
    case.click(6, 6, 4)
    case.scene.Clear(False)
    assert not case.session.busy and not case.session.canUndo
    assert (case.session.volumeNode, case.session.segmentationNode, case.session.segmentId) == (None, None, "")
    assert lines[-1] == ""
    case.finish()
    assert not case.session.busy and not case.session.canUndo and not case.session.segment()
    case.volume_node = addVolumeNode(case.scene, case.volume)
    case.node = case.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    case.node.SetReferenceImageGeometryParameterFromVolumeNode(case.volume_node)
    case.a = case.node.GetSegmentation().AddEmptySegment("", "A")
    case.session.setVolume(case.volume_node)
    case.session.setSegmentation(case.node)
    case.session.setSegment(case.a)
    case.look(4)
    case.click(10, 8, 4)
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_a_result_for_another_volume_than_the_one_selected_now_goes_where_it_belongs(case):
    other_node = addVolumeNode(case.scene, small_volume((30, 10, 4), "Other"))
    case.click(10, 8, 4)
    case.session.setVolume(other_node)
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    case.session.setVolume(case.volume_node)
    case.look(4)
    case.click(14, 8, 4)
    case.finish()
    assert np.array_equal(case.array(), case.expected((10, 8), (14, 8), k=4))
    case.session.undo()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))


def test_prompts_of_a_saved_scene_are_taken_up_again(case, tmp_path):
    case.look(8, "coronal")
    case.click(10, 8, 4)
    case.look(4)
    case.click(14, 8, 4, "exclude")
    case.draw_box((6, 5, 4), (18, 12, 4))
    case.finish()
    array = case.array()
    saveScene(case.scene, tmp_path / "scene.mrb")
    state = case.session.selection.current.known

    case.session.close()
    scene = createScene()
    loadScene(scene, tmp_path / "scene.mrb")
    worker = SteppedWorker()
    session = PromptSession(scene, worker, FakePool())
    volume_node = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    session.setVolume(volume_node)
    session.setSegmentation(node)
    session.setSegment(case.a)
    assert len(promptNodesInScene(scene)) == 3
    assert sorted(map(id, session.promptNodes)) == sorted(map(id, promptNodesInScene(scene)))
    loaded = session.selection.current.known
    assert loaded.isSameAs(state) or np.allclose(loaded.include[0][0], state.include[0][0])
    assert [note for _, _, note in (*loaded.include, *loaded.exclude)] == ["coronal", "axial"]
    assert loaded.roi.plane == "axial 4"
    # what was saved is settled: nothing is segmented before the user does something
    assert worker.submitted == 0
    assert np.array_equal(segmentArray(node, case.a, volume_node), array)
    session.setPlane("axial", 2)
    session.promptNodes[0].AddControlPointWorld(*case.ras(6, 6, 2))
    assert worker.submitted == 1
    worker.finish()
    session.poll()
    assert np.array_equal(segmentArray(node, case.a, volume_node), array | case.expected((6, 6), k=2))
    session.undo()
    assert np.array_equal(segmentArray(node, case.a, volume_node), array)
    session.close()


def test_prompts_that_come_with_an_imported_scene_are_found_by_the_session_that_is_open(case):
    include = case.session.promptNodes[0]
    case.session.setSegment(None)
    assert not include.GetDisplayNode().GetVisibility()
    case.scene.StartState(case.scene.ImportState)
    case.scene.EndState(case.scene.ImportState)
    assert case.session.promptNodes is None
    case.session.setSegment(case.a)
    assert case.session.promptNodes[0] is include


def test_two_sessions_share_a_worker_without_taking_each_others_results(case):
    other = PromptSession(case.scene, case.worker, case.pool)
    other.setVolume(case.volume_node)
    other.setSegmentation(case.node)
    other.setSegment(case.b)
    case.click(10, 8, 4)
    case.worker.finish()
    assert other.poll() == [] and not other.busy
    case.session.poll()
    assert np.array_equal(case.array(), case.expected((10, 8), k=4))
    other.close()


def test_a_session_that_was_not_closed_does_not_disturb_the_end_of_its_scene():
    import gc

    for _ in range(3):
        case = Case()
        case.click(10, 8, 4)
        del case
        createScene()
        gc.collect()


def test_the_prompts_of_a_deleted_segment_go_with_it_though_it_was_not_chosen_since_the_scene_was_loaded(case):
    case.session.setSegment(case.b)
    case.click(10, 8, 4)
    case.finish()
    case.session.setSegment(case.a)
    case.click(6, 6, 2)
    case.finish()
    case.session.close()
    case.session = case.new_session()
    case.node.GetSegmentation().RemoveSegment(case.b)
    assert {node.GetAttribute("SAMLiverTumor.Segment") for node in promptNodesInScene(case.scene)} == {case.a}
    # a new segment may get the ID of one that is gone
    case.node.GetSegmentation().AddEmptySegment(case.b, "new")
    case.session.setSegment(case.b)
    assert promptsFromNodes(*case.session.promptNodes).kinds == frozenset()
