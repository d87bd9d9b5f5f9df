"""Crops of lesions: where their voxels lie, what they show, and what slices and clicks become in them."""

import numpy as np
import pytest

from SAMLiverTumorLib.inference.whole_tumor.channels import SliceMask, add_ball, slices_channel, stacked
from SAMLiverTumorLib.inference.whole_tumor.crop_grid import CropGrid, crop_spacing, grid_on_slice
from SAMLiverTumorLib.inference.whole_tumor.resampling import BlockSampler, resample
from SAMLiverTumorLib.plane import oblique_plane, slice_plane
from SAMLiverTumorLib.volume import Volume

# i runs to the left by 0.7 mm, j to the back by 0.7, k upward by 3; voxel (0, 0, 0) at R 20, A 30, S -10
_AFFINE = np.array([[-0.7, 0, 0, 20.0], [0, -0.7, 0, 30.0], [0, 0, 3.0, -10.0], [0, 0, 0, 1]])


def _volume(values=None):
    return Volume(np.zeros((20, 60, 60), np.float32) if values is None else values, _AFFINE)


def test_the_first_crop_lies_on_the_slice_in_the_scale_of_its_mask():
    plane = slice_plane(_volume(), "axial", 7)
    mask = np.zeros(plane.shape, bool)
    mask[10:20, 30:54] = True  # 24 columns of 0.7 mm: 16.8 mm are 24 voxels
    grid = grid_on_slice(plane, mask)
    assert grid.spacing == pytest.approx(0.7)
    # the slice at S = -10 + 7 * 3 = 11 is a layer: 24 of 48 lie below it
    middle = np.array([20 - 0.7 * 41.5, 30 - 0.7 * 14.5, 11.0])
    place = grid.from_ras(middle[None])[0]
    assert place == pytest.approx([round(place[0]), 23.5, 23.5]) and place[0] in (23, 24)
    # up, to the back, to the left
    np.testing.assert_allclose(grid.axes.T, [[0, 0, 1], [0, -1, 0], [-1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(("extent", "spacing"), [(48.0, 2.0), (12.0, 0.5), (1.0, 4 / 24)])
def test_spacing_follows_the_extent_below_the_voxel_too(extent, spacing):
    assert crop_spacing(extent, 24) == pytest.approx(spacing)


def test_a_crop_around_a_box_has_it_in_its_middle():
    grid = CropGrid(np.eye(3), np.array([5.0, 6.0, 7.0]), 0.5, 48)
    # 4 to 17 are 14 voxels of 0.5 mm: 7 mm, which are 28 voxels of 0.25
    other = grid.around(np.array([4, 20, 20]), np.array([17, 25, 27]), 28.0)
    assert other.spacing == pytest.approx(0.25)
    assert other.center == pytest.approx([5 + (10.5 - 23.5) * 0.5, 6 + (22.5 - 23.5) * 0.5, 7.0])


def test_crop_values_are_those_of_the_patient_at_that_place():
    k, j, i = np.meshgrid(np.arange(20), np.arange(60), np.arange(60), indexing="ij")
    r, a, s = 20 - 0.7 * i, 30 - 0.7 * j, -10 + 3.0 * k
    volume = _volume((r + 2 * a - s).astype(np.float32))
    turned = np.linalg.qr(np.array([[1.0, 0.3, 0], [0.2, 1, 0.4], [0, -0.3, 1]]))[0]
    for spacing in (0.3, 0.6):
        grid = CropGrid(turned, np.array([-1.0, 9.0, 18.0]), spacing, 16)
        sampler = BlockSampler(volume.array.shape, grid.to_array(volume.ras_to_ijk), 16)
        crop = sampler.sample(sampler.blocks(volume.array))[0]
        points = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1).reshape(-1, 3)
        where = points @ grid.to_ras[:3, :3].T + grid.to_ras[:3, 3]
        assert crop.ravel() == pytest.approx(where @ [1, 2, -1], abs=1e-3)


def test_a_coarse_crop_shows_means_and_keeps_places():
    values = np.indices((40, 40, 40)).sum(axis=0).astype(np.float32)
    values[::2] += 100  # layers that every second voxel would miss, or see alone
    volume = Volume(values, np.eye(4))
    grid = CropGrid(np.eye(3)[:, ::-1], np.array([19.5, 19.5, 19.5]), 4.0, 8)
    sampler = BlockSampler(values.shape, grid.to_array(volume.ras_to_ijk), 8)
    assert sampler.factors.tolist() == [4, 4, 4]
    crop = sampler.sample(sampler.blocks(values))[0]
    # crop voxel n is centered at 5.5 + 4 n; half of the layers are brighter
    expected = np.indices((8, 8, 8)).sum(axis=0) * 4 + 3 * 5.5 + 50
    assert crop == pytest.approx(expected, abs=1e-3)


def test_outside_of_the_volume_is_black_and_back_again_is_the_same():
    volume = Volume(np.full((10, 10, 10), 7.0, np.float32), np.eye(4))
    grid = CropGrid(np.eye(3)[:, ::-1], np.array([0.0, 4.5, 4.5]), 1.0, 16)
    sampler = BlockSampler((10, 10, 10), grid.to_array(volume.ras_to_ijk), 16)
    crop = sampler.sample(sampler.blocks(volume.array))[0]
    # R = 0 lies between crop voxels 7 and 8 of the last axis: from 8 on it is inside, at R 0.5
    assert (crop[4, 5, :7] == 0).all() and crop[4, 5, 8:15] == pytest.approx(7.0)
    back = resample(crop[None], np.linalg.inv(grid.to_array(volume.ras_to_ijk)), (10, 10, 7), -3.0)[0]
    assert back[4, 4, 1:6] == pytest.approx(7.0) and (back > -3.001).all()


def test_resampling_in_parts_is_resampling(monkeypatch):
    from SAMLiverTumorLib.inference.whole_tumor import resampling

    values = np.random.default_rng(0).normal(size=(2, 7, 8, 9)).astype(np.float32)
    affine = np.array([[0.4, 0.1, 0, 1], [0, 0.5, 0.1, 0], [0.1, 0, 0.6, 1], [0, 0, 0, 1]])
    whole = resample(values, affine, (11, 10, 9))
    monkeypatch.setattr(resampling, "_AT_ONCE", 270)
    np.testing.assert_allclose(resample(values, affine, (11, 10, 9)), whole, atol=1e-5)


def test_axis_by_axis_is_the_same(monkeypatch):
    from SAMLiverTumorLib.inference.whole_tumor import resampling

    values = np.random.default_rng(0).normal(size=(2, 7, 8, 9)).astype(np.float32)
    affine = np.array([[0, 0.4, 0, -1.2], [0, 0, -0.5, 6.9], [1.3, 0, 0, -2], [0, 0, 0, 1]])
    quick = resample(values, affine, (11, 20, 18), -4.0)
    monkeypatch.setattr(resampling, "_axis_by_axis", lambda to_values: None)
    np.testing.assert_allclose(quick, resample(values, affine, (11, 20, 18), -4.0), atol=1e-4)


def test_a_slice_is_one_layer_with_an_inside_and_an_outside():
    plane = slice_plane(_volume(), "axial", 7)
    mask = np.zeros(plane.shape, bool)
    mask[10:20, 30:54] = True
    grid = grid_on_slice(plane, mask)
    channel = slices_channel(grid, [SliceMask(plane, mask)])
    layers = np.flatnonzero((channel != 0).any(axis=(1, 2)))
    assert len(layers) == 1 and set(np.unique(channel[layers[0]])) == {-1, 1}
    # 24 columns and 10 rows of voxels as large as the pixels
    assert np.count_nonzero(channel == 1) == 240 and (channel[layers[0], 19:29, 12:36] == 1).all()


@pytest.mark.parametrize("name", ["coronal", "sagittal"])
def test_a_slice_of_another_direction_is_a_layer_of_another_axis(name):
    volume = _volume()
    grid = CropGrid(np.array([[0, 0, -1.0], [0, -1, 0], [1, 0, 0]]), np.array([0.0, 10.0, 18.0]), 0.5, 16)
    plane = slice_plane(volume, name, 29)
    channel = slices_channel(grid, [SliceMask(plane, np.ones(plane.shape, bool))])
    assert np.count_nonzero(channel) == 256
    axis = 1 if name == "coronal" else 2
    assert np.count_nonzero(channel.any(axis=tuple({0, 1, 2} - {axis}))) == 1


def test_an_oblique_slice_has_no_holes():
    volume = _volume()
    tilt = np.array([[1, 0, 0], [0, np.cos(0.4), -np.sin(0.4)], [0, np.sin(0.4), np.cos(0.4)]])
    to_ras = np.eye(4)
    to_ras[:3, :3], to_ras[:3, 3] = tilt, [0, 10, 18]
    plane = oblique_plane(volume, to_ras)
    grid = CropGrid(np.array([[0, 0, -1.0], [0, -1, 0], [1, 0, 0]]), np.array([0.0, 10.0, 18.0]), 0.5, 16)
    channel = slices_channel(grid, [SliceMask(plane, np.ones(plane.shape, bool))])
    assert ((channel == 1).sum(axis=0) == 1).all()


def test_a_click_is_a_ball_of_two_voxels():
    channel = np.zeros((9, 9, 9), np.float32)
    add_ball(channel, (4, 4, 4))
    assert channel.sum() == 33 and channel[2, 4, 4] == channel[4, 4, 6] == 1 and channel[2, 5, 4] == 0
    add_ball(channel, (-30, 4, 4))
    assert channel.sum() == 33


def test_the_liver_lies_near_zero():
    zero = np.zeros((2, 2, 2), np.float32)
    assert stacked(np.full((2, 2, 2), 200.0), zero, zero, zero, zero)[:, 0, 0, 0].tolist() == [1, 0, 0, 0, 0]
