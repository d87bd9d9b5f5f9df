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
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import within
from SAMLiverTumorLib.image.window import check_window, parse_window
from SAMLiverTumorLib.inference.model_choice import check_prompts, choose_model, shown_channels
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.contrast import Contrast, measure_contrast, smoothed
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import SlicePropagation, boxed
from SAMLiverTumorLib.inference.propagation.stopping_rules import Measured, PropagationRules
from SAMLiverTumorLib.inference.segment_slices import Settings, SliceResult, model_entry
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import Box, PlanePrompts
from SAMLiverTumorLib.volume import apply_affine

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor

# The intensity model may not outvote the network alone: at the default weight this is about one logit.
_MOST_EVIDENCE = 3.0

# Boxes are drawn at least so many pixels outside a mask, as those the networks were trained with: with one pixel, on
# LiTS 117, large tumors shrank from slice to slice.
_LEAST_PIXELS = 2.0

# Pixels around a box that its intensity measurement looks at (mm).
_SURROUNDINGS_MM = 8.0


@dataclass(frozen=True)
class Limits:
    """Where a propagation may go.

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
class Trail:
    """What the next step knows of the ones before.

    :param picture: the last mask, bool (rows, columns).
    :param contrast: the anchor's.
    :param largest_mm2: the largest mask so far.
    :param iou: the predicted IoU of the first slice reached; None before that.
    :param low_resolution: the last slice's logits (1, 256, 256) for models that take masks, or None.
    """

    picture: np.ndarray
    contrast: Contrast
    largest_mm2: float
    iou: float | None = None
    low_resolution: np.ndarray | None = None


class Follower:
    """Predicts anchors and steps on one stack of planes.

    :param cancel: asked before every layer of the encoder.
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
        """Entries for provenance of the models used so far: id, sha256, window."""

    def anchor(self, anchor: Anchor) -> SlicePropagation:
        """The slice of an anchor: its picture as it is, or what the network makes of its prompts.

        :raises SAMLiverTumorError: prompts or window that the model cannot work with; `Cancelled`.
        """
        plane = self.stack.plane(anchor.index)
        if anchor.picture is not None:
            return certain_slice(anchor.index, anchor.picture, anchor.model)
        predictor, model = self.predictor(anchor.prompts)
        embedding, _ = self.look(plane, predictor)
        prediction = predictor.predict(embedding, anchor.prompts)
        picture = prediction.mask
        if anchor.prompts.box is not None:
            picture = picture & within(anchor.prompts.box, picture.shape)
        probabilities = stored(prediction.logits, picture)
        return self._slice(anchor.index, probabilities, picture, "anchor", 1.0, model, prediction)

    def begin(self, anchor_slice: SlicePropagation) -> Trail | None:
        """What the first step after an anchor knows; None where the anchor is empty."""
        picture = anchor_slice.picture
        if not picture.any():
            return None
        plane = self.stack.plane(anchor_slice.index)
        predictor, _ = self.predictor(PlanePrompts(box=grown_box(picture, self.pixels(self.rules.tight_mm, plane))))
        part = around(picture, plane, _SURROUNDINGS_MM)
        grey = self.grey(plane, predictor)[part]
        contrast = measure_contrast(
            smoothed(grey, row_column_mm(plane), self.rules.sigma_mm), picture[part], row_column_mm(plane)
        )
        return Trail(picture, contrast, area_mm2(picture, plane))

    def resume(self, trail: Trail, done: Sequence[SlicePropagation]) -> Trail:
        """What the step after slices of an earlier result knows, `trail` being the anchor's own."""
        areas = [area_mm2(each.picture, self.stack.plane(each.index)) for each in done]
        largest = max([trail.largest_mm2, *areas])
        return Trail(done[-1].picture, trail.contrast, largest, done[0].result.predicted_iou)

    def step(self, index: int, trail: Trail, source: str) -> tuple[SlicePropagation, Measured, Trail]:
        """Follow the last mask onto a plane.

        :return: the slice, what the stopping rules look at, and what the step after this one knows.
        """
        rules, plane = self.rules, self.stack.plane(index)
        spacing = row_column_mm(plane)
        reach = grown_box(trail.picture, self.pixels(rules.margin_mm, plane))
        predictor, model = self.predictor(PlanePrompts(box=reach))
        embedding, grey = self.look(plane, predictor)
        part = around(trail.picture, plane, _SURROUNDINGS_MM + rules.margin_mm)
        grey = smoothed(grey[part], spacing, rules.sigma_mm)
        evidence = rules.intensity_weight * trail.contrast.evidence(grey, _MOST_EVIDENCE)
        last = trail.picture[part]
        box = reach
        for _ in range(rules.decodes):
            prediction = predictor.predict(embedding, self._prompts(box, trail, predictor))
            logits = prediction.logits[part] + evidence
            mask = connected((logits > 0) & within(box, trail.picture.shape)[part], last)
            if not mask.any():
                break
            box, before = self._tightened(mask, part, reach, plane), box
            if np.abs(np.subtract(box, before)).max() < 1:
                break
        found = np.zeros(trail.picture.shape, bool)
        found[part] = mask
        allowed, in_liver, in_roi = self.allowed(found, plane)
        found &= allowed
        mask = found[part]
        contrast = trail.contrast.kept_by(measure_contrast(grey, mask, spacing)) if mask.any() else 0.0
        area, last_area = area_mm2(found, plane), area_mm2(trail.picture, plane)
        shared = int(np.count_nonzero(mask & last))
        measured = Measured(
            area_mm2=area,
            last_mm2=last_area,
            largest_mm2=max(trail.largest_mm2, area),
            overlap=shared / max(min(int(np.count_nonzero(mask)), int(np.count_nonzero(last))), 1),
            contrast=contrast,
            stability=stability(logits, within(box, trail.picture.shape)[part]),
            iou=prediction.predicted_iou / trail.iou if trail.iou else 1.0,
            in_liver=in_liver,
            in_roi=in_roi,
        )
        whole = np.full(trail.picture.shape, -20.0, np.float32)
        whole[part] = logits
        reached = self._slice(index, stored(whole, found), found, source, measured.confidence, model, prediction)
        ahead = Trail(
            found,
            trail.contrast,
            measured.largest_mm2,
            trail.iou or prediction.predicted_iou,
            getattr(prediction, "low_resolution", None),
        )
        return reached, measured, ahead

    def predictor(self, prompts: PlanePrompts) -> tuple[Predictor, str]:
        """The predictor for prompts of a plane, and its model's name in the settings' terms.

        :raises SAMLiverTumorError: see `choose_model`, `check_prompts` and `check_window`.
        """
        # every step asks with the same kinds, and choosing reads the registry
        model = self._chosen.get(prompts.kinds) or choose_model(self.settings.model, prompts.kinds)
        self._chosen[prompts.kinds] = model
        predictor = self.pool.predictor(model)
        info = predictor.model.info
        check_prompts(prompts, info)
        window = self.settings.window or parse_window(info.default_window)
        check_window(self.stack.volume, window)
        self.models.setdefault(model, model_entry(predictor, window))
        return predictor, model

    def look(self, plane: Plane, predictor: Predictor):
        """A plane's embedding and its grey picture, uint8 (rows, columns)."""
        rgb = self._rgb(plane, predictor)
        best = self.settings.quality == "best"
        return predictor.embed(rgb, plane.spacing[1::-1], self._cancel, mirrored=best), rgb[..., 1]

    def pixels(self, mm: float, plane: Plane) -> float:
        """A length in pixels of a plane, at least `_LEAST_PIXELS`."""
        return max(mm / min(plane.spacing[:2]), _LEAST_PIXELS)

    def grey(self, plane: Plane, predictor: Predictor) -> np.ndarray:
        return self._rgb(plane, predictor)[..., 1]

    def _rgb(self, plane: Plane, predictor: Predictor) -> np.ndarray:
        info, settings = predictor.model.info, self.settings
        window = settings.window or parse_window(info.default_window)
        channels = settings.channels if settings.further else shown_channels(settings.channels, info)
        return plane_to_rgb(self.stack.volume, plane, window, channels, settings.further)

    def _prompts(self, box: PixelBox, trail: Trail, predictor: Predictor) -> PlanePrompts:
        known = predictor.model.info.prompts
        points, labels, mask = np.zeros((0, 2)), np.zeros(0, int), None
        if self.rules.center_point and "points" in known:
            points, labels = np.array([deepest(trail.picture)]), np.array([1])
        if self.rules.mask_prompt and "mask" in known:
            mask = trail.low_resolution
        return PlanePrompts(points, labels, box, mask)

    def _tightened(self, mask: np.ndarray, part, reach: PixelBox, plane: Plane) -> PixelBox:
        """The box around a mask of a part of the picture, within what the last mask lets reach."""
        u0, v0, u1, v1 = grown_box(mask, self.pixels(self.rules.tight_mm, plane))
        dv, du = part[0].start, part[1].start
        return max(u0 + du, reach[0]), max(v0 + dv, reach[1]), min(u1 + du, reach[2]), min(v1 + dv, reach[3])

    def allowed(self, found: np.ndarray, plane: Plane) -> tuple[np.ndarray, float, float]:
        """Pixels inside the limits, and the shares of a mask inside the liver and inside the ROI."""
        allowed, shares = np.ones(found.shape, bool), []
        count = int(np.count_nonzero(found))
        for picture in (self._liver_picture(plane), self._roi_picture(plane)):
            shares.append(1.0 if picture is None or not count else np.count_nonzero(found & picture) / count)
            if picture is not None:
                allowed &= picture
        return allowed, *shares

    def _liver_picture(self, plane: Plane) -> np.ndarray | None:
        return None if self.limits.liver is None else self.stack.picture_of(self.limits.liver, plane)

    def _roi_picture(self, plane: Plane) -> np.ndarray | None:
        if self.limits.roi is None:
            return None
        v, u = np.mgrid[: plane.shape[0], : plane.shape[1]]
        uvw = np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], axis=1)
        return self.limits.roi.contains(apply_affine(plane.to_ras, uvw)).reshape(plane.shape)

    def _slice(self, index, probabilities, picture, source, confidence, model, prediction) -> SlicePropagation:
        pixels = int(np.count_nonzero(picture))
        result = SliceResult(index, model, prediction.predicted_iou, prediction.stability, pixels)
        return SlicePropagation(index, picture.shape, *boxed(probabilities), source, confidence, result)


def certain_slice(index: int, picture: np.ndarray, model: str | None = None) -> SlicePropagation:
    """The slice of a mask that was given, or that a model drew from clicks."""
    result = SliceResult(index, model or "given", 1.0, 1.0, int(np.count_nonzero(picture)))
    return SlicePropagation(index, picture.shape, *boxed(picture.astype(np.uint8) * 255), "anchor", 1.0, result)
