"""`evaluate`: compare two sets of masks; all figures that panel, demo and console program show."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.detection import DETECTION_RULE, Detection
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import (
    CONNECTIVITY_RULE,
    MATCHING_RULE,
    OBJECT_RULE,
    FalsePositive,
    Lesion,
    match_lesions,
)
from SAMLiverTumorLib.evaluation.metrics.overlap import ACCURACY_RULE, EMPTY_RULE, Overlap, overlap
from SAMLiverTumorLib.evaluation.metrics.size_strata import STRATA_RULE, StratumRow, mean_or_none, strata_rows
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SURFACE_RULE, SurfaceDistances, surface_distances
from SAMLiverTumorLib.evaluation.metrics.text_table import aligned, cell

AVERAGING_RULE = (
    "Overall compares the union of the evaluated segments with the whole reference label, voxel by voxel. Means are "
    "unweighted over lesions, whatever their size: over those found, and over all with a Dice of 0 for each one missed."
)

_RATIOS = ("dice", "iou", "accuracy", "sensitivity", "specificity", "precision")
_VOLUMES = ("predicted_ml", "reference_ml", "volume_error_ml", "volume_error_percent")
_SURFACES = ("hd95_mm", "assd_mm", "surface_dice")

# The table lists only the largest missed lesions and sums up the others; the JSON report has them all. Case 117 alone
# has 79 components, most of only a few voxels.
_MISSED_ROWS = 5

_WIDTH = 118


@dataclass(frozen=True)
class Evaluation:
    """A prediction compared with a reference.

    :param overall: union of the segments against the whole reference label.
    :param segments: each segment alone against the whole reference label.
    :param lesions: every lesion from the largest to the smallest, missed ones included.
    :param false_positives: predicted objects matched to no lesion, the largest first.
    :param min_ml: smaller components of the reference did not count as lesions.
    :param small_lesions: number of those components.
    :param small_objects: predicted objects that touch only such components.
    :param surface: overall surface distances; None if they were not requested, likewise for lesions.
    :param by_object: see `match_lesions`.
    """

    overall: Overlap
    segments: dict[str, Overlap]
    lesions: tuple[Lesion, ...]
    false_positives: tuple[FalsePositive, ...]
    min_ml: float
    small_lesions: int
    small_objects: int
    surface: SurfaceDistances | None = None
    by_object: bool = False

    @property
    def found(self) -> tuple[Lesion, ...]:
        """Lesions with at least one matched object."""
        return tuple(lesion for lesion in self.lesions if lesion.found)

    @property
    def missed(self) -> tuple[Lesion, ...]:
        """Lesions without any matched object."""
        return tuple(lesion for lesion in self.lesions if not lesion.found)

    @property
    def mean_found(self) -> dict[str, float | None]:
        """Unweighted mean of each ratio over the lesions found; None without any."""
        return _means(self.found)

    @property
    def mean_all(self) -> dict[str, float | None]:
        """Unweighted mean of each ratio over all lesions, missed ones included; None without any."""
        return _means(self.lesions)

    @property
    def detection(self) -> Detection:
        """Numbers of lesions found and missed, and of false positive objects."""
        return Detection(len(self.found), len(self.missed), len(self.false_positives))

    @property
    def strata(self) -> tuple[StratumRow, ...]:
        """The lesions by size; all strata."""
        return strata_rows(self.lesions)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the figures were computed: matching, detection, averaging, strata, empty masks, surfaces, accuracy."""
        limit = (
            f"Components of the reference below {self.min_ml:g} ml do not count as lesions: {self.small_lesions} left "
            f"out, with {self.small_objects} predicted objects that touch only them; the overall figures include them."
        )
        matching = OBJECT_RULE if self.by_object else MATCHING_RULE
        rules = (CONNECTIVITY_RULE, matching, DETECTION_RULE, AVERAGING_RULE, STRATA_RULE, EMPTY_RULE)
        rules += (ACCURACY_RULE,) if self.surface is None else (SURFACE_RULE, ACCURACY_RULE)
        return (*rules, limit) if self.min_ml > 0 else rules

    def as_dict(self) -> dict:
        """The report, JSON-ready; floats rounded to 6 decimals, undefined figures None."""
        return {
            "overall": {**_figures(self.overall), **_surface_figures(self.surface)},
            "segments": [{"segment": name, **_figures(result)} for name, result in self.segments.items()],
            "lesions": [
                {
                    "lesion": x.number,
                    "found": x.found,
                    "segments": list(x.segments),
                    **_figures(x.overlap),
                    **_surface_figures(x.surface),
                }
                for x in self.lesions
            ],
            "false_positives": [
                {"segment": x.segment, "voxels": x.voxels, "volume_ml": _rounded(x.ml)} for x in self.false_positives
            ],
            "counts": {
                "lesions": len(self.lesions),
                "found": len(self.found),
                "missed": len(self.missed),
                "false_positive_objects": len(self.false_positives),
                "lesions_below_limit": self.small_lesions,
                "objects_on_lesions_below_limit": self.small_objects,
            },
            "detection": {key: _rounded(getattr(self.detection, key)) for key in ("recall", "precision", "f1")},
            "strata": [
                {
                    "stratum": row.name,
                    "lesions": row.lesions,
                    "found": row.found,
                    "mean_dice_over_all": _rounded(row.dice),
                    "mean_dice_over_found": _rounded(row.dice_found),
                    "mean_hd95_mm_over_found": _rounded(row.hd95_mm),
                }
                for row in self.strata
            ],
            "mean_over_found_lesions": {key: _rounded(value) for key, value in self.mean_found.items()},
            "mean_over_all_lesions": {key: _rounded(value) for key, value in self.mean_all.items()},
            "min_ml": _rounded(self.min_ml),
            "rules": list(self.notes),
        }

    def as_table(self) -> str:
        """The report as text: one row per lesion, means, overall figures, counts, and how they were computed."""
        header = ("Lesion", "Segment", "Dice", "IoU", "Accuracy", "Sensit.", "Specif.", "Precis.")
        header += ("Pred. ml", "Ref. ml", "Error ml", "Error %")
        with_surface = self.surface is not None
        header += ("HD95 mm", "ASSD mm", "Surf.Dice") if with_surface else ()
        shown = {lesion.number for lesion in (*self.found, *self.missed[:_MISSED_ROWS])}
        rows = [
            (str(x.number), ", ".join(x.segments) or "(missed)", *_cells(x.overlap), *_surface_cells(x.surface))
            for x in self.lesions
            if x.number in shown
        ]
        means = []
        for group, word, figures in ((self.found, "found", self.mean_found), (self.lesions, "in all", self.mean_all)):
            surfaces = [
                cell(mean_or_none(getattr(x.surface, key) for x in group), decimals)
                for key, decimals in zip(_SURFACES, (2, 2, 4), strict=True)
                if with_surface
            ]
            ratios = [cell(figures[key], 4) for key in _RATIOS]
            means.append((f"mean of {len(group)} {word}", "", *ratios, "", "", "", "", *surfaces))
        name = "union" if len(self.segments) > 1 else next(iter(self.segments))
        totals = [("overall", name, *_cells(self.overall), *_surface_cells(self.surface))]
        if len(self.segments) > 1:
            blank = ("", "", "") if with_surface else ()
            totals += [("segment", name, *_cells(result), *blank) for name, result in self.segments.items()]
        lines = [*aligned(header, [rows, means, totals]), "", *self._counts(), ""]
        return "\n".join([*lines, *(textwrap.fill(f"* {x}", _WIDTH, subsequent_indent="  ") for x in self.notes)])

    def _counts(self) -> list[str]:
        """Sentences on lesions found and missed, and on false positives."""
        lines = [f"Lesions: {len(self.lesions)}, found {len(self.found)}, missed {len(self.missed)}."]
        detection = self.detection
        lines.append(
            f"Lesion detection: recall {detection.recall:.3f}, precision {detection.precision:.3f}, "
            f"F1 {detection.f1:.3f}."
        )
        for row in self.strata:
            if row.lesions:
                found = "" if row.dice_found is None else f", of those found {row.dice_found:.3f}"
                distance = "" if row.hd95_mm is None else f", HD95 {row.hd95_mm:.2f} mm"
                lines.append(
                    f"  {row.name}: {row.found} of {row.lesions} found, mean Dice {row.dice:.3f}{found}{distance}."
                )
        hidden = self.missed[_MISSED_ROWS:]
        if hidden:
            volume = sum(lesion.overlap.reference_ml for lesion in hidden)
            lines.append(f"Missed lesions not listed above: {len(hidden)}, {volume:.3f} ml together.")
        if self.false_positives:
            volume = sum(item.ml for item in self.false_positives)
            names = ", ".join(dict.fromkeys(item.segment for item in self.false_positives))
            lines.append(f"False positive objects: {len(self.false_positives)}, {volume:.3f} ml, in {names}.")
        else:
            lines.append("False positive objects: 0.")
        return lines


