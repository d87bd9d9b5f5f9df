"""Volume and markups nodes become core types without being changed (invariant 1), defined points only."""

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mrml.application.headless_scene import createScene, inSlicerApplication
from SAMLiverTumorLib.mrml.nodes.conversions import (
    ROLE_ATTRIBUTE,
    addVolumeNode,
    createPromptNodes,
    definedPointsRas,
    promptsFromNodes,
    volumeFromNode,
)
from SAMLiverTumorLib.volume import Volume


@pytest.fixture
def scene():
    return createScene()


def add_transform(scene, matrix):
    transform_node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform_node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.array(matrix, float)))
    return transform_node.GetID()


def test_scenes_can_be_made_one_after_the_other_without_a_word(capfd):
    first = createScene()
    first.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "left behind")
    second = createScene()
    assert not inSlicerApplication()
    assert slicer.mrmlScene is second
    assert second.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert first.GetFirstNodeByName("left behind") is not None
    assert capfd.readouterr() == ("", "")


def test_a_scene_is_not_replaced_inside_the_application(monkeypatch):
    monkeypatch.setattr(slicer, "app", object(), raising=False)
    with pytest.raises(RuntimeError, match=r"slicer\.mrmlScene"):
        createScene()


def test_volume_shares_the_nodes_voxels_and_cannot_change_them(scene, phantom):
    volume_node = addVolumeNode(scene, phantom)
    volume = volumeFromNode(volume_node)
    assert np.array_equal(volume.array, phantom.array)
    assert np.allclose(volume.ijk_to_ras, phantom.ijk_to_ras)
    assert volume.name == "phantom"
    assert np.shares_memory(volume.array, slicer.util.arrayFromVolume(volume_node))
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    # the node has a copy of its own
    assert not np.shares_memory(volume.array, phantom.array)


def test_volume_position_includes_nested_parent_transforms(scene, phantom):
    volume_node = addVolumeNode(scene, phantom)
    outer = add_transform(scene, [[1, 0, 0, 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    inner = add_transform(scene, [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 7], [0, 0, 0, 1]])
    scene.GetNodeByID(inner).SetAndObserveTransformNodeID(outer)
    volume_node.SetAndObserveTransformNodeID(inner)
    # voxel 0 lies at (101.5, 40.25, -312): a quarter turn about S, 7 up, then 100 to the right
    assert np.allclose(volumeFromNode(volume_node).ijk_to_ras[:3, 3], (100 - 40.25, 101.5, -305))


def test_volumes_that_are_not_scalar_images_are_refused(scene):
    with pytest.raises(InputError, match="No volume is selected"):
        volumeFromNode(None)
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    with pytest.raises(InputError, match="'Nothing' has no image data"):
        volumeFromNode(empty)
    color = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 5, 6)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    image.GetPointData().GetScalars().Fill(0)
    color.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="'Photo' has 4 array dimensions"):
        volumeFromNode(color)


def test_only_defined_points_count(scene):
    include_node, exclude_node, roi_node = createPromptNodes(scene)
    include_node.AddControlPointWorld(10, -20, 35)
    include_node.AddControlPointWorld(1, 2, 3)
    include_node.UnsetNthControlPointPosition(1)
    assert include_node.GetNumberOfControlPoints() == 2
    prompts = promptsFromNodes(include_node, exclude_node, roi_node)
    assert prompts.include.tolist() == [[10, -20, 35]]
    assert prompts.exclude.shape == (0, 3)
    assert prompts.box is None


def test_a_point_under_the_mouse_does_not_count_until_it_is_placed(scene):
    include_node, _, _ = createPromptNodes(scene)
    include_node.AddControlPointWorld(10, -20, 35)
    # what Slicer's place mode does while the mouse moves
    include_node.SetControlPointPlacementStartIndex(1)
    index = include_node.AddControlPoint((0, 0, 0))
    include_node.ResetNthControlPointPosition(index)
    status = include_node.GetNthControlPointPositionStatus(index)
    assert status != slicer.vtkMRMLMarkupsNode.PositionDefined
    assert definedPointsRas(include_node).tolist() == [[10, -20, 35]]
    include_node.SetNthControlPointPositionWorld(index, 4, 5, 6)
    assert definedPointsRas(include_node).tolist() == [[10, -20, 35], [4, 5, 6]]


