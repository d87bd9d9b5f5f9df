"""Invariant 7: in every axis order and direction, and under transforms, the mask lands where the click was.

Where it landed is looked up through VTK alone: the segment's own labelmap geometry and its transform.
"""

from itertools import permutations, product

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.sampling import mask_to_voxels
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, promptsFromNodes, volumeFromNode
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, addTumorSegment, createSegmentation, segmentArray
from SAMLiverTumorLib.plane import ORIENTATIONS, slice_at
from SAMLiverTumorLib.volume import Volume

SPACING = np.array([0.9, 1.3, 2.1])
DIMENSIONS = (30, 26, 14)
SIGNED_PERMUTATIONS = [
    np.eye(3)[:, list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


@pytest.fixture
def scene():
    return createScene()


def rotation(axis, degrees):
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return slicer.util.arrayFromVTKMatrix(transform.GetMatrix())


def affine_of(directions, origin=(-211.5, 87.25, -640.75)):
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING
    affine[:3, 3] = origin
    return affine


def add_transform(scene, matrix):
    transform_node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform_node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return transform_node


def voxel_at(segmentation_node, segment_id, point_ras):
    """Whether the segment has the voxel nearest to a world point, by VTK's own arithmetic."""
    to_node = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, segmentation_node.GetParentTransformNode(), to_node)
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    labelmap = segment.GetRepresentation("Binary labelmap")
    to_ijk = vtk.vtkMatrix4x4()
    labelmap.GetWorldToImageMatrix(to_ijk)
    index = [round(x) for x in to_ijk.MultiplyPoint([*to_node.TransformPoint(point_ras), 1.0])[:3]]
    extent = labelmap.GetExtent()
    if any(not extent[2 * a] <= index[a] <= extent[2 * a + 1] for a in range(3)):
        return False
    return labelmap.GetScalarComponentAsDouble(*index, 0) == segment.GetLabelValue()


def disc_on_plane(volume, orientation, point_ras, radius=8.0):
    """What a model would give for a click: a disc of the given radius (mm) around it, on its slice."""
    plane = slice_at(volume, orientation, point_ras)
    u, v, _ = plane.from_ras(point_ras)[0]
    rows, columns = np.indices(plane.shape)
    du, dv, _ = plane.spacing
    return mask_to_voxels(((columns - u) * du) ** 2 + ((rows - v) * dv) ** 2 <= radius**2, plane, volume)


def assert_click_lands(scene, volume_node, segmentation_node, orientation):
    """Click at an off-center world point and look up, in the world, which voxels the segment has."""
    bounds = np.zeros(6)
    volume_node.GetRASBounds(bounds)
    low, high = bounds.reshape(3, 2).T
    clicked = low + (high - low) * (0.56, 0.45, 0.53)
    include_node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    include_node.AddControlPointWorld(*clicked)
    point = promptsFromNodes(include_node).include[0]
    assert np.allclose(point, clicked)

    volume = volumeFromNode(volume_node)
    segment_id = addTumorSegment(segmentation_node, "T")
    mask = disc_on_plane(volume, orientation, point)
    added = SegmentWriter(scene, segmentation_node, volume_node).write(segment_id, mask)

    assert added.count == mask.count > 50
    assert voxel_at(segmentation_node, segment_id, point)
    # every world point within the disc's plane and radius is in, what is well beyond it is out
    plane = slice_at(volume, orientation, point)
    across, down, normal = (plane.to_ras[:3, a] / np.linalg.norm(plane.to_ras[:3, a]) for a in range(3))
    center = point - normal * float((point - plane.to_ras[:3, 3]) @ normal)
    for angle in np.radians(range(0, 360, 45)):
        outward = np.cos(angle) * across + np.sin(angle) * down
        # the nearest voxel center is at most half a diagonal, 1.3 mm, away
        assert voxel_at(segmentation_node, segment_id, center + 6.5 * outward)
        assert not voxel_at(segmentation_node, segment_id, center + 9.5 * outward)
    assert not voxel_at(segmentation_node, segment_id, center + 2.5 * normal)
    assert not voxel_at(segmentation_node, segment_id, center - 2.5 * normal)
    assert np.array_equal(segmentArray(segmentation_node, segment_id, volume_node), mask.full())


def add_volume(scene, affine):
    return addVolumeNode(scene, Volume(np.zeros(DIMENSIONS[::-1], np.int16), affine, "CT"))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_mask_lands_on_the_click_in_all_48_axis_orientations(scene, orientation):
    assert len({tuple(d.ravel()) for d in SIGNED_PERMUTATIONS}) == 48
    for directions in SIGNED_PERMUTATIONS:
        volume_node = add_volume(scene, affine_of(directions))
        assert_click_lands(scene, volume_node, createSegmentation(scene, volume_node), orientation)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("handedness", (1, -1))
def test_mask_lands_on_the_click_in_an_oblique_volume_far_from_the_origin(scene, orientation, handedness):
    directions = rotation((1, 2, 3), 23)[:3, :3] * (handedness, 1, 1)
    volume_node = add_volume(scene, affine_of(directions, origin=(1210.5, -873.1, 2044.2)))
    assert_click_lands(scene, volume_node, createSegmentation(scene, volume_node), orientation)


TRANSFORMS = {"translated": np.array([[1, 0, 0, 31.7], [0, 1, 0, -12.2], [0, 0, 1, 45.9], [0, 0, 0, 1]])}
TRANSFORMS["rotated"] = TRANSFORMS["translated"] @ rotation((3, -1, 2), 37)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("directions", [np.eye(3), SIGNED_PERMUTATIONS[29]], ids=["straight", "permuted"])
def test_mask_lands_on_the_click_under_a_parent_transform(scene, name, directions):
    volume_node = add_volume(scene, affine_of(directions))
    volume_node.SetAndObserveTransformNodeID(add_transform(scene, TRANSFORMS[name]).GetID())
    segmentation_node = createSegmentation(scene, volume_node)
    assert segmentation_node.GetTransformNodeID() == volume_node.GetTransformNodeID()
    assert_click_lands(scene, volume_node, segmentation_node, "axial")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_mask_lands_on_the_click_when_only_the_volume_is_under_a_transform(scene, name):
    volume_node = add_volume(scene, affine_of(np.eye(3)))
    segmentation_node = createSegmentation(scene, volume_node)
    volume_node.SetAndObserveTransformNodeID(add_transform(scene, TRANSFORMS[name]).GetID())
    assert segmentation_node.GetParentTransformNode() is None
    assert_click_lands(scene, volume_node, segmentation_node, "coronal")


def test_mask_lands_on_the_click_when_volume_and_segmentation_are_under_different_transforms(scene):
    volume_node = add_volume(scene, affine_of(np.eye(3)))
    segmentation_node = createSegmentation(scene, volume_node)
    volume_node.SetAndObserveTransformNodeID(add_transform(scene, TRANSFORMS["rotated"]).GetID())
    segmentation_node.SetAndObserveTransformNodeID(add_transform(scene, rotation((0, 1, 1), -15)).GetID())
    assert_click_lands(scene, volume_node, segmentation_node, "sagittal")


def test_existing_segments_on_another_grid_are_refused_and_not_resampled(scene):
    volume_node = add_volume(scene, affine_of(np.eye(3)))
    segmentation_node = createSegmentation(scene, volume_node)
    segment_id = addTumorSegment(segmentation_node, "A")
    writer = SegmentWriter(scene, segmentation_node, volume_node)
    volume = volumeFromNode(volume_node)
    center = volume.ijk_to_ras @ (15, 13, 7, 1)
    writer.write(segment_id, disc_on_plane(volume, "axial", center[:3]))
    before = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation_node, segment_id).copy()

    volume_node.SetAndObserveTransformNodeID(add_transform(scene, TRANSFORMS["rotated"]).GetID())
    moved = volumeFromNode(volume_node)
    center = moved.ijk_to_ras @ (15, 13, 7, 1)
    with pytest.raises(InputError, match="same transform"):
        writer.write(segment_id, disc_on_plane(moved, "axial", center[:3]))
    after = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation_node, segment_id)
    assert np.array_equal(before, after)


