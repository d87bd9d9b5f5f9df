"""Probability and uncertainty in the scene: where they lie, how they look, made once."""

import numpy as np
import pytest
import slicer
import slicer.util
from geometry import rotation
from session_case import small_volume

from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
from SAMLiverTumorLib.mrml.nodes.heat_colors import heatColorNode, heatColors
from SAMLiverTumorLib.mrml.nodes.probability_nodes import (
    PROBABILITY,
    UNCERTAINTY,
    mapNode,
    mapNodes,
    showProbability,
    showUncertainty,
)
from SAMLiverTumorLib.mrml.scene_files import loadScene, saveScene
from SAMLiverTumorLib.volume import Volume, apply_affine
from SAMLiverTumorLib.voxel_map import VoxelMap

BOX = (slice(2, 5), slice(4, 9), slice(6, 14))


class Scene:
    """A scene with a CT under a transform, lying oblique; a map of random values in a box of it."""

    def __init__(self, volume=None):
        self.scene = createScene()
        self.ct = addVolumeNode(self.scene, volume or small_volume())
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation((1, 2, 3), 25), (30, -20, 400)
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        self.ct.SetAndObserveTransformNodeID(transform.GetID())
        self.volume = volumeFromNode(self.ct)
        self.values = np.random.default_rng(3).integers(0, 256, (3, 5, 8)).astype(np.uint8)

    def map(self, values=None):
        return VoxelMap.in_box(self.values if values is None else values, BOX, self.volume)

    def count(self):
        return self.scene.GetNumberOfNodes()


@pytest.fixture
def case():
    return Scene()


@pytest.mark.parametrize("show", [showProbability, showUncertainty])
def test_a_map_lies_voxel_by_voxel_over_its_ct_under_the_same_transform(case, show):
    node = show(case.scene, case.ct, "Lesion 1", case.map())
    assert node.GetTransformNodeID() == case.ct.GetTransformNodeID()
    shown = volumeFromNode(node)
    # floor of 100 / 255 of what was stored
    assert np.array_equal(shown.array, case.values.astype(int) * 100 // 255)
    assert shown.array.dtype == np.uint8
    places = [[6, 4, 2], [13, 4, 2], [6, 8, 2], [13, 8, 4]]  # (i, j, k) of corners of the box in the CT
    there = apply_affine(shown.ijk_to_ras, np.array(places) - [6, 4, 2])
    assert there == pytest.approx(apply_affine(case.volume.ijk_to_ras, places), abs=1e-6)


def test_nodes_are_named_after_the_segment_and_shown_with_zero_transparent(case):
    node = showUncertainty(case.scene, case.ct, "Läsion 1", case.map())
    assert node.GetName() == "Läsion 1 uncertainty"
    assert showProbability(case.scene, case.ct, "Läsion 1", case.map()).GetName() == "Läsion 1 probability"
    display = node.GetDisplayNode()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() > 0
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 100)
    assert not display.GetAutoWindowLevel()
    assert display.GetColorNode().GetName() == "SAM uncertainty"


def test_showing_again_changes_the_same_node_and_keeps_how_it_is_shown(case):
    node = showUncertainty(case.scene, case.ct, "A", case.map())
    node.GetDisplayNode().SetThreshold(40, 100)
    node.SetName("my name")
    before = case.count()
    smaller = VoxelMap.in_box(np.full((1, 2, 3), 255, np.uint8), (slice(7, 8), slice(0, 2), slice(1, 4)), case.volume)
    assert showUncertainty(case.scene, case.ct, "A", smaller) is node
    assert case.count() == before
    assert (volumeFromNode(node).array == 100).all()
    assert apply_affine(volumeFromNode(node).ijk_to_ras, [[0, 0, 0]]) == pytest.approx(
        apply_affine(case.volume.ijk_to_ras, [[1, 0, 7]])
    )
    assert (node.GetDisplayNode().GetLowerThreshold(), node.GetName()) == (40, "my name")


def test_the_map_follows_its_ct_to_another_transform_when_shown_again(case):
    node = showUncertainty(case.scene, case.ct, "A", case.map())
    case.ct.SetAndObserveTransformNodeID(None)
    showUncertainty(case.scene, case.ct, "A", case.map())
    assert node.GetTransformNodeID() is None


def test_maps_of_other_segments_kinds_and_volumes_are_kept_apart(case):
    other = addVolumeNode(case.scene, small_volume(name="other"))
    a = showUncertainty(case.scene, case.ct, "A", case.map())
    b = showUncertainty(case.scene, case.ct, "B", case.map())
    p = showProbability(case.scene, case.ct, "A", case.map())
    elsewhere = showUncertainty(case.scene, other, "A", case.map())
    assert len({a, b, p, elsewhere}) == 4
    assert mapNode(case.scene, case.ct, "A", UNCERTAINTY) is a
    assert mapNode(case.scene, case.ct, "A", PROBABILITY) is p
    assert mapNode(case.scene, other, "B", UNCERTAINTY) is None
    assert set(mapNodes(case.scene, case.ct)) == {a, b, p}
    assert set(mapNodes(case.scene, case.ct, "A")) == {a, p}


def test_the_ct_is_not_changed(case):
    before = case.volume.voxel_hash  # voxels and affine
    showUncertainty(case.scene, case.ct, "A", case.map())
    assert volumeFromNode(case.ct).voxel_hash == before


def test_maps_survive_saving_and_loading_the_scene(case, tmp_path):
    showUncertainty(case.scene, case.ct, "A", case.map())
    saveScene(case.scene, tmp_path / "scene.mrb")
    scene = createScene()
    loadScene(scene, tmp_path / "scene.mrb")
    (ct,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene) if n.GetName() == "CT"]
    node = mapNode(scene, ct, "A", UNCERTAINTY)
    assert np.array_equal(volumeFromNode(node).array, case.values.astype(int) * 100 // 255)
    colors = node.GetDisplayNode().GetColorNode()
    assert colors.GetName() == "SAM uncertainty"
    assert heatColorNode(scene) is colors, "the table is found again, not made twice"
    color = [0.0] * 4
    colors.GetColor(255, color)
    assert color[:3] == pytest.approx(heatColors()[255], abs=0.01)


def test_colors_grow_brighter_evenly_and_are_on_every_screen():
    colors = heatColors()
    assert colors.shape == (256, 3)
    assert colors.min() >= 0
    assert colors.max() <= 1
    # relative luminance and lightness by the formulas of sRGB and CIE, the other way round
    linear = np.where(colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, colors / 12.92)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    assert lightness == pytest.approx(np.linspace(35, 92, 256), abs=0.5)
    red, green, blue = colors[0]
    assert blue > red > green, "violet"
    red, green, blue = colors[255]
    assert min(red, green) > blue + 0.3, "yellow"


def test_a_map_of_800_slices_costs_its_box():
    array = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (800, 512, 512), (0, 0, 0))
    large = Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]), "large")
    case = Scene()
    # the node needs the CT's frame only; an image of its own would take 210 MB
    case.ct.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(large.ijk_to_ras))
    node = showUncertainty(case.scene, case.ct, "A", VoxelMap.in_box(case.values, BOX, large))
    assert node.GetImageData().GetDimensions() == (8, 5, 3)
