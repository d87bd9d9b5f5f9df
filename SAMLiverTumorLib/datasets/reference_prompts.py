"""Trials of the comparison in two dimensions, and the prompts that a reference mask implies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.image.mask_geometry import PixelBox, bounding_box, deepest, grown_box
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.plane import slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

SMALLEST_PX = 50
"""Components of fewer pixels are no trial."""

BOX_MARGIN = 2
"""How far outside a lesion's outline its box is drawn, in pixels."""

LARGE_BOX = 0.2
"""Share of a box's length by which each side of one that is too large lies outside the lesion."""

TRIAL_RULE = (
    f"Trials: on every axial slice with tumor, each 8-connected component of at least {SMALLEST_PX} pixels is one."
)

PROMPT_RULE = (
    f"Prompts are derived from the reference, not given by people: a box {BOX_MARGIN} pixels outside the component's "
    "bounding box; a point at its pixel farthest from its outline; each corrective click at the deepest pixel of the "
    "largest 8-connected error, an include point where tumor is missing and an exclude point where it is marked in "
    "excess, with the previous low-resolution mask handed back (Kirillov et al., 2023). '3 points' is the state after "
    "the first point and two corrective clicks, '1 point + 3 corrections' the state after one more. 'box 20 % too "
    "large': each side lies a fifth of the bounding box's length outside it. A scribble is seven points along the "
    "component's longest axis, a lasso encloses it at a distance of a tenth of its radius."
)


def slice_trials(volume: Volume, tumor: np.ndarray) -> dict[int, list[np.ndarray]]:
    """Components worth a trial, bool pictures (rows, columns) of the axial plane, by its voxel index.

    :param tumor: bool (k, j, i) on the volume's grid.
    """
    found = {}
    for index in range(slice_count(volume, "axial")):
        picture = voxels_to_slice_mask(tumor, slice_plane(volume, "axial", index))
        components, count = ndimage.label(picture, np.ones((3, 3)))
        masks = [components == n for n in range(1, count + 1)]
        if large := [mask for mask in masks if np.count_nonzero(mask) >= SMALLEST_PX]:
            found[index] = large
    return found


def evenly(items: Sequence[int], count: int | None) -> list[int]:
    """At most `count` of the items, evenly spread over them, in order; None for all.

    >>> evenly([3, 4, 5, 6, 7], 3)
    [3, 5, 7]
    """
    if count is None or len(items) <= count:
        return list(items)
    if count == 1:
        return [items[len(items) // 2]]
    return [items[round(n * (len(items) - 1) / (count - 1))] for n in range(count)]


def box_around(mask: np.ndarray) -> PixelBox:
    """Edges (u0, v0, u1, v1) of a mask's bounding box, grown by the margin; pixel n reaches from n - 0.5 to n + 0.5."""
    return grown_box(mask, BOX_MARGIN)


def box_too_large(mask: np.ndarray) -> PixelBox:
    """Edges of a mask's bounding box, each side a fifth of the box's length farther out, as a hurried hand draws it."""
    u0, v0, u1, v1 = grown_box(mask, 0)
    wide, high = LARGE_BOX * (u1 - u0), LARGE_BOX * (v1 - v0)
    return u0 - wide, v0 - high, u1 + wide, v1 + high


def scribble_through(mask: np.ndarray) -> list[tuple[int, int]]:
    """Seven (u, v) along a mask's longest axis through its deepest pixel, each the deepest of its cut across it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    v, u = np.nonzero(mask)
    places = np.stack([u, v], axis=1).astype(float)
    places -= places.mean(axis=0)
    _, _, axes = np.linalg.svd(places, full_matrices=False)
    along = places @ axes[0]
    path = []
    for wanted in np.quantile(along, np.linspace(0.1, 0.9, 7)):
        near = np.abs(along - wanted) <= 0.75
        best = np.flatnonzero(near)[np.argmax(depth[v[near], u[near]])]
        path.append((int(u[best]), int(v[best])))
    return path


def wide_lasso(mask: np.ndarray) -> np.ndarray:
    """What a closed curve a tenth of the lesion's radius (at least one pixel) outside a mask encloses, bool."""
    radius = float(np.sqrt(np.count_nonzero(mask) / np.pi))
    return ndimage.binary_fill_holes(ndimage.distance_transform_edt(~mask) <= max(0.1 * radius, 1.0))


def deepest_point(mask: np.ndarray) -> tuple[int, int]:
    """(u, v) of the pixel farthest from a mask's outline."""
    u, v = deepest(mask)
    return int(u), int(v)


def largest_error(
    marked: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None
) -> tuple[tuple[int, ...], bool] | None:
    """Where to click next: the deepest place of the largest connected error.

    :param marked: bool, a picture (rows, columns) or a volume (k, j, i).
    :param reference: the same shape.
    :param spacing: of the array's axes, by which depth is measured; None for pixels.
    :return: index of the place, and whether the click includes (tumor is missing there) or excludes; None where both
        masks are equal. Errors touch at corners; of equally large ones the missing one counts.
    """
    error = largest_error_region(marked, reference)
    if error is None:
        return None
    region, start, include = error
    # padded, so that an error at the border is not deep there
    depth = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing)
    place = np.unravel_index(int(depth.argmax()), depth.shape)
    return tuple(int(p) - 1 + first for p, first in zip(place, start, strict=True)), include


def largest_error_region(marked: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, tuple[int, ...], bool] | None:
    """The largest connected error: bool region within a box, index of the box's start, and whether tumor is missing."""
    worst: tuple[int, np.ndarray, tuple[int, ...], bool] | None = None
    for error, include in ((reference & ~marked, True), (marked & ~reference, False)):
        box = bounding_box(error)
        if box is None:
            continue
        labels, _ = ndimage.label(error[box], np.ones((3,) * error.ndim))
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        if worst is None or sizes.max() > worst[0]:
            worst = int(sizes.max()), labels == sizes.argmax(), tuple(s.start for s in box), include
    return None if worst is None else worst[1:]


def shares(marked: np.ndarray, trials: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What of an automatic result counts to each trial of a slice.

    Each 8-connected object counts whole to the component that it shares most pixels with, of equals to the first one,
    and to none where it touches none.
    """
    objects, count = ndimage.label(marked, np.ones((3, 3)))
    shared = np.stack([np.bincount(objects[mask], minlength=count + 1) for mask in trials])
    owner = np.where(shared.any(axis=0), shared.argmax(axis=0), -1)
    owner[0] = -1
    return [(owner == n)[objects] for n in range(len(trials))]