def test_points_and_box_are_in_world_coordinates_under_a_scaling_transform(scene):
    include_node, exclude_node, roi_node = createPromptNodes(scene)
    exclude_node.AddControlPoint((1, 2, 3))
    roi_node.SetCenter(1, 2, 3)
    roi_node.SetSize(10, 20, 30)
    # twice as long along R, then a quarter turn about S, then moved
    transform_id = add_transform(scene, [[0, -1, 0, 5], [2, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    for node in (exclude_node, roi_node):
        node.SetAndObserveTransformNodeID(transform_id)
    prompts = promptsFromNodes(include_node, exclude_node, roi_node)
    assert np.allclose(prompts.exclude, [[3, 8, 10]])
    assert np.allclose(prompts.box.center, (3, 8, 10))
    assert np.allclose(prompts.box.size, (20, 20, 30))
    assert np.allclose(np.abs(prompts.box.axes), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    low, high = prompts.box.corners.min(axis=0), prompts.box.corners.max(axis=0)
    assert np.allclose(low, (-7, -2, -5))
    assert np.allclose(high, (13, 18, 25))


def test_a_rotated_roi_gives_a_rotated_box(scene):
    _, _, roi_node = createPromptNodes(scene)
    cosine, sine = 0.8, 0.6
    matrix = [[cosine, -sine, 0, 11], [sine, cosine, 0, -4], [0, 0, 1, 30], [0, 0, 0, 1]]
    roi_node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(np.array(matrix)))
    roi_node.SetSize(20, 10, 6)
    box = promptsFromNodes(roiNode=roi_node).box
    # the corner at (+10, +5, +3) in the box's own axes
    assert np.allclose(box.corners[-1], (11 + 8 - 3, -4 + 6 + 4, 33))
    assert box.contains([[11 + 0.8 * 9.9, -4 + 0.6 * 9.9, 30]]).all()
    assert not box.contains([[11 + 9.9, -4 + 4.9, 30]]).any()


def test_a_flat_roi_is_a_box_and_one_not_drawn_is_none(scene):
    _, _, roi_node = createPromptNodes(scene)
    roi_node.SetCenter(1, 2, 3)
    assert promptsFromNodes(roiNode=roi_node).box is None
    roi_node.SetSize(8, 0, 0)
    assert promptsFromNodes(roiNode=roi_node).box is None
    roi_node.SetSize(8, 6, 0)
    assert promptsFromNodes(roiNode=roi_node).box.size.tolist() == [8, 6, 0]
    assert promptsFromNodes().kinds == frozenset()


def test_our_prompt_nodes_are_known_by_attribute_and_the_users_are_only_read(scene):
    roles = [node.GetAttribute(ROLE_ATTRIBUTE) for node in createPromptNodes(scene)]
    assert roles == ["include", "exclude", "box"]
    users = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    users.AddControlPointWorld(1, 2, 3)
    users.SetNthControlPointLabel(0, "portal vein")
    modified = users.GetMTime()
    promptsFromNodes(users)
    assert users.GetMTime() == modified
    assert users.GetAttribute(ROLE_ATTRIBUTE) is None


def test_a_ct_is_shown_at_a_liver_window_and_other_images_at_their_own(scene, phantom):
    display = addVolumeNode(scene, phantom).GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (350, 60)
    from dataclasses import replace

    eight_bit = replace(phantom, array=np.clip(phantom.array, 0, 255).astype(np.uint8))
    assert addVolumeNode(scene, eight_bit).GetDisplayNode().GetAutoWindowLevel()


@pytest.mark.parametrize(("low", "high", "window", "level"), [(-1000, 400, 350, 60), (1000, 1101, 100, 1050)])
def test_a_ct_and_any_other_volume_are_shown_at_its_own_window(low, high, window, level):
    values = np.random.default_rng(0).integers(low, high, (20, 64, 64)).astype(np.int16)
    displayNode = addVolumeNode(createScene(), Volume(values, np.eye(4), "volume")).GetDisplayNode()
    assert displayNode.GetWindow() == pytest.approx(window, abs=5)
    assert displayNode.GetLevel() == pytest.approx(level, abs=5)
