"""The one rule by which a mask is divided into lesions.

Voxels that share a face, an edge or a corner belong to the same lesion (26-connectivity); on a slice, pixels that share
an edge or a corner (8-connectivity). A thin lesion that crosses slices obliquely thus stays one lesion.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CONNECTIVITY = "26-connectivity: voxels that share a face, an edge or a corner"
"""The rule in words, for reports."""


def label_lesions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the lesions of a mask.

    :param mask: bool array, a volume (k, j, i) or a slice (row, column).
    :return: (an integer array of the same shape, 0 outside; the number of lesions).

    >>> label_lesions(np.eye(3, dtype=bool))[1]
    1
    """
    return ndimage.label(mask, np.ones((3,) * mask.ndim, bool))
