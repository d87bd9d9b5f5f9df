"""Plans of synthetic tumors in livers made of formulas, and in real CT if `../shared` lies beside the checkout."""

import dataclasses

import numpy as np
import pytest
from liver_case import ANISOTROPIC, HU_PER_LEVEL, ISOTROPIC, ball, distance, healthy, with_vessel
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.training.synthetic.paint_tumors import SIZES, paint, plan_tumors
from SAMLiverTumorLib.training.synthetic.smooth_noise import smooth_noise


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
