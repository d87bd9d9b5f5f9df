"""A tumor that was followed through the volume is saved with the scene, and corrections go on from it."""

import json

import numpy as np
import pytest
import slicer
from session_case import SteppedWorker
from tumor_case import BALL, MIDDLE, Tumor

from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import promptNodesInScene
from SAMLiverTumorLib.mrml.scene_files import loadScene, saveScene
from SAMLiverTumorLib.mrml.segments.segments import provenance

LEAK = np.zeros_like(BALL)
LEAK[19:26, 17:23, 26:40] = True


class Loaded(Tumor):
    """The scene of another session, saved, loaded and taken up by a new one."""

    def __init__(self, case, path, change=None):
        saveScene(case.scene, path)
        case.session.close()
        self.scene, self.volume = createScene(), case.volume
        loadScene(self.scene, path)
        self.volume_node = self.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        self.node = self.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        self.a, self.b, self.worker = case.a, case.b, SteppedWorker()
        if change is not None:
            change(self)
        self.session = self.new_session()

    def runs(self):
        return runs(self.scene)


def runs(scene):
    """The text nodes that hold runs."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLTextNode")
    return [scene.GetNthNodeByClass(n, "vtkMRMLTextNode") for n in range(count)]


def said(node):
    """What a node holds, but for the provenance, whose models have no order."""
    return {key: value for key, value in json.loads(node.GetText()).items() if key != "provenance"}


def leaking():
    """A ball with a dark vessel that leads away from it above slice 18, boxed and followed."""
    case = Tumor(BALL | LEAK)
    case.box_on(MIDDLE, high=(31, 30))
    case.follow()
    return case


def correct(case):
    """Click into the vessel; how often that asked the network."""
    before = case.pool.calls
    case.look(20)
    case.click(34, 20, 20, "exclude")
    case.finish()
    return case.pool.calls - before


def test_a_correction_after_loading_gives_what_it_gives_without(tmp_path):
    case, other = leaking(), leaking()
    expected_calls = correct(other)
    expected, before = other.array(), case.array()
    loaded = Loaded(case, tmp_path / "scene.mrb")
    assert loaded.worker.submitted == 0 and (loaded.array() == before).all()
    assert before[20, 20, 34] and not expected[20, 20, 34] and expected[8:MIDDLE].any()
    assert correct(loaded) == expected_calls
    assert (loaded.array() == expected).all()
    assert loaded.session.undo() and (loaded.array() == before).all()
    loaded.session.close()


def test_propagating_again_after_loading_does_nothing_again(tmp_path):
    loaded = Loaded(leaking(), tmp_path / "scene.mrb")
    before = loaded.array()
    loaded.look(MIDDLE)
    loaded.follow()
    assert loaded.pool.calls == 0 and (loaded.array() == before).all()
    loaded.session.close()


def test_clearing_the_prompts_after_loading_takes_back_what_was_propagated_alone(tmp_path):
    case = Tumor()
    painted = np.zeros_like(BALL)
    painted[16, 20:24, 20:24] = painted[2, 2:5, 2:5] = True
    case.paint(case.a, painted)
    case.box_on(MIDDLE)
    case.follow()
    whole = case.array()
    loaded = Loaded(case, tmp_path / "scene.mrb")
    assert len(provenance(loaded.node, loaded.a)) == 1
    loaded.session.clearAll()
    assert (loaded.array() == painted).all() and provenance(loaded.node, loaded.a) == []
    loaded.session.undo()
    assert (loaded.array() == whole).all()
    loaded.session.close()


def test_an_oblique_run_goes_on_along_its_normal(tmp_path):
    case = Tumor()
    matrix, angle = np.eye(4), np.deg2rad(30)
    matrix[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = case.ras(22, 20, MIDDLE)
    case.session.setPlane(matrix)
    case.click(22, 20, MIDDLE)
    case.finish()
    case.follow("up")
    up = case.array()
    loaded = Loaded(case, tmp_path / "scene.mrb")
    loaded.session.setPlane(matrix)
    loaded.follow("down")
    down = loaded.array()
    assert (down & up == up).all() and (down & BALL).sum() > 0.75 * BALL.sum() > (up & BALL).sum()
    loaded.session.clearAll()
    assert not loaded.array().any()
    loaded.session.close()


def test_it_is_kept_up_to_date_and_goes_with_what_it_is_about(tmp_path):
    case = leaking()
    (node,) = runs(case.scene)
    first = said(node)
    assert node.GetHideFromEditors() and node.GetStorageNode() is None
    correct(case)
    assert runs(case.scene) == [node] and said(node) != first
    case.session.undo()
    assert said(node) == first
    case.session.accept()
    assert runs(case.scene) == []
    case.session.undo()
    assert [said(each) for each in runs(case.scene)] == [first]
    case.session.undo()
    assert runs(case.scene) == [], "it was not followed yet"
    case.session.redo()
    case.node.GetSegmentation().RemoveSegment(case.a)
    assert runs(case.scene) == [] == promptNodesInScene(case.scene)


def test_after_accepting_a_loaded_scene_has_nothing_to_go_on_from(tmp_path):
    case = leaking()
    case.session.accept()
    loaded = Loaded(case, tmp_path / "scene.mrb")
    whole = loaded.array()
    loaded.session.clearAll()
    assert (loaded.array() == whole).all()
    loaded.session.close()


def test_after_accepting_what_was_drawn_and_propagated_nothing_is_open():
    case = Tumor()
    case.paint(case.a, BALL & (np.arange(len(BALL)) == MIDDLE)[:, None, None])
    case.follow()
    assert len(runs(case.scene)) == 1
    assert case.session.accept() and not case.session.canAccept and runs(case.scene) == []


def test_a_box_that_a_file_has_rounded_is_the_same_box(tmp_path):
    def nudge(loaded):
        (roi,) = (node for node in promptNodesInScene(loaded.scene) if node.IsA("vtkMRMLMarkupsROINode"))
        roi.SetCenter(np.add(roi.GetCenter(), 1e-7))

    case, other = leaking(), leaking()
    expected = correct(other)
    loaded = Loaded(case, tmp_path / "scene.mrb", nudge)
    assert correct(loaded) == expected and (loaded.array() == other.array()).all()
    loaded.session.close()


def test_a_run_is_not_that_of_another_segmentations_segment_of_the_same_id(tmp_path):
    def add(loaded):
        loaded.first, loaded.node = loaded.node, loaded.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
        loaded.node.SetReferenceImageGeometryParameterFromVolumeNode(loaded.volume_node)
        loaded.node.GetSegmentation().AddEmptySegment(loaded.a, "A")

    loaded = Loaded(leaking(), tmp_path / "scene.mrb", add)
    assert not loaded.session.canAccept
    loaded.session.setSegmentation(loaded.first)
    loaded.session.setSegment(loaded.a)
    assert loaded.session.canAccept
    loaded.session.close()


def test_a_loaded_run_is_saved_again_by_a_session_that_changes_nothing(tmp_path):
    loaded = Loaded(leaking(), tmp_path / "first.mrb")
    again = Loaded(loaded, tmp_path / "second.mrb")
    assert len(again.runs()) == 1
    correct(again)
    assert again.array()[8:MIDDLE].any() and not again.array()[20, 20, 34]
    again.session.close()


def test_voxels_changed_before_loading_have_all_but_prompted_slices_done_again(tmp_path):
    def brighten(loaded):
        array = slicer.util.arrayFromVolume(loaded.volume_node)
        array[0, 0, 0] -= 1
        loaded.volume_node.GetImageData().Modified()

    other = leaking()
    fewer = correct(other)
    loaded = Loaded(leaking(), tmp_path / "scene.mrb", brighten)
    assert correct(loaded) > fewer
    assert (loaded.array() == other.array()).all()
    loaded.session.close()


def test_prompts_removed_while_nobody_listened_leave_the_voxels_and_drop_the_run(tmp_path):
    def remove(loaded):
        for node in promptNodesInScene(loaded.scene):
            loaded.scene.RemoveNode(node)

    case = leaking()
    whole = case.array()
    loaded = Loaded(case, tmp_path / "scene.mrb", remove)
    assert not loaded.session.canAccept, "nothing is still open"
    loaded.session.clearAll()
    assert (loaded.array() == whole).all()
    loaded.session.close()


@pytest.mark.parametrize("damage", ["cut off", "no text", "another version", "bits"])
def test_a_damaged_run_is_reported_and_leaves_the_prompts_usable(tmp_path, damage):
    def spoil(loaded):
        (node,) = loaded.runs()
        said = json.loads(node.GetText())
        if damage == "bits":
            said["added"]["bits"] = said["added"]["bits"][:8]
        elif damage == "another version":
            said = {"something": "else"}
        text = {"cut off": node.GetText()[:1000], "no text": ""}.get(damage, json.dumps(said))
        node.SetText(text)

    case = leaking()
    whole = case.array()
    loaded = Loaded(case, tmp_path / "scene.mrb", spoil)
    assert "cannot be read" in loaded.session.message
    loaded.look(25)
    loaded.click(30, 20, 25)
    loaded.finish()
    assert (loaded.array() & whole == whole).all() and loaded.array()[25, 20, 30]
    loaded.session.close()
