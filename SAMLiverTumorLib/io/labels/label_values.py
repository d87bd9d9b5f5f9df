"""Which values a label map holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.errors import InputError

# Whole-body label maps have some 120 values; a CT read by mistake has thousands.
_MOST_LABELS = 1000


def label_values(array: np.ndarray, name: str, cancel: Callable[[], bool] | None = None) -> list[int]:
    """Nonzero values of an integer array (k, j, i) in ascending order.

    Slice by slice, as most of a label map is one value.

    :param name: what messages call it.
    :param cancel: asked once a slice.
    :raises InputError: so many values that it must be an image.
    :raises Cancelled: `cancel` answered true.

    >>> label_values(np.array([[[0, 2, 2, -1]]]), "label")
    [-1, 2]
    """
    found: set[int] = set()
    for part in array:
        raise_if_cancelled(cancel)
        low, high = int(part.min()), int(part.max())
        if low == high:
            found.add(low)
        elif high - low < 1 << 16:
            found.update((np.flatnonzero(np.bincount((part.astype(np.int64) - low).ravel())) + low).tolist())
        else:
            found.update(np.unique(part).tolist())
        if len(found) > _MOST_LABELS:
            raise InputError(
                f"'{name}' has more than {_MOST_LABELS} different values; it looks like an image. Name the label map."
            )
    return sorted(found - {0})
