"""Fast quality: which part of a picture to encode in full, where only what lies around the prompts is wanted.

MobileSAM's encoder looks at windows and small neighborhoods, so the embedding of a part is nearly that piece of the
whole picture's. The piece is set into an embedding of the whole picture at a fifth of the resolution, without which
the decoder loses its bearings: over 38 boxes on six LiTS cases the mean Dice was 0.753 in full, 0.740 so, and 0.676
with the piece alone; over 31 boxes of the same cases, all used for tuning, 0.727 and 0.706 (`dev.py bench speed
--quality`). LiteMedSAM, trained at a quarter of the resolution, does need its surroundings (0.88 in full, 0.74 with 28
of 64 positions): it always sees the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.prompts import PlanePrompts

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.input_geometry import InputGeometry

GRID = 64
"""Positions along an embedding's edge."""

# Corners lie on TinyViT's attention windows (7 positions), as they do in the whole picture; prompts that lie near
# each other, and neighboring slices, so also share their part.
_STEP = 7
# Positions along a part's edge, whole windows. 21 of 64 and the surroundings are 0.15 of the whole's arithmetic.
_SIZES = (21, 28, 35, 42)
# Positions of surroundings wanted around the prompts.
_MARGIN = 3

SURROUNDINGS = 12
"""Positions along the edge of the embedding that a part is set into, before it is enlarged to `GRID`."""


@dataclass(frozen=True)
class Part:
    """A square piece of an embedding's grid.

    :param row: its first position along the rows, of `GRID`.
    :param column: along the columns.
    :param size: positions along its edge.
    """

    row: int
    column: int
    size: int

    def of(self, array, scale: int = 1):
        """The piece of an array or tensor (..., rows, columns) with `scale` values to a position."""
        rows, columns = (slice(scale * at, scale * (at + self.size)) for at in (self.row, self.column))
        return array[..., rows, columns]


def part_around(prompts: PlanePrompts, geometry: InputGeometry) -> Part | None:
    """The smallest part that holds the prompts and a margin; None where that is most of the picture.

    :param geometry: how the picture lies in the network's input.
    """
    corners = [np.asarray(prompts.points, float).reshape(-1, 2)]
    if prompts.box is not None:
        corners.append(np.reshape(prompts.box, (2, 2)))
    places = (geometry.to_input(np.concatenate(corners)) + 0.5) * (GRID / geometry.input_size)
    low, high = places.min(axis=0) - _MARGIN, places.max(axis=0) + _MARGIN
    for size in _SIZES:
        column, row = (_start(first, last, size) for first, last in zip(low, high, strict=True))
        if row is not None and column is not None:
            return Part(row, column, size)
    return None


def _start(low: float, high: float, size: int) -> int | None:
    """Where a part of that size starts, best with `low` and `high` in its middle; None where they do not fit."""
    starts = [*range(0, GRID - size, _STEP), GRID - size]
    low, high = max(low, 0.0), min(high, float(GRID))
    fitting = [start for start in starts if start <= low and high <= start + size]
    return min(fitting, key=lambda start: abs(start + size / 2 - (low + high) / 2), default=None)
