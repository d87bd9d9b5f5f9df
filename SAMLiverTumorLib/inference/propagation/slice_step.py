"""One step of a propagation: the mask of one slice prompts the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.image.mask_geometry import (
    PixelBox,
    area_mm2,
    around,
    connected,
    deepest,
    grown_box,
    row_column_mm,
    stability,
    stored,
)
from SAMLiverTumorLib.image.sampling import within
from SAMLiverTumorLib.image.window import check_window
from SAMLiverTumorLib.inference.model_choice import check_prompts, choose_model
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.contrast import Contrast, measure_contrast, smoothed
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import SlicePropagation, boxed
from SAMLiverTumorLib.inference.propagation.stopping_rules import Measured, PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings, SliceResult, model_entry, slice_image, window_for
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import Box, PlanePrompts
from SAMLiverTumorLib.volume import apply_affine

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor

# Limit of the log-likelihood ratio of grey values, so that they cannot overrule the network: about one logit at the
# default weight.
_MOST_EVIDENCE = 3.0

# Least margin in pixels between a mask and the box around it, as in the networks' training: with one pixel, large
# tumors of LiTS 117 shrank from slice to slice.
_LEAST_PIXELS = 2.0

# Margin (mm) around a mask within which grey values are measured.
_SURROUNDINGS_MM = 8.0


@dataclass(frozen=True)
class Limits:
    """Limits that a propagation does not leave.

    :param liver: bool (k, j, i) of the whole volume, or None.
    :param roi: a box in world RAS, or None.
    """

    liver: np.ndarray | None = None
    roi: Box | None = None

    @cached_property
    def liver_hash(self) -> str | None:
        """SHA-256 of the liver mask; None where there is none."""
        if self.liver is None:
            return None
        digest = hashlib.sha256(repr(self.liver.shape).encode())
        digest.update(np.packbits(self.liver))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class StepState:
    """What the next step needs from the previous ones.

    :param slice_mask: the last slice's mask, bool (rows, columns).
    :param contrast: of the anchor.
    :param largest_mm2: area of the largest mask so far.
    :param iou: predicted IoU of the first propagated slice; None before that.
    :param low_resolution: the last slice's logits (1, 256, 256) for models with mask prompts, or None.
    """

    slice_mask: np.ndarray
    contrast: Contrast
    largest_mm2: float
    iou: float | None = None
    low_resolution: np.ndarray | None = None


class SliceStepper:
    """Segments anchors and single propagation steps on one stack of planes.

    :param cancel: called before every layer of the encoder.
    """

    def __init__(
        self,
        stack: PlaneStack,
        pool: PredictorPool,
        settings: Settings,
        rules: PropagationRules,
        limits: Limits,
        cancel: Callable[[], bool] | None = None,
    ) -> None:
        self.stack, self.settings, self.rules, self.limits = stack, settings, rules, limits
        self.pool, self._cancel = pool, cancel
        self._chosen: dict[frozenset[str], str] = {}
        self.models: dict[str, dict] = {}
        """Provenance of the models used so far, by name: id, sha256, window."""

    def anchor(self, anchor: Anchor) -> SlicePropagation:
        """The slice of an anchor: its mask if it has one, otherwise the network's mask of its prompts.

        :raises SAMLiverTumorError: the model does not support these prompts, or the window does not suit the volume;
            `Cancelled`.
        """
        plane = self.stack.plane(anchor.index)
        if anchor.slice_mask is not None:
            return certain_slice(anchor.index, anchor.slice_mask, anchor.model)
        predictor, model = self.predictor(anchor.prompts)
        embedding, _ = self.embed(plane, predictor)
        prediction = predictor.predict(embedding, anchor.prompts)
        slice_mask = prediction.mask
        if anchor.prompts.box is not None:
            slice_mask = slice_mask & within(anchor.prompts.box, slice_mask.shape)
        probabilities = stored(prediction.logits, slice_mask)
        return self._slice(anchor.index, probabilities, slice_mask, "anchor", 1.0, model, prediction)

    def begin(self, anchor_slice: SlicePropagation) -> StepState | None:
        """State for the first step after an anchor; None if the anchor is empty."""
        slice_mask = anchor_slice.slice_mask
        if not slice_mask.any():
            return None
        plane = self.stack.plane(anchor_slice.index)
        predictor, _ = self.predictor(PlanePrompts(box=grown_box(slice_mask, self.pixels(self.rules.tight_mm, plane))))
        part = around(slice_mask, plane, _SURROUNDINGS_MM)
        grey = self.grey(plane, predictor)[part]
        contrast = measure_contrast(
            smoothed(grey, row_column_mm(plane), self.rules.sigma_mm), slice_mask[part], row_column_mm(plane)
        )
        return StepState(slice_mask, contrast, area_mm2(slice_mask, plane))

    def resume(self, state: StepState, done: Sequence[SlicePropagation]) -> StepState:
        """State for the step after slices of an earlier result, from the anchor's state."""
        areas = [area_mm2(each.slice_mask, self.stack.plane(each.index)) for each in done]
        largest = max([state.largest_mm2, *areas])
        return StepState(done[-1].slice_mask, state.contrast, largest, done[0].result.predicted_iou)

    def step(self, index: int, state: StepState, source: str) -> tuple[SlicePropagation, Measured, StepState]:
        """Propagate the last mask to a plane.

        :return: the slice, the measurements for the stopping rules, and the state for the next step.
        """
        rules, plane = self.rules, self.stack.plane(index)
        spacing = row_column_mm(plane)
        reach = grown_box(state.slice_mask, self.pixels(rules.margin_mm, plane))
        predictor, model = self.predictor(PlanePrompts(box=reach))
        embedding, grey = self.embed(plane, predictor)
        part = around(state.slice_mask, plane, _SURROUNDINGS_MM + rules.margin_mm)
        grey = smoothed(grey[part], spacing, rules.sigma_mm)
        evidence = rules.intensity_weight * state.contrast.evidence(grey, _MOST_EVIDENCE)
        last = state.slice_mask[part]
        box = reach
        for _ in range(rules.decodes):
            prediction = predictor.predict(embedding, self._prompts(box, state, predictor))
            logits = prediction.logits[part] + evidence
            mask = connected((logits > 0) & within(box, state.slice_mask.shape)[part], last)
            if not mask.any():
                break
            box, before = self._tightened(mask, part, reach, plane), box
            if np.abs(np.subtract(box, before)).max() < 1:
                break
        found = np.zeros(state.slice_mask.shape, bool)
        found[part] = mask
        allowed, in_liver, in_roi = self.allowed(found, plane)
        found &= allowed
        mask = found[part]
        contrast = state.contrast.kept_by(measure_contrast(grey, mask, spacing)) if mask.any() else 0.0
        area, last_area = area_mm2(found, plane), area_mm2(state.slice_mask, plane)
        common = int(np.count_nonzero(mask & last))
        measured = Measured(
            area_mm2=area,
            last_mm2=last_area,
            largest_mm2=max(state.largest_mm2, area),
            overlap=common / max(min(int(np.count_nonzero(mask)), int(np.count_nonzero(last))), 1),
            contrast=contrast,
            stability=stability(logits, within(box, state.slice_mask.shape)[part]),
            iou=prediction.predicted_iou / state.iou if state.iou else 1.0,
            in_liver=in_liver,
            in_roi=in_roi,
        )
        whole = np.full(state.slice_mask.shape, -20.0, np.float32)
        whole[part] = logits
        reached = self._slice(index, stored(whole, found), found, source, measured.confidence, model, prediction)
        next_state = StepState(
            found,
            state.contrast,
            measured.largest_mm2,
            state.iou or prediction.predicted_iou,
            getattr(prediction, "low_resolution", None),
        )
        return reached, measured, next_state

    def predictor(self, prompts: PlanePrompts) -> tuple[Predictor, str]:
        """The predictor for prompts of a plane, and its model's name as in the settings.

        :raises SAMLiverTumorError: see `choose_model`, `check_prompts` and `check_window`.
        """
        # remembered, because choosing reads the registry and all steps have the same kinds of prompts
        model = self._chosen.get(prompts.kinds) or choose_model(self.settings.model, prompts.kinds)
        self._chosen[prompts.kinds] = model
        predictor = self.pool.predictor(model)
        info = predictor.model.info
        check_prompts(prompts, info)
        window = window_for(self.settings, info)
        check_window(self.stack.volume, window)
        self.models.setdefault(model, model_entry(predictor, window))
        return predictor, model

    def embed(self, plane: Plane, predictor: Predictor):
        """A plane's embedding and its grey values, uint8 (rows, columns)."""
        rgb = slice_image(self.stack.volume, plane, predictor, self.settings)
        best = self.settings.quality == "best"
        return predictor.embed(rgb, plane.spacing[1::-1], self._cancel, mirrored=best), rgb[..., 1]

    def pixels(self, mm: float, plane: Plane) -> float:
        """A length in pixels of a plane, but at least `_LEAST_PIXELS`."""
        return max(mm / min(plane.spacing[:2]), _LEAST_PIXELS)

    def grey(self, plane: Plane, predictor: Predictor) -> np.ndarray:
        """A plane's grey values as the network sees them, uint8 (rows, columns)."""
        return slice_image(self.stack.volume, plane, predictor, self.settings)[..., 1]

    def _prompts(self, box: PixelBox, state: StepState, predictor: Predictor) -> PlanePrompts:
        supported = predictor.model.info.prompts
        points, labels, mask = np.zeros((0, 2)), np.zeros(0, int), None
        if self.rules.center_point and "points" in supported:
            points, labels = np.array([deepest(state.slice_mask)]), np.array([1])
        if self.rules.mask_prompt and "mask" in supported:
            mask = state.low_resolution
        return PlanePrompts(points, labels, box, mask)

    def _tightened(self, mask: np.ndarray, part, reach: PixelBox, plane: Plane) -> PixelBox:
        """The box around a mask in a part of the slice, clipped to the box `reach` around the last mask."""
        u0, v0, u1, v1 = grown_box(mask, self.pixels(self.rules.tight_mm, plane))
        dv, du = part[0].start, part[1].start
        return max(u0 + du, reach[0]), max(v0 + dv, reach[1]), min(u1 + du, reach[2]), min(v1 + dv, reach[3])

    def allowed(self, found: np.ndarray, plane: Plane) -> tuple[np.ndarray, float, float]:
        """Pixels inside the limits, and the fractions of a mask inside the liver and inside the ROI."""
        allowed, shares = np.ones(found.shape, bool), []
        count = int(np.count_nonzero(found))
        for section in (self._liver_section(plane), self._roi_section(plane)):
            shares.append(1.0 if section is None or not count else np.count_nonzero(found & section) / count)
            if section is not None:
                allowed &= section
        return allowed, *shares

    def _liver_section(self, plane: Plane) -> np.ndarray | None:
        return None if self.limits.liver is None else self.stack.slice_mask_of(self.limits.liver, plane)

    def _roi_section(self, plane: Plane) -> np.ndarray | None:
        if self.limits.roi is None:
            return None
        v, u = np.mgrid[: plane.shape[0], : plane.shape[1]]
        uvw = np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], axis=1)
        return self.limits.roi.contains(apply_affine(plane.to_ras, uvw)).reshape(plane.shape)

    def _slice(self, index, probabilities, slice_mask, source, confidence, model, prediction) -> SlicePropagation:
        pixels = int(np.count_nonzero(slice_mask))
        result = SliceResult(index, model, prediction.predicted_iou, prediction.stability, pixels)
        return SlicePropagation(index, slice_mask.shape, *boxed(probabilities), source, confidence, result)


def certain_slice(index: int, slice_mask: np.ndarray, model: str | None = None) -> SlicePropagation:
    """The slice of a mask that was given, or that a model segmented from clicks."""
    result = SliceResult(index, model or "given", 1.0, 1.0, int(np.count_nonzero(slice_mask)))
    return SlicePropagation(index, slice_mask.shape, *boxed(slice_mask.astype(np.uint8) * 255), "anchor", 1.0, result)
