"""Slice images are views where they can be, equal to ITK's where they cannot, and masks find their voxels."""

import numpy as np
import pytest
import SimpleITK as sitk
from geometry import rotation
from scipy import ndimage

from SAMLiverTumorLib.image.sampling import mask_to_voxels, sample_plane, voxels_to_slice_mask
from SAMLiverTumorLib.plane import ORIENTATIONS, oblique_plane, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume


@pytest.fixture(scope="module")
def volume():
    """24 x 20 x 10 voxels of noise, 0.7 x 1.4 x 4.9 mm, lying oblique and left-handed, far from the origin."""
    array = np.random.default_rng(1).integers(-1000, 1500, (10, 20, 24)).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = rotation((3, 1, 2), 20) * [-0.7, 1.4, 4.9]
    affine[:3, 3] = [-412.0, 333.0, -1510.0]
    return Volume(array, affine, "CT")


def center_of(volume):
    middle = [(n - 1) / 2 for n in volume.dimensions]
    return (volume.ijk_to_ras @ [*middle, 1])[:3]


def view(turn, point):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, point
    return matrix


def view_along(plane, point):
    """The matrix of a slice view that shows a straight plane's slice image: right, up, normal."""
    return view(plane.to_ras[:3, :3] / np.linalg.norm(plane.to_ras[:3, :3], axis=0) * [1, -1, 1], point)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_slice_is_a_read_only_view_of_the_voxels(volume, name):
    for step in (-1, 0, 1):
        image = sample_plane(volume, slice_plane(volume, name, 3), step)
        assert np.shares_memory(image, volume.array)
        assert not image.flags.writeable


@pytest.mark.parametrize("turn", [((1, 2, 3), 35), ((1, 0, 0), 45), ((0, 1, 0), 80), ((2, -1, 1), 140)], ids=str)
def test_oblique_slice_images_equal_itks_linear_resampling(volume, turn):
    plane = oblique_plane(volume, view(rotation(*turn), center_of(volume)))
    image = sitk.GetImageFromArray(volume.array.astype(np.float32))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    frame = np.diag([-1.0, -1.0, 1.0, 1.0]) @ plane.to_ras
    rows, columns = plane.shape
    # ITK wants a right-handed grid; the slice image is one slice thick, so that the normal's sign is free
    directions = frame[:3, :3] / np.linalg.norm(frame[:3, :3], axis=0)
    expected = sitk.Resample(
        image,
        (columns, rows, 1),
        sitk.Transform(),
        sitk.sitkLinear,
        frame[:3, 3].tolist(),
        plane.spacing,
        directions.ravel().tolist(),
        float(volume.array.min()),
    )
    image = sample_plane(volume, plane)
    assert image.shape == (rows, columns)
    assert (image > volume.array.min()).mean() > 0.3
    assert image == pytest.approx(sitk.GetArrayFromImage(expected)[0], abs=0.02)  # of values up to 1500


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_an_oblique_plane_on_a_slice_shows_its_values_also_on_the_first_and_last(volume, name):
    for index in (0, 4, slice_count(volume, name) - 1):
        straight = slice_plane(volume, name, index)
        corner = straight.to_ras[:3, 3]
        plane = oblique_plane(volume, view_along(straight, corner))
        image, expected = sample_plane(volume, plane), sample_plane(volume, straight)
        rows, columns = straight.shape
        for row in range(rows):
            for column in range(columns):
                u, v, _ = plane.from_ras((straight.to_ras @ [column, row, 0, 1])[:3])[0]
                # all spacings are multiples of the finest, so that voxel centers are pixel centers
                assert image[round(v), round(u)] == pytest.approx(expected[row, column], abs=0.02)


def test_a_volume_of_one_slice_can_be_seen_obliquely():
    array = np.arange(12, dtype=np.int16).reshape(1, 3, 4)
    volume = Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    plane = oblique_plane(volume, np.diag([-1.0, 1.0, 1.0, 1.0]))
    u, v, _ = np.rint(plane.from_ras([0, 0, 0])[0]).astype(int)
    assert (sample_plane(volume, plane)[v : v + 3, u : u + 4] == array[0]).all()


