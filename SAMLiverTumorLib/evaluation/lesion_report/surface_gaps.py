"""Distances between lesions, and from lesions to the border of the liver.

Voxels are boxes. On an orthogonal grid, the least distance between two unions of such boxes is exactly the least
distance between their corners; boxes that touch at a corner have distance 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.evaluation.metrics.nearest_points import Points, least_distance
from SAMLiverTumorLib.image.mask_geometry import bounding_box

SURFACE_RULE = (
    "Distances run from surface to surface, between the nearest corners of voxels; 0 mm means that they touch, be it "
    "in a corner."
)

LIVER_RULE = (
    "The liver is the liver given and all of the lesions, so that it does not matter whether they are cut out of it; "
    "holes that it encloses are no border, nor is the end of the scan. A lesion touches the liver border at 0 mm."
)


def surface_corners(mask: np.ndarray, origin: tuple[int, int, int], ijk_to_ras: np.ndarray) -> Points:
    """Voxel corners on the surface of a mask; mm along R, A and S, relative to the affine's origin.

    :param mask: bool (k, j, i) of a box of the volume, outside which the mask is empty.
    :param origin: first voxel (i, j, k) of the box.
    """
    return Points(_corners(np.pad(mask, 1), origin, ijk_to_ras))


def liver_border(liver: np.ndarray, ijk_to_ras: np.ndarray) -> Points | None:
    """The corners, as in `surface_corners`, of the liver's outer surface; None if the scan shows none of it.

    :param liver: bool (k, j, i) on the whole volume, its lesions included.
    """
    box = bounding_box(liver)
    if box is None:
        return None
    padded = np.pad(liver[box], 1)
    background, _ = ndimage.label(~padded)
    filled = background != background[0, 0, 0]
    for axis, (part, size) in enumerate(zip(box, liver.shape, strict=True)):
        # where the liver reaches the scan's border, it continues beyond
        layers = np.moveaxis(filled, axis, 0)
        if part.start == 0:
            layers[0] = layers[1]
        if part.stop == size:
            layers[-1] = layers[-2]
    corners = _corners(filled, tuple(s.start for s in box[::-1]), ijk_to_ras)
    return Points(corners) if len(corners) else None


def nearest_lesions(surfaces: Sequence[Points]) -> list[tuple[int, float] | None]:
    """For each lesion, the list index of the nearest other one and its distance in mm; None for a single lesion.

    :param surfaces: of each lesion, see `surface_corners`.
    """
    low, high = (np.array([getattr(surface, name) for surface in surfaces]) for name in ("low", "high"))
    # distances by pair, so that each is computed once
    known: dict[tuple[int, int], float] = {}
    found: list[tuple[int, float] | None] = []
    for n in range(len(surfaces)):
        gaps = np.linalg.norm(np.maximum(0.0, np.maximum(low - high[n], low[n] - high)), axis=1)
        best: tuple[int, float] | None = None
        for other in np.argsort(gaps, kind="stable").tolist():
            if other == n:
                continue
            if best is not None and (gaps[other] > best[1] or best[1] == 0.0):
                break
            pair = (min(n, other), max(n, other))
            if pair not in known:
                known[pair] = least_distance(surfaces[n], surfaces[other])
            if best is None or known[pair] < best[1]:
                best = other, known[pair]
        found.append(best)
    return found


def _corners(padded: np.ndarray, origin: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """Corners between voxels inside and outside, in an array padded by one voxel on every side."""
    some, every = padded, padded
    for axis in range(3):
        one, other = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        some, every = some[one] | some[other], every[one] & every[other]
    # corner c of the padded array lies between its voxels c and c + 1, which are c - 1 and c of the box
    ijk = np.argwhere(some & ~every)[:, ::-1] - 0.5 + origin
    return ijk @ ijk_to_ras[:3, :3].T