def evaluate(
    prediction_segments: Mapping[str, np.ndarray],
    reference: np.ndarray,
    voxel_volume_ml: float,
    min_ml: float = 0.0,
    progress: Callable[[int, int | None], None] | None = None,
    spacing: Sequence[float] | None = None,
    by_object: bool = False,
) -> Evaluation:
    """Compare predicted segments with one reference label, overall, per segment and per lesion.

    :param prediction_segments: name -> bool array of shape (k, j, i); segments may overlap. They are looked up one at a
        time, so that a mapping that makes its arrays on demand keeps memory low.
    :param reference: bool array of the same shape.
    :param voxel_volume_ml: volume of one voxel in milliliters.
    :param min_ml: smaller connected components of the reference do not count as lesions.
    :param progress: called with (done, total).
    :param spacing: millimeters along (k, j, i), to compare surfaces too; takes some seconds for a CT.
    :param by_object: see `match_lesions`.
    :raises InputError: no segment, arrays of different shapes, or a negative limit.

    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[1:3, 1:3, 1:3] = True
    >>> evaluate({"tumor": mask}, mask, 0.001).lesions[0].overlap.dice
    1.0
    """
    if not prediction_segments:
        raise InputError("The prediction has no segment to evaluate; segment something first.")
    if not min_ml >= 0:
        raise InputError(f"The smallest lesion volume is {min_ml:g} ml; give 0 or more.")
    reference = np.asarray(reference).astype(bool, copy=False)
    union = np.zeros(reference.shape, bool)
    per_segment = {}
    for name, mask in prediction_segments.items():
        per_segment[name] = overlap(mask, reference, voxel_volume_ml)
        union |= np.asarray(mask).astype(bool, copy=False)
    overall = overlap(union, reference, voxel_volume_ml)
    surface = None if spacing is None else surface_distances(union, reference, spacing)
    matching = match_lesions(prediction_segments, reference, voxel_volume_ml, min_ml, progress, spacing, by_object)
    return Evaluation(
        overall,
        per_segment,
        matching.lesions,
        matching.false_positives,
        float(min_ml),
        matching.small_lesions,
        matching.small_objects,
        surface,
        by_object,
    )


def _means(lesions: Iterable[Lesion]) -> dict[str, float | None]:
    results = [lesion.overlap for lesion in lesions]
    return {key: float(np.mean([getattr(x, key) for x in results])) if results else None for key in _RATIOS}


def _figures(result: Overlap) -> dict:
    counts = {"tp": result.tp, "fp": result.fp, "fn": result.fn, "tn": result.tn}
    return {**{key: _rounded(getattr(result, key)) for key in _RATIOS + _VOLUMES}, **counts}


def _surface_figures(surface: SurfaceDistances | None) -> dict:
    return {} if surface is None else {key: _rounded(getattr(surface, key)) for key in _SURFACES}


def _surface_cells(surface: SurfaceDistances | None) -> tuple[str, ...]:
    if surface is None:
        return ()
    return cell(surface.hd95_mm, 2), cell(surface.assd_mm, 2), cell(surface.surface_dice, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _cells(result: Overlap) -> tuple[str, ...]:
    ratios = [cell(getattr(result, key), 4) for key in _RATIOS]
    volumes = [cell(getattr(result, key), 3) for key in _VOLUMES[:3]]
    return (*ratios, *volumes, cell(result.volume_error_percent, 1))