def test_outside_the_volume_the_slice_image_has_its_least_value(volume):
    plane = oblique_plane(volume, view(rotation((1, 2, 3), 35), center_of(volume)))
    assert sample_plane(volume, plane)[0, 0] == volume.array.min()


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_mask_drawn_on_a_slice_comes_back_as_drawn(volume, name):
    plane = slice_plane(volume, name, 7)
    image = np.random.default_rng(2).random(plane.shape) > 0.6
    mask = mask_to_voxels(image, plane, volume)
    assert mask.count == image.sum()
    assert (voxels_to_slice_mask(mask.full(), plane) == image).all()
    other = slice_plane(volume, name, 6)
    assert not voxels_to_slice_mask(mask.full(), other).any()


@pytest.mark.parametrize(
    "turn", [((1, 2, 3), 35), ((1, 0, 0), 45), ((0, 1, 0), 90), ((2, -1, 1), 140), ((0, 0, 1), 0)], ids=str
)
def test_an_oblique_mask_is_one_layer_without_holes(volume, turn):
    plane = oblique_plane(volume, view(rotation(*turn), center_of(volume)))
    mask = mask_to_voxels(np.ones(plane.shape, bool), plane, volume).full()
    # height above the plane of every voxel, in mm, computed from the view alone
    normal = rotation(*turn)[:, 2]
    k, j, i = np.indices(mask.shape)
    ras = np.stack([i, j, k], axis=-1) @ volume.ijk_to_ras[:3, :3].T + volume.ijk_to_ras[:3, 3]
    height = (ras - center_of(volume)) @ normal
    steps = np.abs(normal @ volume.ijk_to_ras[:3, :3])
    dominant = 2 - int(np.argmax(steps))  # array axis
    per_column = mask.sum(axis=dominant)
    crossing = (height.min(axis=dominant) <= 0) & (height.max(axis=dominant) >= 0)
    assert crossing.sum() > 15
    assert (per_column[crossing] == 1).all()
    assert per_column.max() == 1
    assert np.abs(height[mask]).max() <= steps.max() / 2 + 1e-6
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1


def test_a_mask_halfway_between_two_slices_is_one_slice_thick():
    volume = Volume(np.zeros((10, 20, 24), np.int16), np.diag([-0.7, -0.7, 5.0, 1.0]))
    plane = oblique_plane(volume, view(np.diag([-1.0, 1.0, 1.0]), [-5.0, -5.0, 22.5]))
    mask = mask_to_voxels(np.ones(plane.shape, bool), plane, volume)
    assert mask.origin[2] == 5
    assert mask.count == 20 * 24


def test_an_oblique_mask_lands_where_its_pixels_are():
    volume = Volume(np.zeros((40, 40, 40), np.int16), np.diag([-1.0, 1.0, 1.5, 1.0]))
    center = np.array([-20.0, 18.0, 30.0])
    plane = oblique_plane(volume, view(rotation((1, 1, 0), 40), center))
    rows, columns = np.indices(plane.shape)
    u, v, _ = plane.from_ras(center)[0]
    image = (columns - u) ** 2 + (rows - v) ** 2 <= 8.0**2  # pixels of 1 mm
    mask = mask_to_voxels(image, plane, volume)
    kji = np.argwhere(mask.full())
    ras = kji[:, ::-1] * [-1.0, 1.0, 1.5]
    assert ras.mean(axis=0) == pytest.approx(center, abs=0.5)
    assert np.linalg.norm(ras - center, axis=1).max() < 9.0
    # a disc's area, seen along the axis the plane crosses most directly (S, at 40 degrees)
    assert mask.count == pytest.approx(np.pi * 64 * np.cos(np.radians(40)), rel=0.05)


def test_an_empty_oblique_slice_image_is_an_empty_mask(volume):
    plane = oblique_plane(volume, view(rotation((1, 2, 3), 35), center_of(volume)))
    assert mask_to_voxels(np.zeros(plane.shape, bool), plane, volume).count == 0