def test_a_mask_made_before_the_volume_was_moved_is_refused(scene):
    volume_node = add_volume(scene, affine_of(np.eye(3)))
    segmentation_node = createSegmentation(scene, volume_node)
    volume = volumeFromNode(volume_node)
    mask = disc_on_plane(volume, "axial", (volume.ijk_to_ras @ (15, 13, 7, 1))[:3])
    transform_id = add_transform(scene, TRANSFORMS["translated"]).GetID()
    volume_node.SetAndObserveTransformNodeID(transform_id)
    segmentation_node.SetAndObserveTransformNodeID(transform_id)
    with pytest.raises(InputError, match="moved"):
        SegmentWriter(scene, segmentation_node, volume_node).write(addTumorSegment(segmentation_node, "A"), mask)


def test_a_nonlinear_transform_is_refused_with_the_remedy(scene):
    volume_node = add_volume(scene, affine_of(np.eye(3)))
    transform_node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for point in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
        points.InsertNextPoint(point)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(4, 60, 45, 50)
    spline.SetBasisToR()
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    transform_node.SetAndObserveTransformToParent(spline)
    volume_node.SetAndObserveTransformNodeID(transform_node.GetID())
    with pytest.raises(InputError, match=r"'CT'.*'Warp'.*harden"):
        volumeFromNode(volume_node)
