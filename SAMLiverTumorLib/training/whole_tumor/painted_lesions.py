"""Lesions painted into a part of a liver in a few hundredths of a second: for training only.

The recipe of `training/synthetic/paint_tumors.py` takes four to ten times as long. Here nothing is pushed aside and
vessels are not looked for; instead some of the liver's own structure shows through, as in `flat_lesions.py`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from SAMLiverTumorLib.image.lesion_components import label_lesions
from SAMLiverTumorLib.training.end_to_end.flat_lesions import LEVELS_PER_HU, contrast_hu
from SAMLiverTumorLib.training.synthetic.smooth_noise import smooth_noise

# The border's distance from the center varies by the exponential of smooth noise: smoothness relative to the mean
# radius, and deviation, drawn for each lesion up to these.
_BENT = ((0.6, 0.22), (0.25, 0.1))
# How far from its center a lesion reaches, as a factor on the largest semi-axis.
_REACH = 1.5


def paint_lesion(
    grey: np.ndarray,
    liver: np.ndarray,
    taken: np.ndarray,
    spacing: np.ndarray,
    center: np.ndarray,
    radii_mm: np.ndarray,
    turned: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Paint one lesion in place.

    :param grey: float32 (k, j, i), 0 to 255 of the wide window; changed in the liver alone.
    :param liver: bool of the same shape.
    :param taken: bool, lesions that are there already; they keep their voxels.
    :param spacing: (3,) millimeters along (k, j, i).
    :param center: (3,) index (k, j, i), may be fractional or outside.
    :param radii_mm: (3,) semi-axes.
    :param turned: (3, 3) their directions in columns, (k, j, i).
    :return: bool mask; None where there is no liver.
    """
    mean = float(np.cbrt(np.prod(radii_mm)))
    # a voxel shows the mean of what is in it, so that no edge is sharper
    edge = max(min(float(np.exp(rng.normal(0.3, 0.4))), 0.35 * mean), 0.3 * float(np.min(spacing)))
    reach = _REACH * float(np.max(radii_mm)) + 3.0 * edge
    first = np.clip(np.floor(center - reach / spacing), 0, grey.shape).astype(int)
    last = np.clip(np.ceil(center + reach / spacing) + 1, 0, grey.shape).astype(int)
    if (last <= first).any():
        return None
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    free = liver[box] & ~taken[box]
    if not free.any():
        return None
    depth, radius = _shape(first, last, spacing, center, radii_mm, turned, rng)
    inside = free & (depth > 0)
    parts, count = label_lesions(inside)
    if count > 1:
        inside = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    elif not count:
        return None
    shape, here = free.shape, grey[box]
    filling = LEVELS_PER_HU * _filling(shape, spacing, mean, radius, rng)
    # the scan's grain stays, of vessels and other structure some
    smooth = ndimage.gaussian_filter(here, np.minimum(2.5 / spacing, 2.0), truncate=2.5)
    level = float(np.median(here[free]))
    keeps = rng.uniform(0.2, 1.0)
    new = level + keeps * (smooth - level) + (here - smooth) + filling
    # at the surface a voxel is only partly liver, and pieces that were cut off are none of the lesion
    soft = ndimage.gaussian_filter((inside | (free & (depth <= 0))).astype(np.float32), 0.6, truncate=2.5)
    weight = special.ndtr(depth / np.float32(edge)) * soft * free
    out = here + weight * (new - here)
    if rng.random() < 0.12:  # a bright capsule
        out += free * (LEVELS_PER_HU * rng.uniform(15, 40)) * np.exp(-0.5 * np.square((depth + 1.5) / 1.2))
    grey[box] = np.clip(out, 0, 255)
    mask = np.zeros(grey.shape, bool)
    mask[box] = inside
    return mask


def _shape(first, last, spacing, center, radii_mm, turned, rng) -> tuple[np.ndarray, np.ndarray]:
    """Millimeters to the border, positive inside, along the ray from the center; and radius relative to the border."""
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    offsets = [((axis - c) * s).astype(np.float32) for axis, c, s in zip(axes, center, spacing, strict=True)]
    away = np.sqrt(sum(np.square(offset) for offset in offsets))
    along = (turned / radii_mm).T.astype(np.float32)
    radius = np.sqrt(sum(np.square(row[0] * offsets[0] + row[1] * offsets[1] + row[2] * offsets[2]) for row in along))
    mean = float(np.cbrt(np.prod(radii_mm)))
    shape = tuple(int(n) for n in last - first)
    bent = sum(
        rng.uniform(0.2, 1.0) * deviation * smooth_noise(shape, spacing, sigma * mean, rng)
        for sigma, deviation in _BENT
    )
    radius = radius * np.exp(np.clip(bent, -0.35, 0.6))
    border = away / np.maximum(radius, 0.05)
    return border * (1.0 - radius), radius


def _filling(shape, spacing, mean: float, radius: np.ndarray, rng: np.random.Generator) -> np.ndarray | float:
    """HU of the lesion above the liver: an offset, blotches, and sometimes a dark middle."""
    filling = contrast_hu(rng)
    blotch = min(abs(float(rng.normal(0.0, 10.0))), 20.0)
    if blotch > 2.0:
        filling = filling + blotch * smooth_noise(shape, spacing, max(1.5, mean * rng.uniform(0.15, 0.4)), rng)
    if mean > 6.0 and rng.random() < 0.2:
        filling = filling - rng.uniform(10, 35) * special.expit((rng.uniform(0.4, 0.7) - radius) / 0.08)
    return filling
