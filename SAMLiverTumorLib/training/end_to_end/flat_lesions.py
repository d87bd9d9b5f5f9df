"""Lesions painted into the liver of single slices, in a few milliseconds: for training only.

The three-dimensional recipe is in `training/synthetic/paint_tumors.py` (after Q. Hu et al., "Label-Free Liver Tumor
Segmentation", CVPR 2023). Here a blob is an ellipse whose radius varies smoothly with the angle, as tall as it is wide,
so that the slices below and above get smaller cuts of it; the scan's own grain stays.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

LEVELS_PER_HU = 255.0 / 400.0
"""Grey levels of 8 bits for a Hounsfield unit in the wide window."""


def paint_lesion(
    images: np.ndarray, liver: np.ndarray, taken: np.ndarray, radius: float, apart: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Paint one lesion in place.

    :param images: float32 (3, rows, columns), grey of the slices below, at and above.
    :param liver: bool (rows, columns) of the slice at.
    :param taken: bool (rows, columns), lesions that are there already.
    :param radius: pixels, roughly.
    :param apart: pixels from a slice to its neighbor.
    :return: bool mask of the slice at; None where there is no place.
    """
    free = liver & ~taken
    if not free.any():
        return None
    # its middle lies anywhere in the liver, so that some are cut by the surface
    v0, u0 = _place(free, rng)
    reach = int(np.ceil(radius * 2.0)) + 4
    rows = slice(max(v0 - reach, 0), min(v0 + reach + 1, liver.shape[0]))
    columns = slice(max(u0 - reach, 0), min(u0 + reach + 1, liver.shape[1]))
    v, u = np.ogrid[rows, columns]
    dv, du = (v - v0).astype(np.float32), (u - u0).astype(np.float32)
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.55, 1.0)
    x = np.cos(turn) * du + np.sin(turn) * dv
    y = (-np.sin(turn) * du + np.cos(turn) * dv) / squeeze
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    bent = np.zeros_like(distance)
    for n in range(2, 7):
        bent += rng.normal(0.0, 0.22 / n) * np.cos(n * angle + rng.uniform(0, 2 * np.pi))
    here = free[rows, columns]
    shape_radius = radius * np.exp(np.clip(bent, -0.7, 0.5))
    # the slice cuts the blob anywhere; its neighbors cut it nearer to its poles, or at its middle
    height = radius * rng.uniform(0.8, 1.3)
    cut = rng.uniform(-0.7, 0.7) * height
    full = 1.0 / np.sqrt(max(1.0 - (cut / height) ** 2, 0.2))
    inside = here & (distance < shape_radius)
    parts, count = ndimage.label(inside)
    if count > 1:
        inside = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    if np.count_nonzero(inside) < 12:
        return None
    offset, edge = contrast_hu(rng), min(float(np.exp(rng.normal(0.6, 0.45))), 0.35 * radius + 0.4)
    blotches = _blotches(distance.shape, max(2.0, radius * rng.uniform(0.15, 0.5)), rng)
    filling = offset + min(abs(rng.normal(0.0, 9.0)), 20.0) * blotches
    if rng.random() < 0.12 and radius > 8:  # a dark, necrotic middle
        filling = filling - rng.uniform(10, 35) * special.expit((0.55 * shape_radius - distance) / 2.0)
    rim = rng.uniform(15, 45) if rng.random() < 0.12 else 0.0
    # what of the liver's own structure, vessels, shows within
    keeps = rng.uniform(0.25, 1.0)
    soft_liver = ndimage.gaussian_filter(here.astype(np.float32), 0.7)
    for channel in range(3):
        away = cut + (channel - 1) * apart
        share = 1.0 - (away / height) ** 2
        if share <= 0:
            continue
        border = shape_radius * np.sqrt(share) * full
        depth = border - distance
        weight = special.ndtr(depth / edge) * soft_liver
        if channel == 1:
            weight = weight * np.where(inside | (depth < 0), 1.0, 0.0)
        grey = images[channel, rows, columns]
        smooth = ndimage.gaussian_filter(grey, 2.0)
        level = float(np.median(grey[here]))
        structure = keeps * (smooth - level)
        new = level + structure + (grey - smooth) + LEVELS_PER_HU * filling
        out = grey + weight * (new - grey)
        if rim:
            out = out + soft_liver * LEVELS_PER_HU * rim * np.exp(-0.5 * ((depth + 1.5) / 1.2) ** 2)
        images[channel, rows, columns] = np.clip(out, 0, 255)
    mask = np.zeros(liver.shape, bool)
    mask[rows, columns] = inside
    return mask


def _place(free: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    places = np.flatnonzero(free)
    v, u = np.unravel_index(int(places[rng.integers(len(places))]), free.shape)
    return int(v), int(u)


def contrast_hu(rng: np.random.Generator) -> float:
    """HU of the lesion above the liver: darker, as most are, seldom brighter."""
    if rng.random() < 0.1:
        return float(rng.uniform(20, 60))
    return -float(np.clip(rng.normal(48.0, 18.0), 15.0, 95.0))


def _blotches(shape: tuple[int, int], size: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1; (rows, columns)."""
    coarse = rng.standard_normal([int(np.ceil(n / size)) + 3 for n in shape]).astype(np.float32)
    noise = ndimage.zoom(coarse, [(n + 1) / (c - 1) for n, c in zip(shape, coarse.shape, strict=True)], order=1)
    noise = noise[: shape[0], : shape[1]]
    return (noise - noise.mean()) / (noise.std() + 1e-6)
