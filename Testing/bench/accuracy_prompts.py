"""Prompts derived from a reference, as a careful user would give them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.evaluation.lesions import bounding_box
from SAMLiverTumorLib.inference.anchors import Anchor
from SAMLiverTumorLib.inference.corrections import Click
from SAMLiverTumorLib.inference.pictures import deepest, grown_box
from SAMLiverTumorLib.inference.stack import PlaneStack
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.volume import apply_affine

# How far outside the lesion's outline a box is drawn (pixels).
BOX_MARGIN = 2

RULE = (
    f"Prompts are derived from the reference: a box {BOX_MARGIN} pixels outside the lesion's outline on the slice "
    "where it is largest; or one click at its deepest place there; corrective clicks one by one at the deepest place "
    "(in mm) of the largest connected error of the whole volume, missing or in excess."
)


def largest_slice(stack: PlaneStack, lesion: np.ndarray) -> int:
    """Index of the slice with most of a lesion (k, j, i)."""
    axis = 2 - stack.plane(stack.first).axis
    return int(np.count_nonzero(lesion, axis=tuple(a for a in range(3) if a != axis)).argmax())


def box_anchor(stack: PlaneStack, lesion: np.ndarray) -> Anchor:
    """A box around the lesion on its largest slice."""
    index = largest_slice(stack, lesion)
    return Anchor(index, PlanePrompts(box=grown_box(stack.picture_of(lesion, stack.plane(index)), BOX_MARGIN)))


def point_anchor(stack: PlaneStack, lesion: np.ndarray) -> Anchor:
    """One click in the lesion on its largest slice."""
    index = largest_slice(stack, lesion)
    return Anchor(index, PlanePrompts([deepest(stack.picture_of(lesion, stack.plane(index)))], [1]))


def next_click(stack: PlaneStack, mask: np.ndarray, lesion: np.ndarray) -> Click | None:
    """The click that corrects the largest error; None where mask and lesion (k, j, i) are equal."""
    worst: tuple[int, np.ndarray, bool] | None = None
    for error, include in ((lesion & ~mask, True), (mask & ~lesion, False)):
        box = bounding_box(error)
        if box is None:
            continue
        # padded, so that an error at the volume's border is not deep there
        labels, _ = ndimage.label(np.pad(error[box], 1), np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        if worst is None or sizes.max() > worst[0]:
            depth = ndimage.distance_transform_edt(labels == sizes.argmax(), sampling=stack.volume.spacing[::-1])
            place = np.array(np.unravel_index(int(depth.argmax()), depth.shape)) - 1
            worst = int(sizes.max()), place + [s.start for s in box], include
    if worst is None:
        return None
    return Click(apply_affine(stack.volume.ijk_to_ras, worst[1][::-1])[0], worst[2])
