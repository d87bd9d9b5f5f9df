"""Label files brought onto one voxel grid."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import common_grid, onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE = np.array([[-1.5, 0, 0, 101.5], [0, -1.5, 0, 40.25], [0, 0, 4.0, -312.0], [0, 0, 0, 1]])


def oblique():
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 0.9, 2.5])
    affine[:3, 3] = (10, -20, 30)
    return affine


def labels_of(array, affine=AFFINE, from_slicer=False, name="labels"):
    values = np.unique(array)
    return LabelFile(name, (array,), {str(v): (0, int(v)) for v in values[values > 0]}, affine, from_slicer)


def world_points(labels):
    """World position (mm) of every labeled voxel with its value, rounded and sorted."""
    index = np.argwhere(labels.layers[0])
    ras = np.c_[index[:, ::-1], np.ones(len(index))] @ labels.ijk_to_ras.T
    values = labels.layers[0][tuple(index.T)]
    return sorted(map(tuple, np.round(np.c_[ras[:, :3], values], 3).tolist()))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_axis_order_and_direction_is_brought_onto_the_grid_exactly(order):
    array = np.random.default_rng(3).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    for flips in product((1, -1), repeat=3):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        dimensions = [0, 0, 0]
        for axis, source in enumerate(order):
            turn[source, axis] = flips[axis]
            dimensions[axis] = array.shape[::-1][source]
            turn[source, 3] = 0 if flips[axis] > 0 else dimensions[axis] - 1
        moved, notes = onto_grid(labels_of(array), AFFINE @ turn, tuple(dimensions))
        assert notes == ()
        assert moved.dimensions == tuple(dimensions)
        assert world_points(moved) == world_points(labels_of(array))


def test_same_grid_is_not_copied_and_single_precision_rounding_is_the_same_grid():
    array = np.ones((5, 6, 7), np.uint8)
    moved, notes = onto_grid(labels_of(array), AFFINE.astype(np.float32).astype(float) + 1e-5, (7, 6, 5))
    assert moved.layers[0] is array
    assert notes == ()


def test_shifted_grid_is_padded_and_cropped_and_tells_what_fell_outside():
    array = np.arange(1, 61, dtype=np.uint8).reshape(3, 4, 5)
    grid = AFFINE.copy()
    grid[:3, 3] = (AFFINE @ [2, -1, 1, 1])[:3]  # the grid starts at voxel i=2, j=-1, k=1
    moved, notes = onto_grid(labels_of(array), grid, (6, 4, 2))
    expected = np.zeros((2, 4, 6), np.uint8)
    expected[:, 1:, :3] = array[1:, :3, 2:]
    assert np.array_equal(moved.layers[0], expected)
    assert notes == ("42 of 60 voxels of 'labels' lie outside the grid.",)


def test_other_grid_is_resampled_by_nearest_neighbor_as_simpleitk_does():
    array = np.random.default_rng(5).integers(0, 4, (9, 10, 11)).astype(np.uint8)
    grid, size = oblique(), (14, 13, 12)
    grid[:3, 3] = (AFFINE @ [5.13, 4.71, 3.37, 1])[:3]
    moved, notes = onto_grid(labels_of(array), grid, size)
    assert "nearest neighbor" in notes[0]
    images = []
    for voxels, affine in ((array, AFFINE), (np.zeros(size[::-1], np.uint8), grid)):
        image, lps = sitk.GetImageFromArray(voxels), LPS @ affine
        image.SetSpacing(np.linalg.norm(lps[:3, :3], axis=0).tolist())
        image.SetDirection((lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        images.append(image)
    expected = sitk.Resample(images[0], images[1], sitk.Transform(), sitk.sitkNearestNeighbor)
    assert sitk.GetArrayFromImage(expected).any()
    assert np.array_equal(moved.layers[0], sitk.GetArrayFromImage(expected))


def test_resampling_reaches_the_last_labeled_voxel_and_nothing_beyond():
    # a grid of 1 mm, turned by 30 degrees, around the one labeled voxel of 2 mm, near its label map's corner
    array = np.zeros((9, 10, 11), np.uint8)
    array[7, 8, 9] = 3
    grid = np.eye(4)
    grid[:2, :2] = [[np.cos(np.pi / 6), -0.5], [0.5, np.cos(np.pi / 6)]]
    source = np.diag([2.0, 2.0, 2.0, 1.0])
    grid[:3, 3] = (18, 16, 14.3) - grid[:3, :3] @ (11, 11, 11)
    moved, _ = onto_grid(labels_of(array, source), grid, (24, 24, 24))
    index = np.argwhere(np.ones((24, 24, 24), bool))
    ras = np.c_[index[:, ::-1], np.ones(len(index))] @ grid.T
    expected = (np.abs(ras[:, :3] - (18, 16, 14)) < 1).all(axis=1)  # within half of the voxel's 2 mm
    assert expected.sum() >= 6
    assert np.array_equal(moved.layers[0].ravel() == 3, expected)
    far = grid.copy()
    far[0, 3] += 500
    assert not onto_grid(labels_of(array, source), far, (24, 24, 24))[0].layers[0].any()


def test_common_grid_is_the_references_where_the_prediction_fits_in():
    reference = labels_of(np.ones((5, 6, 7), np.uint8))
    shifted = AFFINE.copy()
    shifted[:3, 3] = (AFFINE @ [2, 3, 1, 1])[:3]
    array = np.zeros((5, 6, 7), np.uint8)
    array[:4, :3, :5] = 1  # reaches exactly the reference's last voxels; its empty voxels reach further
    affine, dimensions, notes = common_grid(labels_of(array, shifted), reference)
    assert np.array_equal(affine, AFFINE)
    assert dimensions == (7, 6, 5)
    assert ["very size" in note for note in notes] == [True]


def test_common_grid_grows_to_hold_a_prediction_outside_a_cropped_reference():
    reference = labels_of(np.ones((2, 3, 4), np.uint8), from_slicer=True)
    shifted = AFFINE.copy()
    shifted[:3, 3] = (AFFINE @ [-2, 1, 30, 1])[:3]
    prediction = labels_of(np.ones((2, 3, 4), np.uint8), shifted, from_slicer=True)
    affine, dimensions, notes = common_grid(prediction, reference)
    assert dimensions == (6, 4, 32)
    assert "reaches outside" in notes[0]
    moved = [onto_grid(x, affine, dimensions)[0] for x in (prediction, reference)]
    assert [world_points(x) for x in moved] == [world_points(x) for x in (prediction, reference)]


def test_prediction_of_another_scan_is_refused():
    far = AFFINE.copy()
    far[0, 3] += 500
    array = np.ones((2, 3, 4), np.uint8)
    with pytest.raises(InputError, match="wholly outside"):
        common_grid(labels_of(array, far), labels_of(array))
    far[:3, 3] += 50000
    with pytest.raises(InputError, match="too far apart"):
        common_grid(labels_of(array, far, from_slicer=True), labels_of(array, from_slicer=True))
