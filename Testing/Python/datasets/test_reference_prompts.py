"""Which components are trials, and the prompts that they imply."""

import numpy as np

from SAMLiverTumorLib.datasets.reference_prompts import (
    box_around,
    deepest_point,
    evenly,
    largest_error,
    shares,
    slice_trials,
)
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.volume import Volume


def test_components_of_fifty_pixels_are_trials_and_touch_at_corners():
    tumor = np.zeros((4, 40, 40), bool)
    tumor[1, 2:9, 2:9] = True  # 49
    tumor[2, 2:7, 2:12] = True  # 50
    tumor[3, 2:7, 2:7] = tumor[3, 7:12, 7:12] = True  # 25 and 25, joined at a corner
    volume = Volume(np.zeros(tumor.shape, np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    found = slice_trials(volume, tumor)
    assert {index: [int(mask.sum()) for mask in masks] for index, masks in found.items()} == {2: [50], 3: [50]}
    assert np.array_equal(found[2][0], voxels_to_slice_mask(tumor, slice_plane(volume, "axial", 2)))


def test_box_lies_two_pixels_outside_and_the_point_deepest():
    mask = np.zeros((30, 40), bool)
    mask[10:21, 8:19] = True
    assert box_around(mask) == (5.5, 7.5, 20.5, 22.5)
    assert deepest_point(mask) == (13, 15)


def test_next_click_lies_deepest_in_the_largest_error_of_either_kind():
    reference, marked = np.zeros((2, 40, 40), bool)
    reference[5:16, 5:16] = True
    marked[5:16, 5:16] = True
    assert largest_error(marked, reference) is None
    marked[8:11, 8:11] = False  # 9 missing
    assert largest_error(marked, reference) == ((9, 9), True)
    marked[30:35, 20:25] = True  # 25 too many
    assert largest_error(marked, reference) == ((32, 22), False)


def test_errors_that_touch_at_a_corner_are_one_and_the_border_is_no_depth():
    reference = np.zeros((20, 20), bool)
    reference[10:14, 10:13] = True  # 12
    reference[0:3, 0:3] = reference[3:6, 3:6] = True  # 9 and 9
    place, include = largest_error(np.zeros_like(reference), reference)
    assert include
    assert place in ((1, 1), (4, 4))


def test_depth_goes_by_spacing():
    # 5 x 9 voxels of 4 x 1 mm: along the second axis, borders are nearer
    reference = np.zeros((20, 20), bool)
    reference[4:7, 2:17] = True
    reference[4:9, 2:5] = True
    tall = largest_error(np.zeros_like(reference), reference, (4.0, 1.0))[0]
    assert tall[0] == 5
    assert 5 <= tall[1] <= 13


def test_objects_count_whole_to_the_trial_they_share_most_with_and_strays_to_none():
    trials = [np.zeros((20, 30), bool) for _ in range(2)]
    trials[0][2:8, 2:8] = True
    trials[1][2:8, 12:18] = True
    marked = np.zeros((20, 30), bool)
    marked[4, 6:16] = True  # 2 pixels of the first, 4 of the second
    marked[7, 2] = True
    marked[15, 25] = True
    first, second = shares(marked, trials)
    assert first.sum() == 1
    assert first[7, 2]
    assert second.sum() == 10
    assert not (first | second)[15, 25]
    assert [each.sum() for each in shares(np.zeros_like(marked), trials)] == [0, 0]


def test_slices_of_a_quick_look_are_spread_evenly():
    assert evenly(range(10, 21), 3) == [10, 15, 20]
    assert evenly([4, 5], 3) == [4, 5]
    assert evenly(range(9), 1) == [4]
    assert evenly(range(5), None) == [0, 1, 2, 3, 4]
