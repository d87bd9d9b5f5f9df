"""Diameters of phantoms of known size, for any orientation of the grid."""

import numpy as np
import pytest
from geometry import STORAGE_ORDERS, rotation
from scipy import ndimage
from scipy.spatial.distance import pdist

from SAMLiverTumorLib.evaluation.lesion_report.diameters import axial_diameters, axial_tilt, longest_diameter

CENTER = np.array([-31.3, 45.1, 1207.7])
THIN, THICK, CUBIC = (0.7, 0.7, 1.0), (0.8, 0.8, 5.0), (1.2, 1.2, 1.2)


def grid(spacing, size_mm, turn=None):
    """(affine, shape) of a grid around CENTER for a ball of so many mm; LPS-like axes, rotated by a 3x3 matrix."""
    axes = (np.eye(3) if turn is None else turn) @ np.diag([-1.0, -1.0, 1.0])
    dimensions = [int(size_mm / s) + 5 for s in spacing]
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    # a slice passes through the center, but no pixel's center is there
    middle = np.array([dimensions[0] / 2 + 0.2, dimensions[1] / 2 - 0.3, dimensions[2] // 2])
    affine[:3, 3] = CENTER - affine[:3, :3] @ middle
    return affine, tuple(dimensions[::-1])


def ellipsoid(affine, shape, half_axes, directions=None):
    """Voxels whose centers lie in an ellipsoid about CENTER, its axes the columns of a 3x3 rotation in RAS."""
    ijk = np.indices(shape)[::-1].reshape(3, -1)
    ras = affine[:3, :3] @ ijk + affine[:3, 3:] - CENTER[:, None]
    own = (np.eye(3) if directions is None else directions).T @ ras
    return ((own / np.array(half_axes)[:, None]) ** 2).sum(axis=0).reshape(shape) <= 1


def pixel(affine):
    """Diagonal of a pixel of the axial slices (k): the outline is accurate to half of it at each end."""
    return np.hypot(*np.linalg.norm(affine[:3, :2], axis=0))


def voxel(affine):
    return np.linalg.norm(np.linalg.norm(affine[:3, :3], axis=0))


OBLIQUE = rotation((1, 2, 3), 25)


@pytest.mark.parametrize("turn", [None, OBLIQUE, rotation((1, 0, 0), 20)], ids=["straight", "oblique", "tilted"])
@pytest.mark.parametrize("spacing", [THIN, THICK, CUBIC], ids=["thin", "thick", "cubic"])
@pytest.mark.parametrize("diameter", [12.0, 35.0])
def test_a_ball_has_its_diameter_in_every_direction(spacing, turn, diameter):
    affine, shape = grid(spacing, diameter, turn)
    mask = ellipsoid(affine, shape, [diameter / 2] * 3)
    axial = axial_diameters(mask, affine)
    assert axial.longest.mm == pytest.approx(diameter, abs=pixel(affine))
    assert axial.perpendicular.mm == pytest.approx(diameter, abs=pixel(affine))
    assert axial.product_mm2 == pytest.approx(axial.longest.mm * axial.perpendicular.mm)
    assert longest_diameter(mask, affine).mm == pytest.approx(diameter, abs=voxel(affine))


@pytest.mark.parametrize("angle", [0, 17, 45, 118])
def test_an_ellipsoid_rotated_in_the_axial_plane_has_its_two_axes(angle):
    affine, shape = grid(THIN, 64)
    directions = rotation((0, 0, 1), angle)
    mask = ellipsoid(affine, shape, (30, 16, 20), directions)
    axial = axial_diameters(mask, affine)
    assert axial.longest.mm == pytest.approx(60, abs=pixel(affine))
    assert axial.perpendicular.mm == pytest.approx(32, abs=pixel(affine))
    along = np.diff(axial.longest.ends_ras, axis=0)[0] / axial.longest.mm
    # an end may slip along the outline as far as that costs the length a pixel: 30 (1 - cos x) < 1
    assert abs(along @ directions[:, 0]) > np.cos(np.radians(15))


def test_an_ellipsoid_rotated_in_space_on_an_oblique_grid_has_its_length():
    affine, shape = grid((0.9, 0.7, 2.0), 64, OBLIQUE)
    mask = ellipsoid(affine, shape, (30, 12, 12), rotation((2, -1, 1), 73))
    longest = longest_diameter(mask, affine)
    assert longest.mm == pytest.approx(60, abs=voxel(affine))
    assert np.linalg.norm(longest.ends_ras.mean(axis=0) - CENTER) < voxel(affine)
    # a section of it is an ellipse, shorter than the ellipsoid and no narrower than its waist
    axial = axial_diameters(mask, affine)
    assert 24 - pixel(affine) < axial.perpendicular.mm <= axial.longest.mm < 60


def test_a_tilted_gantrys_sheared_grid_is_measured_in_its_slices():
    affine, shape = grid((0.8, 0.8, 3.0), 40)
    affine[1, 2] = 3.0 * np.tan(np.radians(20))
    affine[:3, 3] = CENTER - affine[:3, :3] @ (np.array(shape[::-1]) // 2)
    axial = axial_diameters(ellipsoid(affine, shape, [15] * 3), affine)
    assert axial.longest.mm == pytest.approx(30, abs=pixel(affine))
    assert axial_tilt(affine) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1, 1), (9, 1, 1), (1, 7, 2), (12, 5, 3)])
