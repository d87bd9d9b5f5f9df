"""Surface distances: against analytic geometry, and against MONAI on random shapes."""

import numpy as np
import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SurfaceDistances, surface_distances


def ball(shape, center, radius, spacing):
    grid = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    return sum((x - c) ** 2 for x, c in zip(grid, center, strict=True)) <= radius**2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_three_voxels_apart_are_three_times_the_spacing_of_their_axis_apart(axis):
    spacing = (2.5, 0.7, 0.8)
    a, b = np.zeros((2, 20, 24, 22), bool)
    index = [slice(None)] * 3
    index[axis] = 5
    a[tuple(index)] = True
    index[axis] = 8
    b[tuple(index)] = True
    result = surface_distances(a, b, spacing)
    distance = 3 * spacing[axis]
    assert result.hd95_mm == pytest.approx(distance)
    assert result.assd_mm == pytest.approx(distance)
    assert result.surface_dice == 0.0  # 7.5, 2.1 and 2.4 mm are all beyond 2 mm
    assert surface_distances(a, b, spacing, tolerance_mm=distance).surface_dice == 1.0


def test_concentric_balls_are_the_difference_of_their_radii_apart_whatever_the_spacing():
    spacing = (2.0, 0.5, 0.8)
    shape = (31, 124, 78)
    center = tuple((n - 1) * s / 2 for n, s in zip(shape, spacing, strict=True))
    inner, outer = (ball(shape, center, radius, spacing) for radius in (12.0, 20.0))
    result = surface_distances(inner, outer, spacing)
    # the centers of surface voxels lie up to a voxel inside of either sphere
    assert result.assd_mm == pytest.approx(8.0, abs=0.5)
    assert result.hd95_mm == pytest.approx(8.0, abs=1.5)
    assert result.surface_dice == 0.0
    assert surface_distances(inner, outer, spacing, tolerance_mm=10.0).surface_dice == 1.0


def test_shifted_ball_is_the_shift_apart_at_its_farthest():
    a = ball((40, 40, 40), (19, 19, 19), 12, (1, 1, 1))
    result = surface_distances(np.roll(a, 6, axis=2), a, (1, 1, 1))
    # at an angle t to the shift d surfaces are about d |cos t| apart: uniform between 0 and 6 over a sphere
    assert result.assd_mm == pytest.approx(3.0, abs=0.35)
    assert result.hd95_mm == pytest.approx(0.95 * 6, abs=0.4)
    assert result.surface_dice == pytest.approx(2 / 6, abs=0.07)


def test_few_stray_voxels_leave_the_95th_percentile_alone():
    a = ball((30, 30, 60), (15, 15, 15), 10, (1, 1, 1))
    b = a.copy()
    b[15, 15, 55] = True
    assert surface_distances(b, a, (1, 1, 1)).hd95_mm == 0.0
    assert surface_distances(b, a, (1, 1, 1)).assd_mm == pytest.approx(30 / (2 * surface_count(a) + 1), rel=1e-6)


def surface_count(mask):
    """Voxels with a face to the outside, counted with shifted copies."""
    padded = np.pad(mask, 1)
    inside = padded.copy()
    for axis in range(mask.ndim):
        inside &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return int(np.count_nonzero(padded & ~inside))


def test_empty_masks_follow_the_rule():
    empty, one = np.zeros((2, 4, 4, 4), bool)
    one[1, 1, 1] = True
    assert surface_distances(empty, empty, (1, 1, 1)) == SurfaceDistances(0.0, 0.0, 1.0)
    for pair in ((empty, one), (one, empty)):
        assert surface_distances(*pair, (1, 1, 1)) == SurfaceDistances(None, None, 0.0)


def test_masks_of_different_shape_are_refused():
    with pytest.raises(InputError, match="same grid"):
        surface_distances(np.ones((1, 2, 3), bool), np.ones((2, 2, 3), bool), (1, 1, 1))


def test_position_in_the_volume_and_the_volumes_size_change_nothing():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 6, 7, 8)) < 0.4
    around = ((30, 4), (0, 50), (9, 1))
    spacing = (3.0, 0.5, 0.9)
    small, large = surface_distances(a, b, spacing), surface_distances(np.pad(a, around), np.pad(b, around), spacing)
    assert (large.hd95_mm, large.surface_dice) == pytest.approx((small.hd95_mm, small.surface_dice))
    assert large.assd_mm == pytest.approx(small.assd_mm)


@pytest.mark.parametrize("shape, spacing", [((9, 12, 10), (2.5, 0.7, 0.8)), ((24, 30), (0.7, 1.3))])
def test_equal_to_monai_on_random_shapes(shape, spacing):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(11)
    for share in (0.05, 0.3, 0.8):
        a, b = rng.random((2, *shape)) < share
        result = surface_distances(a, b, spacing)
        given = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b)]
        hd95 = metrics.compute_hausdorff_distance(*given, include_background=True, percentile=95, spacing=spacing)
        assd = metrics.compute_average_surface_distance(
            *given, include_background=True, symmetric=True, spacing=spacing
        )
        dice = metrics.compute_surface_dice(*given, [2.0], include_background=True, spacing=spacing)
        assert result.hd95_mm == pytest.approx(float(hd95), rel=1e-5)
        assert result.assd_mm == pytest.approx(float(assd), rel=1e-5)
        assert result.surface_dice == pytest.approx(float(dice), rel=1e-5)
