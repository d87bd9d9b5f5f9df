"""Spacing that nobody measured: 1 x 1 x 1 mm, which programs write where they know none.

The copies of 3D-IRCADb's scans in LiTS (28 to 44 and 46 to 48) have it in some distributions (JunMa11/AbdomenCT-1K,
issue 27). Voxels and overlap are right all the same; every length in mm, every volume in ml and every surface distance
is wrong. So it is said rather than refused.
"""

from __future__ import annotations

import numpy as np

# Scanners reconstruct at most this field of view, and isotropic resampling does not make it larger.
_WIDEST_MM = 500.0


def doubtful_spacing(dimensions: tuple[int, int, int], ijk_to_ras: np.ndarray, name: str = "") -> str:
    """What to tell the user of a CT whose spacing was lost; empty where it can be true.

    A scan of 512 x 512 pixels of exactly 1 mm would be 512 mm wide, more than scanners reconstruct; a volume that was
    resampled to 1 mm has no more than 500 voxels across the patient.

    :param dimensions: voxels along (i, j, k).
    :param ijk_to_ras: 4x4 affine (mm).
    :param name: what the text calls the CT; nothing for a text that may not say whose it is.

    >>> doubtful_spacing((512, 512, 120), np.eye(4), "volume-28")[:48]
    "The spacing of 'volume-28' is 1 x 1 x 1 mm, which"
    >>> doubtful_spacing((380, 380, 300), np.eye(4), "resampled")
    ''
    """
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    if np.abs(spacing - 1.0).max() > 1e-4 or np.count_nonzero(np.array(dimensions) > _WIDEST_MM) < 2:
        return ""
    size = " x ".join(map(str, dimensions))
    of = f" of '{name}'" if name else ""
    return (
        f"The spacing{of} is 1 x 1 x 1 mm, which cannot be true for a CT of {size} voxels: it was lost, as in "
        "copies of LiTS 28 to 48. Overlap (Dice) is right, but millimeters, milliliters and surface distances are not; "
        "take the scan with its true spacing where these matter."
    )
