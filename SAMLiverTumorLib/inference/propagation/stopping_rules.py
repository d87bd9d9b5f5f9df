"""When a propagation stops: the rules, the measurements on each slice, and the reason reported."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from SAMLiverTumorLib.errors import InputError


@dataclass(frozen=True)
class PropagationRules:
    """How a mask is propagated from slice to slice, and when that stops.

    :param margin_mm: how far the next slice's box may extend beyond the last mask.
    :param tight_mm: margin of a box that is redrawn around a slice's own mask.
    :param decodes: most prompts per slice: first the box around the last mask, then the box around the mask it gave.
    :param intensity_weight: weight of the grey values' log-likelihood ratio, which is added to the network's logits.
    :param sigma_mm: Gaussian smoothing of the grey values.
    :param least_area_mm2: a mask smaller than this has vanished.
    :param least_share: so has one smaller than this fraction of the largest mask so far.
    :param most_growth: ratio of the area to the last slice's, above which the mask has jumped.
    :param least_overlap: least fraction of the smaller of two successive masks that lies in the other.
    :param least_contrast: least fraction of the anchor's contrast.
    :param least_stability: least IoU of the masks at logits +1 and -1.
    :param least_confidence: see `Measured.confidence`.
    :param least_iou: least fraction of the anchor's predicted IoU.
    :param least_inside: least fraction of a mask inside the liver mask, and inside the ROI.
    :param reconcile: whether slices between two anchors are propagated from both. Otherwise the second direction only
        fills what the first left open, and a correction recomputes only the slices beyond it.
    :param center_point: whether models with point prompts also get the point deepest inside the last mask.
    :param mask_prompt: whether models with mask prompts also get the last slice's logits.
    :raises InputError: a value out of range.
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
    """Measurements on one slice, to which the rules apply.

    :param area_mm2: area of the mask.
    :param last_mm2: area of the last slice's mask.
    :param largest_mm2: area of the largest mask so far, the anchor's included.
    :param overlap: pixels in common with the last mask, over those of the smaller one.
    :param contrast: as a fraction of the anchor's; 0 if the mask is empty.
    :param stability: see `Prediction.stability`.
    :param iou: predicted IoU over the anchor's; 1 if the anchor has none.
    :param in_liver: fraction of the mask inside the liver mask; 1 without one.
    :param in_roi: likewise inside the ROI.
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
        """Probability that this slice still shows the tumor, from contrast, stability, overlap and area.

        A logistic regression on 343 slices that LiteMedSAM reached from one box on LiTS cases 0, 1, 2, 3, 5 and 117, up
        to and including the first wrong one in each direction (AUC 0.975; contrast alone 0.957).
        """
        contrast = min(max(self.contrast, -0.5), 1.2)
        share = min(max(self.area_mm2 / max(self.largest_mm2, 1e-6), 0.05), 1.0)
        score = 6.3 * contrast + 3.1 * self.stability + 3.5 * self.overlap + 0.55 * math.log(share) - 7.0
        return 1.0 / (1.0 + math.exp(-score))


@dataclass(frozen=True)
class Stop:
    """Where and why a propagation stopped in one direction.

    :param direction: "up" (along the normal: superior, anterior, right) or "down".
    :param index: the first slice that is no longer part of the result.
    :param kind: "vanished", "jumped", "left", "contrast", "unstable", "unsure", "liver", "roi", "anchor", "edge" or
        "cancelled".
    :param reason: the same in words, with figures; shown to the user.
    """

    direction: str
    index: int
    kind: str
    reason: str


def judge(measured: Measured, rules: PropagationRules) -> tuple[str, str] | None:
    """Kind and reason of the first rule that a slice breaks; None if it breaks none."""
    m = measured
    # limits first: they leave an empty mask, which would count as vanished
    if m.in_liver < rules.least_inside:
        return "liver", f"the mask leaves the liver: {m.in_liver:.0%} of it lies inside"
    if m.in_roi < rules.least_inside:
        return "roi", f"the mask leaves the box: {m.in_roi:.0%} of it lies inside"
    if m.area_mm2 < rules.least_area_mm2 or m.area_mm2 < rules.least_share * m.largest_mm2:
        return "vanished", f"the tumor vanishes: {m.area_mm2:.0f} mm2 left of {m.largest_mm2:.0f}"
    if m.overlap < rules.least_overlap:
        return "left", f"the mask overlaps the last slice's by only {m.overlap:.0%}"
    if m.area_mm2 > rules.most_growth * m.last_mm2:
        return "jumped", f"the area jumps from {m.last_mm2:.0f} to {m.area_mm2:.0f} mm2"
    if m.contrast < rules.least_contrast:
        return "contrast", f"the tumor no longer stands out: {m.contrast:.0%} of the prompted slice's contrast"
    if m.stability < rules.least_stability or m.iou < rules.least_iou:
        return (
            "unstable",
            f"the network is unsure: stability {m.stability:.2f}, predicted IoU {m.iou:.0%} of the anchor's",
        )
    if m.confidence < rules.least_confidence:
        parts = f"{m.contrast:.0%} of the contrast, {m.overlap:.0%} overlap, stability {m.stability:.2f}"
        return "unsure", f"too little evidence that the tumor continues: {parts}"
    return None
