"""Propagation for an interactive session: from the slices prompted and corrected so far to voxels, slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from SAMLiverTumorLib.image.mask_geometry import PixelBox
from SAMLiverTumorLib.image.sampling import mask_to_voxels
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.click_corrections import Click, correct
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.prompted_slice import PromptedSlice, PropagatedSlice
from SAMLiverTumorLib.inference.propagation.propagator import Propagator
from SAMLiverTumorLib.inference.propagation.result import Propagation, SlicePropagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.prompts import PlanePrompts


class Continuation:
    """A propagation from prompted slices, or the update of an earlier one after a prompt changed.

    A new click on a propagated slice corrects that slice, and the slices beyond are recomputed. After any other change
    it propagates again from the prompted slices, reusing what is still valid.

    :param settings: model, window, channels.
    :param direction: "both", "up" or "down", see `Propagator`.
    :param previous: the earlier result on the same stack, or None.
    :param cancel: called before every slice and every layer of the encoder.
    """

    def __init__(
        self,
        stack: PlaneStack,
        prompted: Sequence[PromptedSlice],
        pool: PredictorPool,
        settings: Settings,
        direction: str = "both",
        limits: Limits | None = None,
        previous: Propagation | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> None:
        self._stack, self._prompted, self._pool, self._settings = stack, prompted, pool, settings
        self._direction, self._limits = direction, limits or Limits()
        self._previous, self._cancel = previous, cancel
        self.result: Propagation | None = previous

    def steps(self) -> Iterator[PropagatedSlice]:
        """Run it, yielding each slice whose voxels changed.

        :raises SAMLiverTumorError: unusable prompts, window or model.
        """
        clicks = self._clicks()
        before = dict(self._previous.slices) if self._previous is not None else {}
        if clicks:
            for click in clicks:
                self.result = correct(
                    self.result, click, self._pool, self._settings, None, self._limits, cancel=self._cancel
                )
                if self.result.cancelled:
                    break
            for index, each in self.result.slices.items():
                if before.get(index) is not each:
                    yield self._propagated_slice(each)
        else:
            yield from self._propagated(before)
        for index in sorted(before.keys() - self.result.slices.keys()):
            if not self.result.cancelled:
                yield PropagatedSlice(index, None, None)

    def _propagated(self, before: dict[int, SlicePropagation]) -> Iterator[PropagatedSlice]:
        anchors = [anchor for anchor in map(self._anchor, self._prompted) if anchor is not None]
        propagator = Propagator(
            self._stack,
            anchors,
            self._pool,
            self._settings,
            None,
            self._direction,
            self._limits,
            self._cancel,
            self._previous,
        )
        for each in propagator.steps():
            self.result = self._joined(propagator.result)
            if before.get(each.index) is not each:
                yield self._propagated_slice(each)
        self.result = self._joined(propagator.result)

    def _joined(self, result: Propagation) -> Propagation:
        """The result, with the earlier one in the opposite direction where that has the same anchors and settings."""
        other = {"up": "down", "down": "up"}.get(self._direction)
        previous = self._previous
        if other is None or previous is None or not _same_basis(previous, result):
            return result
        if {anchor.key for anchor in previous.anchors} != {anchor.key for anchor in result.anchors}:
            return result
        slices = {n: each for n, each in previous.slices.items() if each.source == other}
        passes = {key: each for key, each in previous.passes.items() if key[1] == other}
        stops = tuple(stop for stop in previous.stops if stop.direction == other)
        return replace(
            result,
            slices=dict(sorted({**slices, **result.slices}.items())),
            passes={**passes, **result.passes},
            stops=(*stops, *(stop for stop in result.stops if stop not in stops)),
        )

    def _propagated_slice(self, each: SlicePropagation) -> PropagatedSlice:
        mask = mask_to_voxels(each.slice_mask, self._stack.plane(each.index), self._stack.volume)
        entry = self.result.provenance["models_by_name"].get(each.result.model)
        return PropagatedSlice(each.index, mask, None if entry is None else {**entry, "mode": "volume"})

    def _anchor(self, each: PromptedSlice) -> Anchor | None:
        """The slice as an anchor, with its mask if it was corrected; None for exclude points on an empty slice."""
        known = self._known(each.index)
        if known is not None and _same_prompts(known.prompts, each.prompts):
            return known
        if each.mask is None:
            is_usable = each.prompts is not None and each.prompts.says_where
            return Anchor(each.index, each.prompts) if is_usable else None
        plane = self._stack.plane(each.index)
        return Anchor(each.index, each.prompts, self._stack.slice_mask_of(each.mask.full(), plane))

    def _known(self, index: int) -> Anchor | None:
        anchors = self._previous.anchors if self._previous is not None else ()
        return next((anchor for anchor in anchors if anchor.index == index), None)

    def _clicks(self) -> list[Click]:
        """New points, if nothing but added points has changed since the previous result; otherwise none."""
        if self._previous is None:
            return []
        by_index = {each.index: each for each in self._prompted}
        if any(anchor.index not in by_index for anchor in self._previous.anchors):
            return []
        clicks = []
        for each in self._prompted:
            known = self._known(each.index)
            old = (known.prompts if known is not None else None) or PlanePrompts()
            now = each.prompts or PlanePrompts()
            new = [n for n in range(len(now.points)) if not _has_point(old, now.points[n], now.labels[n])]
            kept = all(_has_point(now, *point) for point in zip(old.points, old.labels, strict=True))
            # a corrected slice has a box of its own, drawn around the corrected mask
            box_is_new = now.box is not None and (
                known is None or (not len(old.points) and not _same_box(now.box, old.box))
            )
            if not kept or (box_is_new and not len(now.points)):
                return []
            plane = self._stack.plane(each.index)
            for n in new:
                point = plane.to_ras @ [*now.points[n], 0.0, 1.0]
                clicks.append(Click(point[:3], bool(now.labels[n])))
        # include clicks first: an exclude click on a slice without a mask means that there is no tumor
        return sorted(clicks, key=lambda click: not click.include)


def _same_basis(one: Propagation, other: Propagation) -> bool:
    """Whether both come from the same voxels, networks, stack, settings, rules and limits."""
    models, others = one.provenance["models_by_name"], other.provenance["models_by_name"]
    return one.provenance["basis"] == other.provenance["basis"] and all(
        models[name] == others[name] for name in models.keys() & others.keys()
    )


def _has_point(prompts: PlanePrompts, point: np.ndarray, label: int) -> bool:
    """Whether the prompts include this point with this label."""
    same = [np.allclose(point, other, atol=1e-4) for other in prompts.points]
    return any(is_same and known == label for is_same, known in zip(same, prompts.labels, strict=True))


def _same_box(one: PixelBox | None, other: PixelBox | None) -> bool:
    """Whether two boxes are equal but for rounding in files."""
    if one is None or other is None:
        return one is other
    return np.allclose(one, other, atol=1e-4)


def _same_prompts(one: PlanePrompts | None, other: PlanePrompts | None) -> bool:
    """Whether two sets of prompts are equal but for rounding in files."""
    if one is None or other is None:
        return one is other
    points = len(one.points) == len(other.points) and all(
        _has_point(one, *point) for point in zip(other.points, other.labels, strict=True)
    )
    # see `_clicks`: the box of a corrected slice is not the user's
    return points and (_same_box(one.box, other.box) or bool(len(one.points)))
