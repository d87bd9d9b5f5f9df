"""How rough an outline is: its length by that of the reference's."""

from __future__ import annotations

import numpy as np

OUTLINE_RULE = (
    "Outline: the number of pixel edges between the mask and what is outside it, by that of the reference; 1 is as "
    "smooth as the reference, holes and single pixels make it larger. Undefined (-) where either is empty."
)


def outline_ratio(marked: np.ndarray, reference: np.ndarray) -> float | None:
    """Length of a mask's outline by that of the reference's, both bool (rows, columns); None where either is empty.

    >>> square = np.zeros((9, 9), bool)
    >>> square[2:6, 2:6] = True
    >>> comb = square.copy()
    >>> comb[2, [2, 4]] = False
    >>> outline_ratio(comb, square)
    1.125
    """
    own, wanted = outline_length(marked), outline_length(reference)
    return own / wanted if own and wanted else None


def outline_length(mask: np.ndarray) -> int:
    """Number of pixel edges between a mask, bool (rows, columns), and what is outside it, the picture's border too."""
    padded = np.pad(mask, 1)
    return int(sum(np.count_nonzero(np.diff(padded.astype(np.int8), axis=axis)) for axis in (0, 1)))
