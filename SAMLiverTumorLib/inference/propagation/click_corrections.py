"""Correct a propagated result by a click: its slice becomes an anchor, and the slices beyond are recomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.image.mask_geometry import area_mm2, around, grown_box, row_column_mm
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.contrast import smoothed
from SAMLiverTumorLib.inference.propagation.geodesic_distance import geodesic_distance
from SAMLiverTumorLib.inference.propagation.network_corrections import refined_by_network
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits, SliceStepper, StepState
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts

# Radius (mm) of the disc that a click labels: users click a pixel, but mean its surroundings.
_CLICK_MM = 1.5

# An include click adds pixels up to this multiple of its geodesic distance to the mask, and no farther than so many mm.
# An exclude click removes pixels up to this multiple of its distance to the background, because errors are thin layers
# along an outline.
_ADD_FACTOR, _REMOVE_FACTOR, _MOST_ADDED_MM = 1.25, 2.5, 12.0

# Margin (mm) within which geodesic distances are computed.
_AROUND_MM = 12.0

# An exclude click removes the whole mask of its slice if it lies at this fraction of the mask's greatest depth, or
# would leave less than this fraction of the mask.
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
    """Correct the slice of a click and propagate again from there.

    The region that the click adds or removes follows from the grey values. If a model trained for clicks is available,
    it refines the slice, see `network_corrections`.

    An include click beyond a stop continues the propagation from there. An exclude click deep inside the mask ends the
    tumor at its slice. Slices are reused only if settings, rules and limits are those of the propagation.

    :raises SAMLiverTumorError: the click lies outside the volume; see `propagate`.
    """
    stack = propagation.stack
    settings, rules = settings or Settings(orientation=stack.orientation), rules or PropagationRules()
    stepper = SliceStepper(stack, pool, settings, rules, limits or Limits(), cancel)
    anchor = corrected_anchor(propagation, click, stepper)
    anchors = [a for a in propagation.anchors if a.index != anchor.index]
    result = propagate(stack, [*anchors, anchor], pool, settings, rules, "both", limits, progress, cancel, propagation)
    models = {**stepper.models, **result.provenance["models_by_name"]}
    provenance = {**result.provenance, "models": list(models.values()), "models_by_name": models}
    return replace(result, provenance=provenance)


def corrected_anchor(propagation: Propagation, click: Click, stepper: SliceStepper) -> Anchor:
    """The anchor for a clicked slice: all prompts there, the click included, and a mask that agrees with them."""
    stack = propagation.stack
    index = stack.index_at(click.point_ras)
    plane = stack.plane(index)
    uv = plane.from_ras(click.point_ras)[0, :2]
    reached = propagation.slices.get(index)
    present = reached.slice_mask if reached is not None else np.zeros(plane.shape, bool)
    before = next((a.prompts for a in propagation.anchors if a.index == index and a.prompts is not None), None)
    before = before or PlanePrompts()
    prompts = PlanePrompts(
        np.vstack([before.points, uv]), np.append(before.labels, int(click.include)), before.box, before.mask
    )
    discs = [np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)]
    for label, point in zip(prompts.labels, prompts.points, strict=True):
        discs[label] |= _disc(plane, point)
    discs[1 - int(click.include)] &= ~_disc(plane, uv)
    clicked = _ClickedSlice(propagation, stepper, index, plane, present, _disc(plane, uv), *discs)
    slice_mask = clicked.mask_with_click() if click.include else clicked.mask_without_click()
    model = None
    if not np.array_equal(slice_mask, present):
        before_click = reached.probabilities if present.any() else None
        refined = refined_by_network(stepper, index, prompts, slice_mask, before_click)
        slice_mask, model = refined or (slice_mask, None)
    box = grown_box(slice_mask, stepper.pixels(stepper.rules.tight_mm, plane)) if slice_mask.any() else None
    return Anchor(index, replace(prompts, box=box), slice_mask, model)


@dataclass(frozen=True, eq=False)
class _ClickedSlice:
    """A slice with a new click. All masks are bool (rows, columns).

    :param present: the slice's mask before the click.
    :param disc: the disc around the click.
    :param excluded: discs around all exclude clicks of the slice, the new one included.
    :param included: likewise around all include clicks.
    """

    propagation: Propagation
    stepper: SliceStepper
    index: int
    plane: Plane
    present: np.ndarray
    disc: np.ndarray
    excluded: np.ndarray
    included: np.ndarray

    def mask_with_click(self) -> np.ndarray:
        """The mask after an include click outside it; the network's mask of the click if there was none."""
        present, disc = self.present, self.disc
        if not (disc & ~present).any():
            return present
        nearest, state = self._nearest
        shape = present if present.any() else _moved_to(nearest, disc)
        seeded = StepState(shape | disc, state.contrast, max(state.largest_mm2, area_mm2(shape | disc, self.plane)))
        found = self.stepper.step(self.index, seeded, "anchor")[0].slice_mask
        labels, _ = ndimage.label(found & ~present)
        added = np.isin(labels, np.unique(labels[disc & (labels > 0)])) & (labels > 0) if present.any() else found
        if not (found & disc).any():
            added = added | self._grown(shape)
        if self.excluded.any():
            added = added & self._nearer_included(added)
        return (present | added | disc) & ~self.excluded

    def mask_without_click(self) -> np.ndarray:
        """The mask after an exclude click inside it; empty if the click removes all of it."""
        present, disc = self.present, self.disc
        if not (present & disc).any():
            return present
        nearest, _ = self._nearest
        depth = ndimage.distance_transform_edt(np.pad(present, 1))[1:-1, 1:-1]
        core = present & nearest & ~disc
        core = (core & (depth >= 0.5 * depth[core].max())) if core.any() else core
        core |= present & self.included
        if not core.any() or (depth[disc].max() >= _DEEP * depth.max() and not self.included.any()):
            return np.zeros_like(present)
        part = around(present, self.plane, _AROUND_MM)
        to_click, to_core = self._distance(part, disc), self._distance(part, core)
        outside = ~present[part]
        to_outside = float(to_click[outside].min()) if outside.any() else 0.0
        left = present.copy()
        left[part] &= (to_core <= to_click) | (to_click > max(_REMOVE_FACTOR * to_outside, _CLICK_MM))
        left &= ~self.excluded
        labels, _ = ndimage.label(left)
        left = np.isin(labels, np.unique(labels[core & left])) & left
        remains = np.count_nonzero(left) >= _REMNANT * np.count_nonzero(present)
        return left if remains or self.included.any() else np.zeros_like(present)

    def _grown(self, mask: np.ndarray) -> np.ndarray:
        """Pixels around the click with similar grey values, about as far as a mask."""
        part = around(mask | self.disc, self.plane, _AROUND_MM)
        distance = self._distance(part, self.disc)
        to_mask = float(distance[mask[part]].min()) if mask.any() else 0.0
        grown = np.zeros(mask.shape, bool)
        grown[part] = distance <= min(max(_ADD_FACTOR * to_mask, _CLICK_MM), _MOST_ADDED_MM)
        return grown

    def _nearer_included(self, mask: np.ndarray) -> np.ndarray:
        """Pixels around a mask with a smaller geodesic distance to include clicks than to exclude clicks."""
        part = around(mask | self.included | self.excluded, self.plane, _AROUND_MM)
        nearer = np.zeros(mask.shape, bool)
        nearer[part] = self._distance(part, self.included) <= self._distance(part, self.excluded)
        return nearer

    def _distance(self, part: tuple[slice, slice], seeds: np.ndarray) -> np.ndarray:
        """Geodesic distance (mm) from seeds in a part of the plane."""
        spacing = row_column_mm(self.plane)
        grey = smoothed(self._grey[part], spacing, self.stepper.rules.sigma_mm)
        return geodesic_distance(grey, seeds[part], spacing, self._nearest[1].contrast.spread / 2)

    @cached_property
    def _grey(self) -> np.ndarray:
        """Grey values of the plane, uint8."""
        predictor, _ = self.stepper.predictor(PlanePrompts(box=(0.0, 0.0, 1.0, 1.0)))
        return self.stepper.grey(self.plane, predictor)

    @cached_property
    def _nearest(self) -> tuple[np.ndarray, StepState]:
        """The nearest other slice's mask on the side of the nearest other anchor, and that anchor's state.

        If there is no other, those of the slice itself.
        """
        propagation, index = self.propagation, self.index
        masked = [a for a in propagation.anchors if propagation.slices[a.index].result.pixels]
        others = [a for a in masked if a.index != index] or masked
        anchor = min(others, key=lambda a: abs(a.index - index))
        state = self.stepper.begin(propagation.slices[anchor.index])
        reached = [n for n in propagation.reached if n != index] or [anchor.index]
        side = [n for n in reached if (anchor.index - index) * (n - index) >= 0] or reached
        return propagation.slices[min(side, key=lambda n: abs(n - index))].slice_mask, state


def _moved_to(mask: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Another slice's mask, moved to the click's disc if it does not touch it."""
    if (mask & disc).any():
        return mask
    here, there = (np.argwhere(each).mean(axis=0) for each in (mask, disc))
    shift = np.rint(there - here).astype(int)
    moved = np.zeros_like(mask)
    rows, columns = (np.argwhere(mask) + shift).T
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    moved[rows[inside], columns[inside]] = True
    return moved


def _disc(plane: Plane, uv: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[: plane.shape[0], : plane.shape[1]]
    distance = np.hypot((u - uv[0]) * plane.spacing[0], (v - uv[1]) * plane.spacing[1])
    return distance <= max(_CLICK_MM, float(distance.min()))
