"""Tumors painted into livers made of formulas: outline, intensity, edge, mass effect, vessels."""

import dataclasses

import numpy as np
import pytest
from liver_case import (
    ANISOTROPIC,
    AROUND_HU,
    HU_AT_ZERO,
    HU_PER_LEVEL,
    ISOTROPIC,
    LIVER_HU,
    VESSEL_HU,
    ball,
    distance,
    healthy,
    painted,
    volume_of,
    with_vessel,
)
from scipy import ndimage

from SAMLiverTumorLib.training.synthetic.paint_tumors import TumorPlan
from SAMLiverTumorLib.volume import Volume


def test_a_tumor_at_the_surface_is_cut_off_by_it_and_nothing_outside_the_liver_changes():
    volume, liver, (k, j, i) = healthy()
    plan = ball((k, j, i + 40), 12.0, mass_effect=0.25, elastic=0.15, capsule=True)
    voxels, tumor = painted(volume, liver, plan)
    assert not (tumor & ~liver).any()
    assert 0.3 < tumor.sum() / 1000.0 / plan.volume_ml < 0.85
    np.testing.assert_array_equal(voxels[~liver], volume.array[~liver])


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
def test_voxels_beyond_the_reach_keep_their_values(spacing):
    volume, liver, center = healthy(spacing)
    plan = ball(center, 8.0, mass_effect=0.3, elastic=0.22, capsule=True, edge_mm=2.0, blotch_hu=10.0)
    voxels, _ = painted(volume, liver, plan)
    away = distance(liver.shape, spacing, center)
    assert plan.reach_mm < 25.0
    np.testing.assert_array_equal(voxels[away > plan.reach_mm], volume.array[away > plan.reach_mm])
    assert (voxels[away < 8.0] != volume.array[away < 8.0]).mean() > 0.9


@pytest.mark.parametrize("offset", [-60.0, -25.0, 40.0])
def test_the_core_differs_from_the_liver_by_the_offset(offset):
    volume, liver, center = healthy()
    plan = ball(center, 14.0, hu_offset=offset, elastic=0.12, mass_effect=0.15, blotch_hu=4.0, blotch_mm=2.0)
    voxels, tumor = painted(volume, liver, plan)
    core = tumor & (distance(liver.shape, ISOTROPIC, center) < 9.0)
    assert voxels[core].mean() - LIVER_HU == pytest.approx(offset, abs=4.0)


def test_few_large_blotches_leave_the_mean_at_the_offset():
    volume, liver, center = healthy()
    plan = ball(center, 12.0, blotch_hu=18.0, blotch_mm=6.0, edge_mm=0.3)
    for seed in range(3):
        voxels, tumor = painted(volume, liver, plan, seed)
        assert voxels[tumor].mean() - LIVER_HU == pytest.approx(-60.0, abs=4.0)


def test_the_tumor_is_as_noisy_as_its_liver():
    volume, liver, center = healthy(noise_hu=18.0)
    voxels, _ = painted(volume, liver, ball(center, 16.0))
    core = distance(liver.shape, ISOTROPIC, center) < 12.0
    assert voxels[core].std() == pytest.approx(18.0, rel=0.12)


def test_blotches_add_to_the_noise_in_quadrature():
    volume, liver, center = healthy(noise_hu=5.0)
    voxels, _ = painted(volume, liver, ball(center, 24.0, blotch_hu=12.0, blotch_mm=2.0))
    core = distance(liver.shape, ISOTROPIC, center) < 19.0
    assert voxels[core].std() == pytest.approx(13.0, rel=0.15)


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
@pytest.mark.parametrize("radii", [(6.0, 6.0, 6.0), (20.0, 14.0, 11.0)])
def test_the_radius_is_the_one_asked_for_however_deformed(spacing, radii):
    volume, liver, center = healthy(spacing)
    plan = TumorPlan(tuple(map(float, center)), radii, (0.4, -0.7, 1.1), elastic=0.22)
    for seed in range(3):
        _, tumor = painted(volume, liver, plan, seed)
        radius = np.cbrt(tumor.sum() * np.prod(spacing) / (4 / 3 * np.pi))
        assert radius == pytest.approx(np.cbrt(np.prod(radii)), rel=0.05)


