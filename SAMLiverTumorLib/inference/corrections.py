"""A click on a propagated result: it makes its slice an anchor, and what lies beyond is done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.inference.anchors import Anchor
from SAMLiverTumorLib.inference.follow import Follower, Limits, Trail, area_mm2, around, grown_box
from SAMLiverTumorLib.inference.geodesic import geodesic_distance
from SAMLiverTumorLib.inference.intensity import smoothed
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagated import Propagation
from SAMLiverTumorLib.inference.propagation import propagate
from SAMLiverTumorLib.inference.segment import Settings
from SAMLiverTumorLib.inference.stopping import PropagationRules
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts

# What a click is sure of (mm around it): a user clicks a pixel, but means its surroundings.
_SURE_MM = 1.5

# A click outside the mask takes in what lies about as near to it (geodesic) as the mask, at most so far (mm); a click
# inside takes away what lies within a multiple of its distance to the outside: errors are thin along an outline.
_TAKES_IN, _TAKES_AWAY, _TAKES_MOST_MM = 1.25, 2.5, 12.0

# Surroundings (mm) that decide what belongs to a click.
_AROUND_MM = 12.0

# A click this deep in the mask (share of its greatest depth) and in the trusted one says that there is no tumor.
_DEEP = 0.6


@dataclass(frozen=True, eq=False)
class Click:
    """A corrective click.

    :param point_ras: (3,) world RAS in mm.
    :param include: whether the tumor is there.
    """

    point_ras: np.ndarray
    include: bool


def correct(
    propagation: Propagation,
    click: Click,
    pool: PredictorPool,
    settings: Settings | None = None,
    rules: PropagationRules | None = None,
    limits: Limits | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Propagation:
    """Take a click into account and propagate again from its slice.

    An include click beyond a stop goes on from there; an exclude click in the middle of what it refuses ends the
    tumor on its slice. Settings, rules and limits have to be those of the propagation for its slices to be kept.

    :raises SAMLiverTumorError: the click lies outside the volume; see `propagate`.
    """
    stack = propagation.stack
    settings, rules = settings or Settings(orientation=stack.orientation), rules or PropagationRules()
    follower = Follower(stack, pool, settings, rules, limits or Limits(), cancel)
    anchor = corrected_anchor(propagation, click, follower)
    anchors = [a for a in propagation.anchors if a.index != anchor.index]
    return propagate(stack, [*anchors, anchor], pool, settings, rules, "both", limits, progress, cancel, propagation)


def corrected_anchor(propagation: Propagation, click: Click, follower: Follower) -> Anchor:
    """The anchor that a click makes of its slice: all that was said there, and a mask that agrees with it."""
    stack = propagation.stack
    index = stack.index_at(click.point_ras)
    plane = stack.plane(index)
    uv = plane.from_ras(click.point_ras)[0, :2]
    reached = propagation.slices.get(index)
    present = reached.picture if reached is not None else np.zeros(plane.shape, bool)
    before = next((a.prompts for a in propagation.anchors if a.index == index and a.prompts is not None), None)
    before = before or PlanePrompts()
    prompts = PlanePrompts(
        np.vstack([before.points, uv]), np.append(before.labels, int(click.include)), before.box, before.mask
    )
    sure = _disc(plane, uv)
    if click.include:
        picture = _including(propagation, follower, index, present, sure)
    else:
        picture = _excluding(propagation, follower, index, present, sure)
    box = grown_box(picture, follower.pixels(follower.rules.tight_mm, plane)) if picture.any() else None
    return Anchor(index, replace(prompts, box=box), picture)


def _including(
    propagation: Propagation, follower: Follower, index: int, present: np.ndarray, sure: np.ndarray
) -> np.ndarray:
    """The present mask and what a click outside it stands for; where there is none, what the network makes of it."""
    if (present & sure).sum() == sure.sum():
        return present
    nearest, trail = _nearest(propagation, follower, index)
    seed = present if present.any() else _moved_to(nearest, sure)
    plane = propagation.stack.plane(index)
    seeded = Trail(seed | sure, trail.contrast, max(trail.largest_mm2, area_mm2(seed | sure, plane)))
    found = follower.step(index, seeded, "anchor")[0].picture
    labels, _ = ndimage.label(found & ~present)
    touched = np.unique(labels[sure & (labels > 0)])
    added = np.isin(labels, touched[touched > 0])
    if not present.any():
        added = found
    if not (found & sure).any():
        added = added | _grown(follower, plane, seed, sure, trail)
    return present | added | sure


def _grown(follower: Follower, plane: Plane, present: np.ndarray, sure: np.ndarray, trail: Trail) -> np.ndarray:
    """What lies around a click and looks like it, as far as the mask it belongs to."""
    part = around(present | sure, plane, _AROUND_MM)
    grey, spacing = _grey(follower, plane, part), (plane.spacing[1], plane.spacing[0])
    distance = geodesic_distance(grey, sure[part], spacing, trail.contrast.spread / 2)
    to_mask = float(distance[present[part]].min()) if present.any() else 0.0
    grown = np.zeros(present.shape, bool)
    grown[part] = distance <= min(max(_TAKES_IN * to_mask, _SURE_MM), _TAKES_MOST_MM)
    return grown


def _excluding(
    propagation: Propagation, follower: Follower, index: int, present: np.ndarray, sure: np.ndarray
) -> np.ndarray:
    """The present mask without what a click in it stands for; empty where it stands for all of it."""
    if not (present & sure).any():
        return present
    plane = propagation.stack.plane(index)
    nearest, trail = _nearest(propagation, follower, index)
    trusted = present & nearest & ~sure
    depth = ndimage.distance_transform_edt(np.pad(present, 1))[1:-1, 1:-1]
    if not trusted.any() or ((nearest & sure).any() and depth[sure].max() >= _DEEP * depth.max()):
        return np.zeros_like(present)
    part = around(present, plane, _AROUND_MM)
    grey, spacing = _grey(follower, plane, part), (plane.spacing[1], plane.spacing[0])
    core = trusted & (depth >= 0.5 * depth[trusted].max())
    unlike = geodesic_distance(grey, sure[part], spacing, trail.contrast.spread / 2)
    like = geodesic_distance(grey, core[part], spacing, trail.contrast.spread / 2)
    left = present.copy()
    out = float(unlike[~present[part]].min()) if (~present[part]).any() else 0.0
    left[part] &= (like <= unlike) | (unlike > max(_TAKES_AWAY * out, _SURE_MM))
    left &= ~sure
    labels, _ = ndimage.label(left)
    return np.isin(labels, np.unique(labels[core & left])) & left


def _nearest(propagation: Propagation, follower: Follower, index: int) -> tuple[np.ndarray, Trail]:
    """The mask of the anchor nearest to a slice, other than its own, and its contrast; or of its own anchor."""
    masked = [a for a in propagation.anchors if propagation.slices[a.index].result.pixels]
    others = [a for a in masked if a.index != index] or masked
    anchor = min(others, key=lambda a: abs(a.index - index))
    trail = follower.begin(propagation.slices[anchor.index])
    reached = [n for n in propagation.reached if n != index] or [anchor.index]
    side = [n for n in reached if (anchor.index - index) * (n - index) >= 0] or reached
    return propagation.slices[min(side, key=lambda n: abs(n - index))].picture, trail


def _moved_to(mask: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """A mask of another slice as it is where it holds the click, else moved there."""
    if (mask & sure).any():
        return mask
    here, there = (np.argwhere(each).mean(axis=0) for each in (mask, sure))
    shift = np.rint(there - here).astype(int)
    moved = np.zeros_like(mask)
    rows, columns = (np.argwhere(mask) + shift).T
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    moved[rows[inside], columns[inside]] = True
    return moved


def _disc(plane: Plane, uv: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[: plane.shape[0], : plane.shape[1]]
    distance = np.hypot((u - uv[0]) * plane.spacing[0], (v - uv[1]) * plane.spacing[1])
    return distance <= max(_SURE_MM, float(distance.min()))


def _grey(follower: Follower, plane: Plane, part: tuple[slice, slice]) -> np.ndarray:
    predictor, _ = follower.predictor(PlanePrompts(box=(0.0, 0.0, 1.0, 1.0)))
    grey = follower.grey(plane, predictor)[part]
    return smoothed(grey, (plane.spacing[1], plane.spacing[0]), follower.rules.sigma_mm)
