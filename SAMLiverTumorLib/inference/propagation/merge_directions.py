"""Merge the two propagations through the slices between two anchors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SAMLiverTumorLib.inference.propagation.result import SlicePropagation, boxed
from SAMLiverTumorLib.voxel_map import INSIDE


def reconciled(
    index: int, first: tuple[int, SlicePropagation | None], second: tuple[int, SlicePropagation | None]
) -> SlicePropagation | None:
    """A slice merged from the propagations of the two anchors around it.

    The weight of each is its confidence times its nearness to its own anchor, linear in the number of slices. One that
    stopped before this slice does not count, because the anchor beyond shows that the tumor continues.

    :param first: (index of the anchor, its result on this slice or None), and likewise `second`.
    :return: None if neither reached the slice.
    """
    ways = [(anchor, reached) for anchor, reached in (first, second) if reached is not None]
    if len(ways) < 2:
        return ways[0][1] if ways else None
    span = abs(first[0] - second[0])
    weights = np.array([reached.confidence * (span - abs(index - anchor)) / span for anchor, reached in ways])
    weights = weights / weights.sum() if weights.sum() > 0 else np.array([0.5, 0.5])
    mixed = sum(w * reached.probabilities.astype(np.float32) for w, (_, reached) in zip(weights, ways, strict=True))
    probabilities = np.rint(mixed).astype(np.uint8)
    stronger = ways[int(weights.argmax())][1]
    pixels = int(np.count_nonzero(probabilities >= INSIDE))
    origin, part = boxed(probabilities)
    confidence = float(np.dot(weights, [reached.confidence for _, reached in ways]))
    result = replace(stronger.result, pixels=pixels)
    return SlicePropagation(index, stronger.shape, origin, part, "between", confidence, result)