def test_anisotropic_voxels_get_a_ball_in_millimeters():
    volume, liver, center = healthy((3.0, 0.75, 1.5))
    _, tumor = painted(volume, liver, ball(center, 15.0))
    points = np.argwhere(tumor) * (3.0, 0.75, 1.5)
    # a ball's standard deviation along any axis is its radius by the root of 5
    np.testing.assert_allclose(points.std(axis=0), 15.0 / np.sqrt(5), rtol=0.04)


def test_rotation_turns_the_long_axis():
    volume, liver, center = healthy()
    # a quarter turn about j takes the axis k to i
    plan = dataclasses.replace(ball(center, 8.0), radii_mm=(20.0, 8.0, 8.0), rotation=(0.0, np.pi / 2, 0.0))
    _, tumor = painted(volume, liver, plan)
    np.testing.assert_allclose(np.argwhere(tumor).std(axis=0) * np.sqrt(5), (8.0, 8.0, 20.0), rtol=0.05)


def test_elastic_deformation_leaves_no_ellipsoid():
    volume, liver, center = healthy()
    away = distance(liver.shape, ISOTROPIC, center)
    spread = []
    for elastic in (0.0, 0.2):
        _, tumor = painted(volume, liver, ball(center, 16.0, elastic=elastic))
        spread.append(away[tumor & ~ndimage.binary_erosion(tumor)].std())
    assert spread[0] < 0.5 and spread[1] > 1.2


def test_the_edge_is_an_error_function_of_the_width_asked_for():
    volume, liver, center = healthy(noise_hu=0.0)
    voxels, _ = painted(volume, liver, ball(center, 18.0, edge_mm=3.0))
    away = distance(liver.shape, ISOTROPIC, center)
    # normal distribution at 0, 1 and 2 sigmas outside
    for at, share in ((18.0, 0.5), (21.0, 0.159), (24.0, 0.023)):
        shell = np.abs(away - at) < 0.5
        assert voxels[shell].mean() == pytest.approx(LIVER_HU - 60.0 * share, abs=1.5)


def test_a_capsule_is_brighter_than_the_liver_just_outside():
    volume, liver, center = healthy()
    away = distance(liver.shape, ISOTROPIC, center)
    shell = np.abs(away - 16.5) < 0.75
    plain, _ = painted(volume, liver, ball(center, 15.0, edge_mm=0.7))
    enclosed, mask = painted(volume, liver, ball(center, 15.0, edge_mm=0.7, capsule=True))
    assert enclosed[shell].mean() > LIVER_HU + 15.0 > plain[shell].mean() + 10.0
    assert not (mask & shell).any()


def test_mass_effect_pushes_what_lies_outside_away_from_the_center():
    volume, liver, center = healthy(noise_hu=0.0)
    k, j, i = center
    # bright, but too small for a vessel that would be spared
    mark = distance(liver.shape, ISOTROPIC, (k, j, i + 17)) < 2.5
    volume = volume_of(np.where(mark, VESSEL_HU, volume.array), ISOTROPIC)
    shifts = []
    for mass_effect in (0.0, 0.2):
        voxels, _ = painted(volume, liver, ball(center, 12.0, mass_effect=mass_effect, edge_mm=0.5))
        excess = np.clip(voxels.astype(float) - LIVER_HU, 0, None)
        shifts.append((excess.sum(axis=(0, 1)) @ np.arange(liver.shape[2])) / excess.sum() - (i + 17))
    # 0.2 * 12 mm at the border, none at 1.6 radii, a parabola between
    assert shifts[0] == pytest.approx(0.0, abs=0.05)
    assert shifts[1] == pytest.approx(2.4 * ((1.6 - 17 / 12) / 0.6) ** 2, abs=0.15)


