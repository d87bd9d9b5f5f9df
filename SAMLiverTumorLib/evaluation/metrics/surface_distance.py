"""Distances between the surfaces of two masks, in millimeters.

They are computed with scipy, so that an evaluation in the panel imports neither torch nor MONAI. Tests compare them
with MONAI's `compute_hausdorff_distance`, `compute_average_surface_distance` and `compute_surface_dice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.mask_geometry import bounding_box

TOLERANCE_MM = 2.0

SURFACE_RULE = (
    "Surface: a mask's voxels with a face towards a voxel outside it (or towards the volume's border); distances are "
    "between voxel centers, in mm. HD95 is the larger of the two directed 95th percentiles, ASSD the mean over the "
    "surface voxels of both masks, surface Dice the fraction of those within the tolerance of the other surface "
    f"({TOLERANCE_MM:g} mm). Both masks empty give 0 mm, 0 mm and 1; if only one of them is empty, the distances are "
    "undefined (-) and left out of means, and surface Dice is 0."
)


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces; see `SURFACE_RULE` for empty masks.

    :param hd95_mm: 95th percentile Hausdorff distance (Huttenlocher et al., 1993, with a percentile for the maximum).
    :param assd_mm: average symmetric surface distance (Heimann et al., 2009).
    :param surface_dice: normalized surface Dice at the tolerance (Nikolov et al., 2021), by surface voxels.
    """

    hd95_mm: float | None
    assd_mm: float | None
    surface_dice: float


def surface_distances(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    tolerance_mm: float = TOLERANCE_MM,
) -> SurfaceDistances:
    """Compare the surfaces of two masks.

    Memory and time depend on each mask's bounding box and surface, not on the volume.

    :param prediction: bool, shape (k, j, i), or (rows, columns).
    :param reference: the same shape.
    :param spacing: millimeters between voxels along the arrays' own axes: (k, j, i), or (rows, columns).
    :param tolerance_mm: distance up to which surfaces count as equal for surface Dice.
    :raises InputError: the shapes differ.

    >>> a, b = np.zeros((2, 9, 9, 9), bool)
    >>> a[2], b[4] = True, True
    >>> surface_distances(a, b, (2.5, 1.0, 1.0)).hd95_mm
    5.0
    """
    if prediction.shape != reference.shape:
        raise InputError(
            f"The prediction has {prediction.shape} voxels and the reference {reference.shape}; "
            "bring both onto the same grid before comparing them."
        )
    points = [_surface_points(mask, spacing) for mask in (prediction, reference)]
    empty = [not len(each) for each in points]
    if all(empty):
        return SurfaceDistances(0.0, 0.0, 1.0)
    if any(empty):
        return SurfaceDistances(None, None, 0.0)
    directed = [KDTree(b, leafsize=32).query(a)[0] for a, b in (points, points[::-1])]
    both = np.concatenate(directed)
    return SurfaceDistances(
        hd95_mm=float(max(np.percentile(distances, 95) for distances in directed)),
        assd_mm=float(both.mean()),
        # a distance equal to the tolerance counts, despite rounding
        surface_dice=float(np.mean(both <= tolerance_mm + 1e-6)),
    )


def _surface_points(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Centers (n, d) of a mask's surface voxels in mm, along the array's axes."""
    mask = np.asarray(mask).astype(bool, copy=False)
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, mask.ndim))
    part = mask[box]
    surface = part & ~ndimage.binary_erosion(part)
    return (np.argwhere(surface) + [s.start for s in box]) * np.asarray(spacing, float)
