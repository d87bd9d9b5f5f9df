"""`Contrast`: how a tumor differs in grey from what lies around it, learned on a slice that the user prompted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# The ring that stands for the surroundings (mm from the mask): beyond the blurred border, short of other organs.
_RING_MM = (1.0, 6.0)

# Spreads below this (of 255 grey values) are a phantom's; in CT they would make any noise decisive.
_LEAST_SPREAD = 2.0


@dataclass(frozen=True)
class Contrast:
    """Grey inside a mask and in the ring around it, both of a smoothed 8-bit picture.

    :param inside: median inside.
    :param outside: median of the ring.
    :param spread: their common robust standard deviation.
    """

    inside: float
    outside: float
    spread: float

    def evidence(self, grey: np.ndarray, most: float) -> np.ndarray:
        """Log-likelihood ratio of inside to outside for each pixel, two normal distributions of equal spread.

        :param most: limit of its absolute value.
        """
        ratio = ((grey - self.outside) ** 2 - (grey - self.inside) ** 2) / (2.0 * self.spread**2)
        return np.clip(ratio, -most, most)

    def kept_by(self, other: Contrast) -> float:
        """Share of this contrast that another slice's has: 1 all of it, below 0 where it is reversed."""
        own = self.outside - self.inside
        return (other.outside - other.inside) / own if abs(own) > 1e-6 else 0.0


def measure_contrast(grey: np.ndarray, mask: np.ndarray, spacing: tuple[float, float]) -> Contrast:
    """Contrast of a mask on a picture.

    :param grey: float (rows, columns), smoothed grey.
    :param mask: bool (rows, columns), not empty.
    :param spacing: millimeters per pixel along (rows, columns).
    """
    # padded, so that the picture's own border does not count as the mask's
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1]
    core = depth > max(spacing) * 1.01
    inside = grey[core if np.count_nonzero(core) >= 6 else mask]
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    ring = grey[(away > _RING_MM[0]) & (away <= max(_RING_MM[1], 4 * max(spacing)))]
    if not ring.size:
        ring = grey[~mask] if not mask.all() else grey.ravel()
    middle_in, middle_out = float(np.median(inside)), float(np.median(ring))
    spreads = [1.4826 * float(np.median(np.abs(x - m))) for x, m in ((inside, middle_in), (ring, middle_out))]
    spread = float(np.hypot(*(max(s, _LEAST_SPREAD) for s in spreads)) / np.sqrt(2.0))
    return Contrast(middle_in, middle_out, spread)


def smoothed(grey: np.ndarray, spacing: tuple[float, float], sigma_mm: float) -> np.ndarray:
    """An 8-bit picture, or a part of one, after a Gaussian filter; float32 (rows, columns)."""
    return ndimage.gaussian_filter(grey.astype(np.float32), [sigma_mm / s for s in spacing])