def test_what_is_no_liver_is_not_pushed_into_it():
    volume, liver, (k, j, i) = healthy(noise_hu=0.0)
    fissure = ((np.arange(liver.shape[2]) >= i + 13) & (np.arange(liver.shape[2]) < i + 15))[None, None]
    volume = volume_of(np.where(fissure, AROUND_HU, volume.array), ISOTROPIC)
    liver = liver & ~fissure
    voxels, _ = painted(volume, liver, ball((k, j, i), 12.0, mass_effect=0.3))
    assert voxels[liver].min() > LIVER_HU - 60.0 - 15.0


def test_large_vessels_are_neither_covered_nor_part_of_the_tumor():
    volume, liver, (k, j, i) = healthy()
    volume, vessel = with_vessel(volume, liver, (k, j, i), 5.0)
    voxels, tumor = painted(volume, liver, ball((k, j, i + 9), 12.0, elastic=0.1))
    near = vessel & (distance(liver.shape, ISOTROPIC, (k, j, i + 9)) < 11.0)
    inner = near & (distance(liver.shape, (0.0, 1.0, 1.0), (k, j, i)) < 4.0)
    assert inner.sum() > 300
    assert not (tumor & inner).any()
    np.testing.assert_array_equal(voxels[inner], volume.array[inner])
    assert tumor.sum() > 3000


def test_a_tumor_that_a_large_vessel_divides_grows_on_one_side_alone():
    volume, liver, (k, j, i) = healthy()
    plate = liver & (np.abs(np.arange(liver.shape[1]) - j) < 4)[:, None]
    volume = volume_of(np.where(plate, VESSEL_HU, volume.array), ISOTROPIC)
    voxels, tumor = painted(volume, liver, ball((k, j + 6, i), 14.0))
    assert ndimage.label(tumor)[1] == 1
    beyond = liver & (np.arange(liver.shape[1]) < j - 4)[:, None]
    beyond &= distance(liver.shape, ISOTROPIC, (k, j + 6, i)) < 12.5
    assert beyond.sum() > 50
    np.testing.assert_array_equal(voxels[beyond], volume.array[beyond])


def test_grey_of_8_bits_gets_the_offset_in_hu():
    hu, liver, center = healthy()
    grey = np.clip((hu.array - HU_AT_ZERO) / HU_PER_LEVEL, 0, 255)
    volume = volume_of(grey, ISOTROPIC, np.uint8)
    voxels, _ = painted(volume, liver, ball(center, 14.0), hu_per_level=HU_PER_LEVEL)
    core = distance(liver.shape, ISOTROPIC, center) < 10.0
    assert voxels.dtype == np.uint8
    # 60 HU are 38.25 of 255 levels of a window 400 HU wide
    assert voxels[core].mean() - volume.array[core].mean() == pytest.approx(-38.25, abs=2.0)


def test_values_stay_within_the_range_of_the_volume():
    hu, liver, center = healthy(noise_hu=0.0, dtype=np.float32)
    volume = Volume(np.clip(hu.array, 80, 115), hu.ijk_to_ras)
    voxels, _ = painted(volume, liver, ball(center, 14.0, capsule=True))
    assert voxels.dtype == np.float32
    assert (voxels.min(), voxels.max()) == (80.0, 110.0)


def test_the_volume_itself_is_not_changed():
    volume, liver, center = healthy()
    before = volume.array.tobytes()
    voxels, _ = painted(volume, liver, ball(center, 10.0))
    assert volume.array.tobytes() == before != voxels.tobytes()
    voxels[0, 0, 0] = 1


def test_a_tumor_at_the_end_of_the_volume_keeps_its_size():
    volume, liver, (_, j, i) = healthy()
    half, part = Volume(volume.array[48:], volume.ijk_to_ras), liver[48:]
    _, tumor = painted(half, part, ball((0, j, i), 12.0, elastic=0.1, mass_effect=0.2))
    # the plane through its center holds a disk, half of the ball lies in the volume
    assert tumor[0].sum() == pytest.approx(np.pi * 12**2, rel=0.2)
    assert tumor.sum() == pytest.approx(2 / 3 * np.pi * 12**3 + np.pi * 12**2 / 2, rel=0.15)
