"""How near lesions lie to each other and to the border of the liver.

A voxel counts as the box it stands for. On an orthogonal grid the least distance between two unions of such boxes is
the least distance between their corners, so looking at corners gives it exactly; touching in a corner is distance 0.
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
    """Corners of voxels, where the mask meets what is not in it; mm along R, A and S.

    They are relative to the affine's own origin, which distances do not depend on.

    :param mask: bool (k, j, i) of a box of the volume; what lies outside the box is not in the mask.
    :param origin: voxel (i, j, k) of the volume where the box begins.
    """
    return Points(_corners(np.pad(mask, 1), origin, ijk_to_ras))


def liver_border(liver: np.ndarray, ijk_to_ras: np.ndarray) -> Points | None:
    """The corners, as of `surface_corners`, where the liver meets its outside; None where it never does.

    :param liver: bool (k, j, i) on the whole volume, its lesions included.
    """
    box = bounding_box(liver)
    if box is None:
        return None
    padded = np.pad(liver[box], 1)
    background, _ = ndimage.label(~padded)
    filled = background != background[0, 0, 0]
    for axis, (part, size) in enumerate(zip(box, liver.shape, strict=True)):
        # where the scan ends in the liver, the liver goes on
        layers = np.moveaxis(filled, axis, 0)
        if part.start == 0:
            layers[0] = layers[1]
        if part.stop == size:
            layers[-1] = layers[-2]
    corners = _corners(filled, tuple(s.start for s in box[::-1]), ijk_to_ras)
    return Points(corners) if len(corners) else None


def nearest_lesions(surfaces: Sequence[Points]) -> list[tuple[int, float] | None]:
    """For each lesion, the place in the list of the one nearest to it and the distance in mm; None for a sole lesion.

    :param surfaces: the corners of each, see `surface_corners`.
    """
    low, high = (np.array([getattr(surface, name) for surface in surfaces]) for name in ("low", "high"))
    # the distance of each pair, so that it is looked for once
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
    """Of an array with one voxel of margin on every side: corners with voxels inside and outside around them."""
    some, every = padded, padded
    for axis in range(3):
        one, other = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        some, every = some[one] | some[other], every[one] & every[other]
    # corner c of the padded array lies between its voxels c and c + 1, which are c - 1 and c of the box
    ijk = np.argwhere(some & ~every)[:, ::-1] - 0.5 + origin
    return ijk @ ijk_to_ras[:3, :3].T
