"""When a propagation ends: the rules, what is measured on each slice, and the reason that is given."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from SAMLiverTumorLib.errors import InputError


@dataclass(frozen=True)
class PropagationRules:
    """How a mask is followed from slice to slice, and when that ends.

    :param margin_mm: how far the next slice's box may reach beyond the last mask.
    :param tight_mm: how far a box lies outside the mask it is drawn around, when it is drawn again.
    :param decodes: most prompts per slice: the box of the last mask, then of what that gave.
    :param intensity_weight: weight of the grey value's log-likelihood ratio added to the network's logits.
    :param sigma_mm: smoothing of the grey values.
    :param least_area_mm2: a mask smaller than this has vanished.
    :param least_share: likewise one smaller than this share of the largest slice so far.
    :param most_growth: area over the last slice's at which it has jumped.
    :param least_overlap: share of the smaller of two successive masks that lies in the other.
    :param least_contrast: share of the anchor's contrast that a slice has to keep.
    :param least_stability: IoU of the masks at logits +1 and -1.
    :param least_confidence: see `Measured.confidence`.
    :param least_iou: share of the anchor's predicted IoU.
    :param least_inside: share of a mask that has to lie in the liver mask and ROI.
    :param reconcile: whether slices between two anchors are reached from both. Without it the second way only
        fills what the first left open, and a correction redoes only what lies beyond it.
    :param center_point: whether models trained for points get the last mask's deepest place as well.
    :param mask_prompt: whether models trained for masks get the last slice's logits as well.
    :raises InputError: a value that no rule can have.
    """

    margin_mm: float = 1.5
    tight_mm: float = 1.5
    decodes: int = 2
    intensity_weight: float = 0.3
    sigma_mm: float = 1.0
    least_area_mm2: float = 5.0
    least_share: float = 0.08
    most_growth: float = 2.0
    least_overlap: float = 0.3
    least_contrast: float = 0.1
    least_stability: float = 0.2
    least_confidence: float = 0.35
    least_iou: float = 0.3
    least_inside: float = 0.5
    reconcile: bool = True
    center_point: bool = False
    mask_prompt: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value >= 0:
                raise InputError(f"Propagation rule '{name}' is {value}; give 0 or more.")
        if self.decodes < 1 or self.most_growth <= 1:
            raise InputError("Propagation needs at least 1 prompt per slice and a growth above 1.")


@dataclass(frozen=True)
class Measured:
    """What the rules look at on one slice.

    :param area_mm2: of the mask.
    :param last_mm2: of the last slice's mask.
    :param largest_mm2: of the largest mask so far, the anchor's included.
    :param overlap: pixels shared with the last mask over those of the smaller one.
    :param contrast: share of the anchor's contrast; 0 where there is no mask.
    :param stability: as `Prediction.stability`.
    :param iou: predicted IoU over the anchor's; 1 where the anchor has none.
    :param in_liver: share of the mask in the liver mask; 1 without one.
    :param in_roi: likewise in the ROI.
    """

    area_mm2: float
    last_mm2: float
    largest_mm2: float
    overlap: float
    contrast: float
    stability: float
    iou: float
    in_liver: float = 1.0
    in_roi: float = 1.0

    @property
    def confidence(self) -> float:
        """Chance, 0 to 1, that this slice still shows the tumor, from contrast, stability, overlap and area kept.

        A logistic regression on 343 slices reached by LiteMedSAM from one box on LiTS cases 0, 1, 2, 3, 5 and 117, up
        to and including the first wrong one each way (AUC 0.975; contrast alone 0.957).
        """
        contrast = min(max(self.contrast, -0.5), 1.2)
        share = min(max(self.area_mm2 / max(self.largest_mm2, 1e-6), 0.05), 1.0)
        score = 6.3 * contrast + 3.1 * self.stability + 3.5 * self.overlap + 0.55 * math.log(share) - 7.0
        return 1.0 / (1.0 + math.exp(-score))


@dataclass(frozen=True)
class Stop:
    """Where and why a direction ended.

    :param direction: "up" (along the normal: superior, anterior, right) or "down".
    :param index: the slice that is no longer part of it.
    :param kind: "vanished", "jumped", "left", "contrast", "unstable", "unsure", "liver", "roi", "anchor", "edge" or
        "cancelled".
    :param reason: the same for the user, with figures.
    """

    direction: str
    index: int
    kind: str
    reason: str


def judge(measured: Measured, rules: PropagationRules) -> tuple[str, str] | None:
    """The kind and text of the first rule that a slice breaks; None where it goes on."""
    m = measured
    # the limits first: beyond them nothing is left of the mask, which would pass for vanished
    if m.in_liver < rules.least_inside:
        return "liver", f"it leaves the liver mask: {m.in_liver:.0%} of it lies inside"
    if m.in_roi < rules.least_inside:
        return "roi", f"it leaves the box: {m.in_roi:.0%} of it lies inside"
    if m.area_mm2 < rules.least_area_mm2 or m.area_mm2 < rules.least_share * m.largest_mm2:
        return "vanished", f"the tumor vanishes: {m.area_mm2:.0f} mm2 left of {m.largest_mm2:.0f}"
    if m.overlap < rules.least_overlap:
        return "left", f"it shares only {m.overlap:.0%} with the last slice"
    if m.area_mm2 > rules.most_growth * m.last_mm2:
        return "jumped", f"its area jumps from {m.last_mm2:.0f} to {m.area_mm2:.0f} mm2"
    if m.contrast < rules.least_contrast:
        return "contrast", f"it no longer stands out: {m.contrast:.0%} of the prompted slice's contrast"
    if m.stability < rules.least_stability or m.iou < rules.least_iou:
        return (
            "unstable",
            f"the network is unsure: stability {m.stability:.2f}, predicted IoU {m.iou:.0%} of the anchor's",
        )
    if m.confidence < rules.least_confidence:
        parts = f"{m.contrast:.0%} of the contrast, {m.overlap:.0%} overlap, stability {m.stability:.2f}"
        return "unsure", f"too little speaks for the tumor going on: {parts}"
    return None
