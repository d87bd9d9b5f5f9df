"""Result of a propagation: slices with their probabilities, stops, and the mask."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from SAMLiverTumorLib.image.sampling import mask_to_voxels
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.stopping_rules import Stop
from SAMLiverTumorLib.inference.segment_slices import SliceResult
from SAMLiverTumorLib.mask import Mask, union
from SAMLiverTumorLib.voxel_map import INSIDE

# Stored probabilities below this (of 255) at the edges are cropped away.
_LEAST_KEPT = 13


@dataclass(frozen=True, eq=False)
class SlicePropagation:
    """One slice of a propagation.

    :param index: in the stack.
    :param shape: pixels (rows, columns) of the plane.
    :param origin: (row, column) of the first pixel stored.
    :param probability: uint8 (rows, columns) of the pixels stored; 255 stands for 1, and the mask is where it is at
        least 128.
    :param source: "anchor"; "up" or "down", the direction in which it was reached; or "between" two anchors.
    :param confidence: 0 to 1; 1 on anchors.
    :param result: model and scores.
    """

    index: int
    shape: tuple[int, int]
    origin: tuple[int, int]
    probability: np.ndarray
    source: str
    confidence: float
    result: SliceResult

    @property
    def slice_mask(self) -> np.ndarray:
        """The mask, bool (rows, columns) of the whole plane."""
        return self.probabilities >= INSIDE

    @property
    def probabilities(self) -> np.ndarray:
        """uint8 (rows, columns) of the whole plane, 0 outside the pixels stored."""
        whole = np.zeros(self.shape, np.uint8)
        (row, column), (rows, columns) = self.origin, self.probability.shape
        whole[row : row + rows, column : column + columns] = self.probability
        return whole


def boxed(probabilities: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """Crop a plane's uint8 probabilities to those worth storing.

    :return: (row, column) of the first pixel, and a copy of the part.
    """
    kept = probabilities >= _LEAST_KEPT
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    if not rows.size:
        return (0, 0), np.zeros((0, 0), np.uint8)
    part = probabilities[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return (int(rows[0]), int(columns[0])), part


@dataclass(frozen=True, eq=False)
class Pass:
    """The slices reached from one anchor in one direction, in order, and why it stopped; None if it has not."""

    slices: tuple[SlicePropagation, ...]
    stop: Stop | None


@dataclass(frozen=True, eq=False)
class Propagation:
    """Result of a propagation, complete or cancelled.

    :param stack: the planes.
    :param slices: by index, anchors included.
    :param stops: where each direction stopped, unless it met another anchor.
    :param cancelled: whether it was cancelled; pass the result as `previous` to continue.
    :param notes: shown to the user.
    :param provenance: models, prompts, rules, stops and versions: JSON-ready.
    :param anchors: the slices that the user prompted.
    :param anchor_slices: their results by anchor key, for reuse.
    :param passes: by anchor key and direction, for reuse.
    """

    stack: PlaneStack
    slices: dict[int, SlicePropagation]
    stops: tuple[Stop, ...] = ()
    cancelled: bool = False
    notes: tuple[str, ...] = ()
    provenance: dict = field(default_factory=dict)
    anchors: tuple = ()
    anchor_slices: dict = field(default_factory=dict)
    passes: dict = field(default_factory=dict)

    def mask(self) -> Mask:
        """The union of all slices' voxels."""
        volume = self.stack.volume
        return union(
            [mask_to_voxels(self.slices[n].slice_mask, self.stack.plane(n), volume) for n in sorted(self.slices)],
            volume,
        )

    @property
    def reached(self) -> tuple[int, ...]:
        """Indices of the slices with a nonempty mask, in order."""
        return tuple(n for n in sorted(self.slices) if self.slices[n].result.pixels)
