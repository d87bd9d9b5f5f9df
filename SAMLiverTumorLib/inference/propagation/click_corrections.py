"""A click on a propagated result: it makes its slice an anchor, and what lies beyond is done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.image.mask_geometry import area_mm2, around, grown_box, row_column_mm
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.contrast import smoothed
from SAMLiverTumorLib.inference.propagation.geodesic_distance import geodesic_distance
from SAMLiverTumorLib.inference.propagation.network_corrections import click_answer
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.inference.propagation.slice_step import Follower, Limits, Trail
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts

# What a click is sure of (mm around it): a user clicks a pixel, but means its surroundings.
_SURE_MM = 1.5

# A click outside the mask takes in what lies about as near to it (geodesic) as the mask, at most so far (mm); a click
# inside takes away what lies within a multiple of its distance to the outside: errors are thin along an outline.
_TAKES_IN, _TAKES_AWAY, _TAKES_MOST_MM = 1.25, 2.5, 12.0

# Surroundings (mm) that decide what belongs to a click.
_AROUND_MM = 12.0

# A click this deep in the mask (share of its greatest depth), or one whose cut leaves less than this share of it, says
# that there is no tumor on its slice.
_DEEP, _REMNANT = 0.9, 0.3


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

    What the click stands for on its slice is read from the grey values; a model trained for clicks is asked as well,
    see `network_corrections`.

    An include click beyond a stop goes on from there; an exclude click in the middle of what it refuses ends the
    tumor on its slice. Settings, rules and limits have to be those of the propagation for its slices to be kept.

    :raises SAMLiverTumorError: the click lies outside the volume; see `propagate`.
    """
    stack = propagation.stack
    settings, rules = settings or Settings(orientation=stack.orientation), rules or PropagationRules()
    follower = Follower(stack, pool, settings, rules, limits or Limits(), cancel)
    anchor = corrected_anchor(propagation, click, follower)
    anchors = [a for a in propagation.anchors if a.index != anchor.index]
    result = propagate(stack, [*anchors, anchor], pool, settings, rules, "both", limits, progress, cancel, propagation)
    models = {**follower.models, **result.provenance["models_by_name"]}
    provenance = {**result.provenance, "models": list(models.values()), "models_by_name": models}
    return replace(result, provenance=provenance)


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
    seeds = [np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)]
    for label, point in zip(prompts.labels, prompts.points, strict=True):
        seeds[label] |= _disc(plane, point)
    seeds[1 - int(click.include)] &= ~_disc(plane, uv)
    change = _including if click.include else _excluding
    picture = change(propagation, follower, index, present, _disc(plane, uv), seeds)
    model = None
    if not np.array_equal(picture, present):
        answer = click_answer(follower, index, prompts, picture, reached.probabilities if present.any() else None)
        picture, model = answer or (picture, None)
    box = grown_box(picture, follower.pixels(follower.rules.tight_mm, plane)) if picture.any() else None
    return Anchor(index, replace(prompts, box=box), picture, model)


def _including(
    propagation: Propagation,
    follower: Follower,
    index: int,
    present: np.ndarray,
    sure: np.ndarray,
    seeds: list[np.ndarray],
) -> np.ndarray:
    """The present mask and what a click outside it stands for; where there is none, what the network makes of it.

    :param sure: the disc around the click.
    :param seeds: discs around all exclude and all include clicks of the slice; bool (rows, columns).
    """
    if not (sure & ~present).any():
        return present
    nearest, trail = _nearest(propagation, follower, index)
    shape = present if present.any() else _moved_to(nearest, sure)
    plane = propagation.stack.plane(index)
    seeded = Trail(shape | sure, trail.contrast, max(trail.largest_mm2, area_mm2(shape | sure, plane)))
    found = follower.step(index, seeded, "anchor")[0].picture
    labels, _ = ndimage.label(found & ~present)
    added = np.isin(labels, np.unique(labels[sure & (labels > 0)])) & (labels > 0) if present.any() else found
    if not (found & sure).any():
        added = added | _grown(follower, plane, shape, sure, trail)
    if seeds[0].any():
        added = added & _nearer(follower, plane, added | sure, seeds[1], seeds[0], trail)
    return (present | added | sure) & ~seeds[0]


def _grown(follower: Follower, plane: Plane, present: np.ndarray, sure: np.ndarray, trail: Trail) -> np.ndarray:
    """What lies around a click and looks like it, as far as the mask it belongs to."""
    part = around(present | sure, plane, _AROUND_MM)
    distance = _distance(follower, plane, part, sure, trail)
    to_mask = float(distance[present[part]].min()) if present.any() else 0.0
    grown = np.zeros(present.shape, bool)
    grown[part] = distance <= min(max(_TAKES_IN * to_mask, _SURE_MM), _TAKES_MOST_MM)
    return grown


def _excluding(
    propagation: Propagation,
    follower: Follower,
    index: int,
    present: np.ndarray,
    sure: np.ndarray,
    seeds: list[np.ndarray],
) -> np.ndarray:
    """The present mask without what a click in it stands for; empty where it stands for all of it."""
    if not (present & sure).any():
        return present
    plane = propagation.stack.plane(index)
    nearest, trail = _nearest(propagation, follower, index)
    depth = ndimage.distance_transform_edt(np.pad(present, 1))[1:-1, 1:-1]
    core = present & nearest & ~sure
    core = (core & (depth >= 0.5 * depth[core].max())) if core.any() else core
    core |= present & seeds[1]
    if not core.any() or (depth[sure].max() >= _DEEP * depth.max() and not seeds[1].any()):
        return np.zeros_like(present)
    part = around(present, plane, _AROUND_MM)
    unlike = _distance(follower, plane, part, sure, trail)
    like = _distance(follower, plane, part, core, trail)
    outside = ~present[part]
    out = float(unlike[outside].min()) if outside.any() else 0.0
    left = present.copy()
    left[part] &= (like <= unlike) | (unlike > max(_TAKES_AWAY * out, _SURE_MM))
    left &= ~seeds[0]
    labels, _ = ndimage.label(left)
    left = np.isin(labels, np.unique(labels[core & left])) & left
    remains = np.count_nonzero(left) >= _REMNANT * np.count_nonzero(present)
    return left if remains or seeds[1].any() else np.zeros_like(present)


def _nearer(
    follower: Follower, plane: Plane, mask: np.ndarray, this: np.ndarray, other: np.ndarray, trail: Trail
) -> np.ndarray:
    """Pixels around a mask that are nearer (geodesic) to one set of seeds than to another."""
    part = around(mask | this | other, plane, _AROUND_MM)
    nearer = np.zeros(mask.shape, bool)
    nearer[part] = _distance(follower, plane, part, this, trail) <= _distance(follower, plane, part, other, trail)
    return nearer


def _distance(
    follower: Follower, plane: Plane, part: tuple[slice, slice], seeds: np.ndarray, trail: Trail
) -> np.ndarray:
    """Geodesic distance (mm) from seeds in a part of a plane."""
    predictor, _ = follower.predictor(PlanePrompts(box=(0.0, 0.0, 1.0, 1.0)))
    spacing = row_column_mm(plane)
    grey = smoothed(follower.grey(plane, predictor)[part], spacing, follower.rules.sigma_mm)
    return geodesic_distance(grey, seeds[part], spacing, trail.contrast.spread / 2)


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
