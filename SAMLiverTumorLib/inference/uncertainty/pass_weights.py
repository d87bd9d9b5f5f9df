"""Probabilities and weights of each pass of an ensemble in a box of voxels, and their weighted mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.image.sampling import slice_mask_to_voxels
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import Propagation, SlicePropagation
from SAMLiverTumorLib.inference.uncertainty.entropy import voxel_uncertainty
from SAMLiverTumorLib.voxel_map import VoxelBox

# Slices (k) fused at a time, so that the float arrays stay at a few megabytes.
_SLAB = 8


@dataclass(frozen=True, eq=False)
class WeightedPass:
    """One pass in a box of voxels.

    :param probability: uint8 (k, j, i) of the box; 255 stands for 1.
    :param weight: float32 that broadcasts to the box; 0 where the pass does not count.
    """

    probability: np.ndarray
    weight: np.ndarray

    def layers(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Probability from 0 to 1 and weight, both float32, in a range of layers k of the box."""
        weight = self.weight[part] if self.weight.shape[0] > 1 else self.weight
        return self.probability[part].astype(np.float32) / 255.0, weight


def weighted_pass(propagation: Propagation, box: VoxelBox, factor: float = 1.0) -> WeightedPass:
    """The probabilities of a propagation in a box, each slice weighted by its confidence.

    Beyond a slice where it stopped by itself, the probability is 0 with full weight: it found that the tumor ends
    there. Where it was cancelled, or not run in that direction, its weight is 0.

    :param factor: multiplies all weights.
    """
    stack, slices = propagation.stack, propagation.slices
    index = plane_indices(stack, box)
    planes = range(int(index.min()), int(index.max()) + 1)
    weights = dict.fromkeys(planes, 0.0) | {n: each.confidence for n, each in slices.items()}
    for stop in propagation.stops:
        n, step = stop.index, stack.up if stop.direction == "up" else -stack.up
        while stop.kind != "cancelled" and n in planes and n not in slices:
            weights[n] = 1.0
            n += step
    table = np.array([weights[n] for n in planes], np.float32)
    return WeightedPass(probabilities_in_box(stack, slices, box), factor * table[index - planes.start])


def probabilities_in_box(stack: PlaneStack, slices: dict[int, SlicePropagation], box: VoxelBox) -> np.ndarray:
    """The probabilities of slices in the voxels of a box, uint8 (k, j, i).

    On straight slices each voxel is one pixel, whatever the spacing. On oblique planes a voxel takes the pixel of its
    plane that is nearest to its center, as in the mask.
    """
    low = np.array([part.start for part in box])
    shape = np.array([part.stop - part.start for part in box])
    array = np.zeros(shape, np.uint8)
    for n, each in slices.items():
        values, origin = slice_mask_to_voxels(each.probabilities, stack.plane(n), stack.volume)
        first = np.array(origin[::-1]) - low
        start, stop = np.maximum(first, 0), np.minimum(first + values.shape, shape)
        if (start >= stop).any():
            continue
        inner = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        outer = tuple(slice(a, b) for a, b in zip(start - first, stop - first, strict=True))
        # boxes of oblique layers overlap; each is 0 outside its own layer
        array[inner] = np.maximum(array[inner], values[outer])
    return array


def plane_indices(stack: PlaneStack, box: VoxelBox) -> np.ndarray:
    """Index of the plane that each voxel of a box belongs to; int, broadcasts to the box."""
    axis = stack.plane(stack.first).axis
    if axis is not None:
        along = np.arange(box[2 - axis].start, box[2 - axis].stop)
        return along.reshape([-1 if a == 2 - axis else 1 for a in range(3)])
    k, j, i = np.ogrid[box]
    inverse = np.linalg.inv(stack.base.to_ijk)[2]
    height = inverse[0] * i + inverse[1] * j + inverse[2] * k + inverse[3]
    # a voxel halfway between two planes belongs to the lower one, as in `slice_mask_to_voxels`
    return np.ceil(height - 0.5 - 1e-6).astype(np.int32)


def fuse_passes(passes: Sequence[WeightedPass], shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Probability and uncertainty in a box, both uint8 (k, j, i) with 255 for 1.

    The probability is the weighted mean over the passes; 0 where all weights are 0.
    """
    probability, uncertainty = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for start in range(0, shape[0], _SLAB):
        part = slice(start, min(start + _SLAB, shape[0]))
        parts = [each.layers(part) for each in passes]
        total = sum(weight for _, weight in parts)
        total = np.where(total > 0, total, 1.0)
        mean = sum(weight * p for p, weight in parts) / total
        variance = sum(weight * (p - mean) ** 2 for p, weight in parts) / total
        probability[part] = np.rint(255.0 * mean)
        uncertainty[part] = np.rint(255.0 * voxel_uncertainty(mean, variance))
    return probability, uncertainty


def box_around_passes(passes: Sequence[Propagation]) -> VoxelBox | None:
    """The smallest box around all nonzero stored probabilities of some passes; None if there are none."""
    low, high = np.full(3, np.iinfo(int).max), np.full(3, -1)
    for each in passes:
        for n, slice_ in each.slices.items():
            values, origin = slice_mask_to_voxels(slice_.probabilities, each.stack.plane(n), each.stack.volume)
            nonzero = np.argwhere(values)
            if len(nonzero):
                first = np.array(origin[::-1])
                low, high = np.minimum(low, first + nonzero.min(axis=0)), np.maximum(high, first + nonzero.max(axis=0))
    return None if (high < 0).any() else tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
