"""What each pass of an ensemble says of the voxels of a box, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.image.sampling import picture_to_voxels
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import Propagation, SlicePropagation
from SAMLiverTumorLib.inference.uncertainty.entropy import uncertainty
from SAMLiverTumorLib.voxel_map import VoxelBox

# Slices (k) that are fused at once: what is held as float stays a few megabytes.
_SLAB = 8


@dataclass(frozen=True, eq=False)
class Vote:
    """What one pass says of a box.

    :param probability: uint8 (k, j, i) of the box; 255 stands for 1.
    :param weight: float32 that broadcasts to the box; 0 where the pass has no say.
    """

    probability: np.ndarray
    weight: np.ndarray

    def of_layers(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Probability 0 to 1 and weight, float32, of some layers k of the box."""
        weight = self.weight[part] if self.weight.shape[0] > 1 else self.weight
        return self.probability[part].astype(np.float32) / 255.0, weight


def vote(propagation: Propagation, box: VoxelBox, share: float = 1.0) -> Vote:
    """What a propagation says of a box: the probabilities of its slices, each weighing as much as its confidence.

    Beyond a slice where it ended by itself it says 0, with full weight: that is what the end means. Where it was cut
    short or not asked to go (Cancel, one direction alone) it has no say.

    :param share: what all its weights are multiplied with.
    """
    stack, slices = propagation.stack, propagation.slices
    index = indices(stack, box)
    planes = range(int(index.min()), int(index.max()) + 1)
    weights = dict.fromkeys(planes, 0.0) | {n: each.confidence for n, each in slices.items()}
    for stop in propagation.stops:
        n, step = stop.index, stack.up if stop.direction == "up" else -stack.up
        while stop.kind != "cancelled" and n in planes and n not in slices:
            weights[n] = 1.0
            n += step
    table = np.array([weights[n] for n in planes], np.float32)
    return Vote(spread(stack, slices, box), share * table[index - planes.start])


def spread(stack: PlaneStack, slices: dict[int, SlicePropagation], box: VoxelBox) -> np.ndarray:
    """The probabilities of slices in the voxels of a box, uint8 (k, j, i).

    Voxels are sampled at their centers: on straight slices each is a pixel of its own, whatever the spacing; on
    oblique planes it takes the nearest pixel of its plane, as the mask does.
    """
    low = np.array([part.start for part in box])
    shape = np.array([part.stop - part.start for part in box])
    array = np.zeros(shape, np.uint8)
    for n, each in slices.items():
        values, origin = picture_to_voxels(each.probabilities, stack.plane(n), stack.volume)
        first = np.array(origin[::-1]) - low
        start, stop = np.maximum(first, 0), np.minimum(first + values.shape, shape)
        if (start >= stop).any():
            continue
        inner = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        outer = tuple(slice(a, b) for a, b in zip(start - first, stop - first, strict=True))
        # an oblique layer's box overlaps its neighbors', which it leaves at 0
        array[inner] = np.maximum(array[inner], values[outer])
    return array


def indices(stack: PlaneStack, box: VoxelBox) -> np.ndarray:
    """The stack's index of the plane that each voxel of a box belongs to; int, broadcasts to the box."""
    axis = stack.plane(stack.first).axis
    if axis is not None:
        along = np.arange(box[2 - axis].start, box[2 - axis].stop)
        return along.reshape([-1 if a == 2 - axis else 1 for a in range(3)])
    k, j, i = np.ogrid[box]
    inverse = np.linalg.inv(stack.base.to_ijk)[2]
    height = inverse[0] * i + inverse[1] * j + inverse[2] * k + inverse[3]
    # halfway between two planes a voxel belongs to the lower one, as in `picture_to_voxels`
    return np.ceil(height - 0.5 - 1e-6).astype(np.int32)


def fused(votes: Sequence[Vote], shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Probability and uncertainty of a box from the votes on it, both uint8 (k, j, i), 255 for 1.

    The probability is the weighted mean of the votes; 0 where none has a say.
    """
    probability, doubt = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for start in range(0, shape[0], _SLAB):
        part = slice(start, min(start + _SLAB, shape[0]))
        parts = [each.of_layers(part) for each in votes]
        total = sum(weight for _, weight in parts)
        total = np.where(total > 0, total, 1.0)
        mean = sum(weight * p for p, weight in parts) / total
        variance = sum(weight * (p - mean) ** 2 for p, weight in parts) / total
        probability[part] = np.rint(255.0 * mean)
        doubt[part] = np.rint(255.0 * uncertainty(mean, variance))
    return probability, doubt


def box_of(passes: Sequence[Propagation]) -> VoxelBox | None:
    """The smallest box that holds all probabilities worth keeping of some passes; None if there are none."""
    low, high = np.full(3, np.iinfo(int).max), np.full(3, -1)
    for each in passes:
        for n, slice_ in each.slices.items():
            values, origin = picture_to_voxels(slice_.probabilities, each.stack.plane(n), each.stack.volume)
            filled = np.argwhere(values)
            if len(filled):
                first = np.array(origin[::-1])
                low, high = np.minimum(low, first + filled.min(axis=0)), np.maximum(high, first + filled.max(axis=0))
    return None if (high < 0).any() else tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