def test_a_box_is_as_long_as_its_diagonal_and_a_row_as_its_edge(size):
    affine, shape = grid(THICK, 60)
    mask = np.zeros(shape, bool)
    i, j, k = size
    mask[2 : 2 + k, 3 : 3 + j, 4 : 4 + i] = True
    axial = axial_diameters(mask, affine)
    assert axial.longest.mm == pytest.approx(0.8 * np.hypot(i, j), abs=pixel(affine))
    if j == 1:
        assert (axial.longest.mm, axial.perpendicular.mm) == pytest.approx((0.8 * i, 0.8))
    assert longest_diameter(mask, affine).mm == pytest.approx(np.linalg.norm(np.array(size) * THICK), abs=voxel(affine))
    assert axial.index == 2


@pytest.fixture(scope="module")
def blobs():
    """Irregular lesions with dents, holes and bridges, on an anisotropic grid."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(6):
        smooth = ndimage.gaussian_filter(rng.normal(size=(9, 26, 23)), (1.2, 2.0, 2.0))
        labels, _ = ndimage.label(smooth > np.quantile(smooth, 0.7))
        made.append(labels == np.bincount(labels.ravel())[1:].argmax() + 1)
    return made


def test_irregular_lesions_are_as_long_as_the_longest_of_all_pairs_of_faces(blobs):
    spacing = np.array([0.7, 0.9, 2.5])
    affine = np.diag([*spacing, 1.0])
    for mask in blobs:

        def faces(voxels, dimensions):
            steps = np.concatenate([np.eye(3), -np.eye(3)])[[*range(dimensions), *range(3, 3 + dimensions)]] / 2
            return (voxels[:, ::-1][:, None] + steps).reshape(-1, 3) * spacing

        by_slice = {}
        for k in range(len(mask)):
            islands, count = ndimage.label(mask[k], np.ones((3, 3)))
            for number in range(1, count + 1):
                j, i = np.nonzero(islands == number)
                longest = pdist(faces(np.stack([np.full_like(i, k), j, i], axis=1), 2)).max()
                by_slice[k] = max(longest, by_slice.get(k, 0))
        axial = axial_diameters(mask, affine)
        assert axial.longest.mm == pytest.approx(max(by_slice.values()))
        assert by_slice[axial.index] == pytest.approx(max(by_slice.values()))
        edge = np.argwhere(mask & ~ndimage.binary_erosion(mask))
        assert longest_diameter(mask, affine).mm == pytest.approx(pdist(faces(edge, 3)).max())


def test_the_perpendicular_is_the_longest_that_ends_on_the_outline(blobs):
    """Compared with lines every 0.01 mm through matplotlib's contour."""
    contourpy = pytest.importorskip("contourpy")
    affine = np.diag([0.7, 0.9, 2.5, 1.0])
    for mask in blobs:
        axial = axial_diameters(mask, affine)
        (a, b), ends = axial.longest.ends_ras[:, :2], axial.perpendicular.ends_ras[:, :2]
        along = (b - a) / np.linalg.norm(b - a)
        assert abs((ends[1] - ends[0]) @ along) < 1e-9
        assert np.allclose(axial.perpendicular.ends_ras[:, 2], 2.5 * axial.index)
        islands, _ = ndimage.label(mask[axial.index], np.ones((3, 3)))
        j, i = np.argwhere(islands).T
        nearest = np.argmin((i * 0.7 - a[0]) ** 2 + (j * 0.9 - a[1]) ** 2)
        island = islands == islands[j[nearest], i[nearest]]
        lines = contourpy.contour_generator(z=np.pad(island, 1).astype(float)).lines(0.5)
        points = np.concatenate([(line - 1) * (0.7, 0.9) for line in lines])
        dense = (
            np.concatenate(
                [
                    np.linspace(p, q, 60)
                    for line in lines
                    for p, q in zip((line - 1)[:-1] * (0.7, 0.9), (line - 1)[1:] * (0.7, 0.9), strict=True)
                ]
            )
            - a
        )
        t, w = dense @ along, dense @ np.array([-along[1], along[0]])
        widest = 0.0
        for step in np.arange(0, np.linalg.norm(b - a), 0.01):
            near = w[np.abs(t - step) < 0.01]
            if len(near):
                widest = max(widest, np.ptp(near))
        assert axial.perpendicular.mm == pytest.approx(widest, abs=0.05)
        assert min(np.linalg.norm(points - end, axis=1).min() for end in ends) < 0.9


