"""Synthetic tumors in livers made of formulas, and in real CT where `../shared` lies beside the checkout."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.training.synthetic.paint_tumors import SIZES, TumorPlan, paint, plan_tumors
from SAMLiverTumorLib.training.synthetic.smooth_noise import smooth_noise
from SAMLiverTumorLib.volume import Volume

LIVER_HU, AROUND_HU, VESSEL_HU = 110.0, -90.0, 190.0
HU_PER_LEVEL, HU_AT_ZERO = 400 / 255, -160.0
ISOTROPIC, ANISOTROPIC = (1.0, 1.0, 1.0), (4.0, 0.8, 0.8)


def millimeters(shape, spacing, center):
    """Offsets (k, j, i) of all voxels from a voxel, in millimeters."""
    return [(n - c) * s for n, c, s in zip(np.indices(shape, sparse=True), center, spacing, strict=True)]


def distance(shape, spacing, center):
    return np.sqrt(sum(np.square(x) for x in millimeters(shape, spacing, center)))


def healthy(spacing=ISOTROPIC, extent_mm=96.0, radius_mm=44.0, noise_hu=12.0, dtype=np.int16):
    """A ball of liver without vessels: (volume, liver, its central voxel)."""
    shape = tuple(round(extent_mm / s) for s in spacing)
    center = tuple(n // 2 for n in shape)
    liver = distance(shape, spacing, center) < radius_mm
    noise = np.random.default_rng(0).normal(0, noise_hu, shape)
    hu = np.where(liver, LIVER_HU, AROUND_HU) + noise
    return volume_of(hu, spacing, dtype), liver, center


def volume_of(hu, spacing, dtype=np.int16):
    return Volume(np.rint(hu).astype(dtype), np.diag([*spacing[::-1], 1.0]), "phantom")


def with_vessel(volume, liver, center, radius_mm):
    """A bright cylinder along k through (j, i) of a voxel: (volume, the cylinder in the liver)."""
    spacing = volume.spacing[::-1]
    _, j, i = millimeters(liver.shape, spacing, center)
    vessel = liver & (np.hypot(j, i) < radius_mm)
    return volume_of(np.where(vessel, volume.array + (VESSEL_HU - LIVER_HU), volume.array), spacing), vessel


def ball(center, radius_mm, **look):
    """A plan without any randomness of its shape or filling, unless asked for."""
    still = {"elastic": 0.0, "mass_effect": 0.0, "blotch_hu": 0.0, "hu_offset": -60.0, "edge_mm": 1.0}
    return TumorPlan(tuple(map(float, center)), (radius_mm,) * 3, **{**still, **look})


def painted(volume, liver, plan, seed=1, **options):
    return paint(volume, liver, [plan], np.random.default_rng(seed), **options)


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


@pytest.mark.parametrize("radius_mm", [1.5, 3.0])
def test_no_center_lies_in_a_vessel(radius_mm):
    spacing = (2.0, 1.0, 1.0)
    volume, liver, (k, j, i) = healthy(spacing)
    vessels = np.zeros(liver.shape, bool)
    for dj, di in np.stack(np.meshgrid((-24, -8, 8, 24), (-24, -8, 8, 24)), -1).reshape(-1, 2):
        volume, vessel = with_vessel(volume, liver, (k, j + dj, i + di), radius_mm)
        vessels |= vessel
    assert 0.01 < vessels[liver].mean() < 0.15
    centers = [
        tuple(int(x) for x in plan.center)
        for seed in range(10)
        for plan in plan_tumors(volume, liver, np.random.default_rng(seed), 10, ["tiny"])
    ]
    assert len(centers) > 60
    assert all(liver[center] and not vessels[center] for center in centers)


def test_planned_tumors_stay_apart():
    volume, liver, _ = healthy(radius_mm=46.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        plans = plan_tumors(volume, liver, rng, 6, ["small"])
        assert len(plans) > 3
        _, tumor = paint(volume, liver, plans, rng)
        assert ndimage.label(ndimage.binary_dilation(tumor))[1] == len(plans)


def test_every_size_asked_for_is_there():
    volume, liver, _ = healthy((3.0, 2.0, 2.0), extent_mm=150.0, radius_mm=70.0)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        plans = plan_tumors(volume, liver, rng)
        volumes = []
        for plan in plans:
            _, tumor = paint(volume, liver, [plan], rng)
            volumes.append(tumor.sum() * 12 / 1000.0)
        found = [name for ml in volumes for name, (low, high) in SIZES.items() if low * 0.9 <= ml < high]
        assert sorted(found) == sorted(SIZES)
        # the liver has 1437 ml
        assert max(volumes) < 1437 / 3


def test_a_small_liver_gets_a_smaller_tumor_and_a_speck_none():
    volume, liver, _ = healthy(radius_mm=20.0)
    (plan,) = plan_tumors(volume, liver, np.random.default_rng(0), 1, ["giant"])
    assert plan.volume_ml <= 33.6 / 3
    volume, liver, _ = healthy(radius_mm=2.5)
    with pytest.raises(InputError, match="no place for a tumor of 3 mm"):
        plan_tumors(volume, liver, np.random.default_rng(0), 1, ["tiny"])


def test_the_same_seed_gives_the_same_bytes():
    volume, liver, _ = healthy(ANISOTROPIC)

    def run(seed):
        rng = np.random.default_rng(seed)
        plans = plan_tumors(volume, liver, rng, 3, ["tiny", "small"])
        return plans, *paint(volume, liver, plans, rng)

    (plans, voxels, tumor), (again, voxels2, tumor2), (other, voxels3, _) = run(5), run(5), run(6)
    assert plans == again and plans != other
    assert voxels.tobytes() == voxels2.tobytes() != voxels3.tobytes()
    assert tumor.tobytes() == tumor2.tobytes()


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


def test_masks_and_sizes_that_cannot_be_used_are_refused():
    volume, liver, center = healthy()
    rng = np.random.default_rng(0)
    empty = np.zeros_like(liver)
    for call in (lambda m: plan_tumors(volume, m, rng), lambda m: paint(volume, m, [ball(center, 5.0)], rng)):
        with pytest.raises(InputError, match="empty"):
            call(empty)
        with pytest.raises(InputError, match="needs bool of shape"):
            call(liver[1:])
        with pytest.raises(InputError, match="needs bool of shape"):
            call(liver.astype(np.uint8))
    with pytest.raises(InputError, match="'huge'"):
        plan_tumors(volume, liver, rng, sizes=["huge"])
    with pytest.raises(InputError, match="needs liver to grow in"):
        paint(volume, liver, [ball((0, 0, 0), 3.0)], rng)


@pytest.mark.parametrize("spacing", [ISOTROPIC, ANISOTROPIC])
def test_smooth_noise_is_standard_and_smooth_in_millimeters(spacing):
    field = smooth_noise((60, 160, 160), spacing, 4.0, np.random.default_rng(0))
    assert field.dtype == np.float32
    assert field.std() == pytest.approx(1.0, abs=0.1)
    for axis, size in enumerate(spacing):
        lag = round(8.0 / size)  # two sigmas: exp(-1)
        a, b = np.moveaxis(field, axis, 0)[lag:], np.moveaxis(field, axis, 0)[:-lag]
        assert (a * b).mean() / field.var() == pytest.approx(np.exp(-1), abs=0.08)


def test_real_liver_gets_tumors_as_noisy_as_it_is(shared_data):
    volume = read_volume(shared_data / "chaos3" / "dicom")
    liver = read_volume(shared_data / "chaos3" / "liver.nii.gz").array > 0
    rng = np.random.default_rng(2)
    plans = plan_tumors(volume, liver, rng, 3, ["tiny", "small", "medium"])
    voxels, tumor = paint(volume, liver, plans, rng)
    assert voxels.dtype == volume.array.dtype
    np.testing.assert_array_equal(voxels[~liver], volume.array[~liver])
    assert not (tumor & ~liver).any()
    assert ndimage.label(tumor, np.ones((3, 3, 3)))[1] == 3
    plan = plans[0]
    core = distance(liver.shape, volume.spacing[::-1], plan.center) < 0.6 * min(plan.radii_mm)
    before, after = volume.array[core], voxels[core].astype(float)
    assert np.median(after) - np.median(volume.array[liver]) == pytest.approx(plan.hu_offset, abs=12.0)
    assert after.std() == pytest.approx(np.hypot(before.std(), plan.blotch_hu), rel=0.25)


def test_grey_of_lits_gets_the_planned_contrast(shared_data):
    volume = read_volume(shared_data / "lits8" / "liver_1_ct8.nii.gz")
    liver = read_volume(shared_data / "lits8" / "liver_1_label.nii.gz").array == 1
    rng = np.random.default_rng(3)
    plans = plan_tumors(volume, liver, rng, 2, ["small", "medium"], HU_PER_LEVEL)
    # the mean of few blotches in a small core is anything
    plans = [dataclasses.replace(plan, blotch_hu=0.0) for plan in plans]
    voxels, tumor = paint(volume, liver, plans, rng, HU_PER_LEVEL)
    assert voxels.dtype == np.uint8
    for plan in plans:
        away = distance(liver.shape, volume.spacing[::-1], plan.center)
        core, around = tumor & (away < 0.6 * min(plan.radii_mm)), liver & ~tumor & (away < 2.5 * max(plan.radii_mm))
        contrast = (voxels[core].mean() - np.median(volume.array[around])) * HU_PER_LEVEL
        assert contrast == pytest.approx(plan.hu_offset, abs=8.0)
