"""`changedPlaces`: where undo or redo has changed something, so that the views can show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.mrml.session.open_object import OpenObject, inBox, unionBox
from SAMLiverTumorLib.volume import apply_affine

if TYPE_CHECKING:
    from SAMLiverTumorLib.mrml.session.step_history import Step


def changedPlaces(before: Step, now: Step) -> np.ndarray:
    """World RAS (mm), shape (n, 3), of voxels that differ between two states of a segment; if none do, of prompts.

    The first place is one to look at: amid what has changed on the slice where most has.
    """
    parts = [np.zeros((0, 3))]
    if now.changesVoxels:
        for key in dict.fromkeys([*before.objects, *now.objects]):
            old, new = (step.objects.get(key) or OpenObject(key) for step in (before, now))
            parts.append(_changedVoxels(old, new))
    places = max(parts, key=len)
    return places if len(places) else _changedPrompts(before, now)


def _changedVoxels(old: OpenObject, new: OpenObject) -> np.ndarray:
    masks = [mask for part in (old, new) for mask in (part.added, part.removed) if mask is not None]
    box = unionBox(masks)
    if box is None:
        return np.zeros((0, 3))
    origin, shape = box
    changed = inBox(old.added, origin, shape) ^ inBox(new.added, origin, shape)
    changed |= inBox(old.removed, origin, shape) ^ inBox(new.removed, origin, shape)
    kji = np.argwhere(changed)
    if not len(kji):
        return np.zeros((0, 3))
    onSlice = kji[kji[:, 0] == np.bincount(kji[:, 0]).argmax()]
    first = onSlice[np.linalg.norm(onSlice - onSlice.mean(axis=0), axis=1).argmin()]
    return apply_affine(masks[0].ijk_to_ras, np.vstack([first, kji])[:, ::-1] + origin)


def _changedPrompts(before: Step, now: Step) -> np.ndarray:
    old, new = before.prompts, now.prompts
    points = [
        point[0]
        for one, other in ((old.include, new.include), (old.exclude, new.exclude))
        for point in (*one, *other)
        if (point in one) != (point in other)
    ]
    if old.roi != new.roi:
        points += [np.reshape(roi.objectToNode, (4, 4))[:3, 3] for roi in (old.roi, new.roi) if roi is not None]
    return np.reshape(points, (-1, 3)).astype(float)
