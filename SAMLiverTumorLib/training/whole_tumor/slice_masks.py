"""The prompted slice's mask as a network gives it: Dice of 0.8 to 1 with the truth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_EXACT, _LEAKS = 0.1, 0.15
_LEAST_DICE = 0.8


def sloppy(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask (rows, columns) with its border moved in or out, here and there more, seldom with a leak.

    :param mask: bool, not empty.
    """
    if rng.random() < _EXACT:
        return mask
    padded = np.pad(mask, 1)
    depth = (ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded))[1:-1, 1:-1]
    depth -= 0.5 * np.sign(depth)
    radius = float(np.sqrt(np.count_nonzero(mask) / np.pi))
    moved = rng.normal(0.0, 0.07) * radius
    wave = max(2.5, radius * rng.uniform(0.3, 0.8))
    coarse = rng.standard_normal([max(2, round(n / wave) + 1) for n in mask.shape])
    noise = ndimage.zoom(coarse, [n / c for n, c in zip(mask.shape, coarse.shape, strict=True)], order=1)
    moved = moved + noise * rng.uniform(0.0, 0.2) * radius
    if rng.random() < _LEAKS:
        border = np.argwhere(mask & (depth < 1.0))
        v0, u0 = border[int(rng.integers(len(border)))]
        v, u = np.ogrid[: mask.shape[0], : mask.shape[1]]
        ball = rng.uniform(0.25, 0.5) * radius - np.hypot(v - v0, u - u0)
        moved = np.maximum(moved, ball - np.minimum(depth, 0.0))
    for _ in range(5):
        marked = largest_part(depth + moved > 0)
        shared = np.count_nonzero(marked & mask)
        if shared and 2 * shared / (np.count_nonzero(marked) + np.count_nonzero(mask)) >= _LEAST_DICE:
            return marked
        moved = 0.6 * moved
    return mask


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest 8-connected part of a mask: what one click on a slice means."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    return mask if count <= 1 else parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
