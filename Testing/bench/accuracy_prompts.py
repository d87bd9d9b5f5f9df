"""Prompts derived from a reference mask, as a careful user would give them."""

from __future__ import annotations

import numpy as np

from SAMLiverTumorLib.datasets.reference_prompts import BOX_MARGIN, box_around, deepest_point, largest_error
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.click_corrections import Click
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.volume import apply_affine

RULE = (
    f"Prompts are derived from the reference: a box {BOX_MARGIN} pixels outside the lesion's outline on its largest "
    "slice, or one click at its deepest place there; then corrective clicks, one by one, at the deepest place (in mm) "
    "of the largest connected error of the whole volume, missed or false positive."
)


def largest_slice(stack: PlaneStack, lesion: np.ndarray) -> int:
    """Index of the slice with the largest area of a lesion (k, j, i)."""
    axis = 2 - stack.plane(stack.first).axis
    return int(np.count_nonzero(lesion, axis=tuple(a for a in range(3) if a != axis)).argmax())


def box_anchor(stack: PlaneStack, lesion: np.ndarray) -> Anchor:
    """A box around the lesion on its largest slice."""
    index = largest_slice(stack, lesion)
    return Anchor(index, PlanePrompts(box=box_around(stack.slice_mask_of(lesion, stack.plane(index)))))


def point_anchor(stack: PlaneStack, lesion: np.ndarray) -> Anchor:
    """One click in the lesion on its largest slice."""
    index = largest_slice(stack, lesion)
    return Anchor(index, PlanePrompts([deepest_point(stack.slice_mask_of(lesion, stack.plane(index)))], [1]))


def next_click(stack: PlaneStack, mask: np.ndarray, lesion: np.ndarray) -> Click | None:
    """The click that corrects the largest error; None where mask and lesion (k, j, i) are equal."""
    error = largest_error(mask, lesion, stack.volume.spacing[::-1])
    if error is None:
        return None
    place, include = error
    return Click(apply_affine(stack.volume.ijk_to_ras, np.array(place[::-1]))[0], include)
