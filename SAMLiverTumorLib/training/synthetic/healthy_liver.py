"""The healthy liver around a tumor: intensity of the parenchyma, its spread, and the vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.lesion_components import label_lesions

# Smoothing (mm) that separates the scanner's grain from anatomy.
GRAIN_MM = 1.5
# Vessels are brighter than the smoothed parenchyma by so many of its standard deviations, in pieces of at least so
# many milliliters.
_VESSEL_SDS = 2.0
_VESSEL_ML = 0.1
# Large vessels contain a ball of this radius and at least that volume: tumors displace or surround them.
_LARGE_MM = 1.65
_LARGE_ML = 0.5
# Spreads are estimated from about this many voxels.
_SAMPLE = 200_000


@dataclass(frozen=True, eq=False)
class HealthyLiver:
    """A part of a volume with its liver.

    :param smooth: intensity smoothed over `GRAIN_MM` within the liver alone, so that fat and lung do not leak into its
        surface; float32 (k, j, i), 0 far from the liver.
    :param share: share of liver around each voxel, 0 to 1, with the same weights.
    :param median: intensity of the parenchyma.
    :param spread: robust standard deviation of the smoothed parenchyma.
    :param grain: robust standard deviation of what smoothing removes.
    """

    smooth: np.ndarray
    share: np.ndarray
    median: float
    spread: float
    grain: float


def measure(grey: np.ndarray, liver: np.ndarray, spacing: tuple[float, float, float]) -> HealthyLiver:
    """Measure the liver in a part of a volume.

    :param grey: float32 (k, j, i).
    :param liver: bool of the same shape.
    :param spacing: millimeters per voxel along (k, j, i).
    :raises InputError: no liver here.
    """
    if not liver.any():
        raise InputError("The liver mask is empty here; a synthetic tumor needs liver to grow in.")
    sigma = [GRAIN_MM / size for size in spacing]
    share = ndimage.gaussian_filter(liver.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.where(liver, grey, np.float32(0)), sigma)
    np.divide(smooth, share, out=smooth, where=share > 1e-3)
    inside = np.flatnonzero(liver)
    inside = inside[:: 1 + inside.size // _SAMPLE]
    values = smooth.ravel()[inside]
    # vessels raise the median only a little: they fill about a tenth of the liver
    median = float(np.median(values))
    grain = grey.ravel()[inside] - values
    return HealthyLiver(smooth, share, median, _robust_sd(values), _robust_sd(grain))


def find_vessels(healthy: HealthyLiver, liver: np.ndarray, voxel_ml: float) -> np.ndarray:
    """Connected bright voxels of the liver, bool (k, j, i)."""
    bright = liver & (healthy.smooth > healthy.median + _VESSEL_SDS * max(healthy.spread, 1e-3))
    return _pieces(bright, _VESSEL_ML / voxel_ml)


def find_large_vessels(vessels: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The part of the vessels that is about 4 mm across or more: their opening by a ball; bool (k, j, i)."""
    if not vessels.any():
        return vessels
    # distances are to the center of the next voxel outside: half a voxel more than the ball's radius
    radius = max(_LARGE_MM + 0.5 * min(spacing), 0.6 * max(spacing))
    core = ndimage.distance_transform_edt(vessels, sampling=spacing) >= radius
    if not core.any():
        return core
    opened = vessels & (ndimage.distance_transform_edt(~core, sampling=spacing) <= radius)
    return _pieces(opened, _LARGE_ML * 1000.0 / float(np.prod(spacing)))


def _pieces(mask: np.ndarray, least: float) -> np.ndarray:
    """The connected components of a mask that have at least `least` voxels."""
    labels, _ = label_lesions(mask)
    kept = np.bincount(labels.ravel()) >= least
    kept[0] = False
    return kept[labels]


def _robust_sd(values: np.ndarray) -> float:
    """Standard deviation by the median absolute deviation, which vessels barely affect."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
