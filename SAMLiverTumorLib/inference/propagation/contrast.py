"""`Contrast`: how a tumor's grey values differ from its surroundings, measured on a prompted slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# The ring that counts as surroundings (mm from the mask): beyond the blurred border, but not in other organs.
_RING_MM = (1.0, 6.0)

# Least standard deviation (of 255 grey values): phantoms have less, and with less, noise in a CT would decide.
_LEAST_SPREAD = 2.0


@dataclass(frozen=True)
class Contrast:
    """Grey values inside a mask and in the ring around it, in a smoothed 8-bit slice image.

    :param inside: median inside the mask.
    :param outside: median in the ring.
    :param spread: pooled robust standard deviation.
    """

    inside: float
    outside: float
    spread: float

    def evidence(self, grey: np.ndarray, most: float) -> np.ndarray:
        """Log-likelihood ratio of inside to outside for each pixel, for two normal distributions of equal spread.

        :param most: limit of the absolute value.
        """
        ratio = ((grey - self.outside) ** 2 - (grey - self.inside) ** 2) / (2.0 * self.spread**2)
        return np.clip(ratio, -most, most)

    def kept_by(self, other: Contrast) -> float:
        """Another slice's contrast as a fraction of this one: 1 if equal, below 0 if reversed."""
        own = self.outside - self.inside
        return (other.outside - other.inside) / own if abs(own) > 1e-6 else 0.0


def measure_contrast(grey: np.ndarray, mask: np.ndarray, spacing: tuple[float, float]) -> Contrast:
    """Contrast of a mask in a slice image.

    :param grey: float (rows, columns), smoothed grey values.
    :param mask: bool (rows, columns), not empty.
    :param spacing: millimeters per pixel along (rows, columns).
    """
    # padded, so that the image's border counts as outside the mask
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
    """An 8-bit slice image, or a part of one, after a Gaussian filter; float32 (rows, columns)."""
    return ndimage.gaussian_filter(grey.astype(np.float32), [sigma_mm / s for s in spacing])
