"""Livers made of formulas, and plans of tumors without randomness: for tests of synthetic tumors."""

import numpy as np

from SAMLiverTumorLib.training.synthetic.paint_tumors import TumorPlan, paint
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