def test_parts_that_do_not_touch_in_a_slice_are_measured_apart():
    mask = np.zeros((4, 10, 40), bool)
    mask[0, 4:7, 2:38] = True
    mask[0, 4:7, 20] = False
    mask[1, 4:7, 19:22] = True
    # apart in slice 0, one lesion through slice 1
    assert ndimage.label(mask)[1] == 1
    axial = axial_diameters(mask, np.diag([1.0, 1.0, 4.0, 1.0]))
    assert axial.index == 0
    assert axial.longest.mm == pytest.approx(18.1, abs=1)  # columns 2 to 19 of three rows


def test_the_perpendicular_does_not_end_in_a_dent():
    """A hook, whose convex hull is wider than any part of it."""
    mask = np.zeros((1, 30, 60), bool)
    mask[0, 20:24, 2:58] = True
    mask[0, 8:20, 54:58] = True
    axial = axial_diameters(mask, np.eye(4))
    ends = axial.perpendicular.ends_ras[:, :2]
    inside = ndimage.distance_transform_edt(~mask[0])
    assert all(inside[round(j), round(i)] <= 1 for i, j in ends)


@pytest.mark.parametrize("shape", ["ragged", "symmetric"])
def test_the_same_lesion_has_the_same_diameters_in_every_storage_order(blobs, shape):
    mask = blobs[0]
    if shape == "symmetric":
        # four diagonals are equally long, two in each of two slices
        mask = np.zeros((5, 12, 14), bool)
        mask[1:3, 3:9, 4:10] = True
    spacing = np.array([0.7, 0.9, 2.5])
    # array axes (s, a, r); positions toward right, anterior, superior
    expected = axial_diameters(mask, np.diag([*spacing, 1.0]))
    expected_3d = longest_diameter(mask, np.diag([*spacing, 1.0]))
    size = np.array(mask.shape[::-1])
    for order, signs in STORAGE_ORDERS:
        affine = np.eye(4)
        affine[:3, :3] = 0
        for n, (p, sign) in enumerate(zip(order, signs, strict=True)):
            affine[p, n] = sign * spacing[p]
            affine[p, 3] = 0 if sign > 0 else (size[p] - 1) * spacing[p]
        array = mask.transpose([2 - p for p in order[::-1]])
        array = np.flip(array, [2 - n for n in range(3) if signs[n] < 0])
        for found, wanted in (
            (axial_diameters(array, affine).longest, expected.longest),
            (axial_diameters(array, affine).perpendicular, expected.perpendicular),
            (longest_diameter(array, affine), expected_3d),
        ):
            assert found.mm == pytest.approx(wanted.mm)
            assert np.allclose(sorted(found.ends_ras.tolist()), sorted(wanted.ends_ras.tolist()), atol=1e-6)


def test_a_coronal_scan_is_measured_across_its_slices():
    """Slices 4 mm apart from posterior to anterior; the axial plane has pixels of 0.8 x 4 mm."""
    affine = np.array([[-0.8, 0, 0, 10], [0, 0, 4.0, 20], [0, -0.8, 0, 30], [0, 0, 0, 1]])
    mask = np.zeros((9, 20, 20), bool)
    mask[2:8, 5:7, 5:10] = True
    axial = axial_diameters(mask, affine)
    assert axial.longest.mm == pytest.approx(np.hypot(6 * 4.0, 5 * 0.8), abs=np.hypot(4, 0.8))
    assert axial.index in (5, 6)
    assert np.ptp(axial.longest.ends_ras[:, 2]) < 1e-9


def test_a_box_of_the_volume_gives_the_same_as_the_volume(blobs):
    affine, _ = grid(THIN, 10, OBLIQUE)
    whole = np.zeros((30, 50, 60), bool)
    whole[4:13, 11:37, 21:44] = blobs[1]
    for measure in (lambda *args: axial_diameters(*args).longest, longest_diameter):
        one, other = measure(whole, affine), measure(blobs[1], affine, (21, 11, 4))
        assert one.mm == pytest.approx(other.mm)
        assert np.allclose(one.ends_ras, other.ends_ras)
    assert axial_diameters(blobs[1], affine, (21, 11, 4)).index == axial_diameters(whole, affine).index


def test_the_tilt_of_oblique_slices_is_measured():
    assert axial_tilt(grid(THIN, 10)[0]) == pytest.approx(0, abs=1e-6)
    assert axial_tilt(grid(THIN, 10, rotation((1, 0, 0), 20))[0]) == pytest.approx(20)
    # a rotation around the long axis does not tilt the slices
    assert axial_tilt(grid(THIN, 10, rotation((0, 0, 1), 20))[0]) == pytest.approx(0, abs=1e-6)
