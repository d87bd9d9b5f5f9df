"""Corrections of the network's own answers, as users give them: clicks at errors, seldom an outlined slice."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.datasets.reference_prompts import largest_error_region
from SAMLiverTumorLib.inference.whole_tumor.channels import INSIDE, OUTSIDE, add_ball
from SAMLiverTumorLib.training.whole_tumor.examples import Example

_DEEPEST, _OUTLINED = 0.6, 0.12


def correct(example: Example, marked: np.ndarray, rng: np.random.Generator) -> None:
    """Mark one correction in an example, in place, and take an answer for the mask so far.

    The click lies in the largest connected error, mostly where that is deepest; where nothing is wrong, in the lesion.

    :param marked: bool (n, n, n), the answer.
    """
    example.previous = marked.astype(np.float32)
    error = largest_error_region(marked, example.target)
    region, start, missed = error if error is not None else (example.target, (0, 0, 0), True)
    place = np.array(start) + _click(region, rng)
    if rng.random() < _OUTLINED:
        layer: list[slice | int] = [slice(None)] * 3
        axis = int(rng.integers(3))
        layer[axis] = int(place[axis])
        example.slices[tuple(layer)] = np.where(example.target[tuple(layer)], INSIDE, OUTSIDE)
    else:
        add_ball(example.include if missed else example.exclude, place)


def _click(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Index (3,) of a voxel of a region: its deepest one, or one drawn by depth."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1].ravel()
    deepest = rng.random() < _DEEPEST
    number = depth.argmax() if deepest else rng.choice(depth.size, p=depth / depth.sum())
    return np.array(np.unravel_index(int(number), region.shape))
