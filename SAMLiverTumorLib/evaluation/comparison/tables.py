"""A comparison as tables: figures and how they were computed, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from SAMLiverTumorLib.datasets.reference_prompts import PROMPT_RULE, TRIAL_RULE
from SAMLiverTumorLib.evaluation.comparison.compare import Comparison, Score
from SAMLiverTumorLib.evaluation.comparison.contestants import AUTOMATIC, TEXT
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import CONNECTIVITY_RULE, OBJECT_RULE
from SAMLiverTumorLib.evaluation.metrics.outline import OUTLINE_RULE
from SAMLiverTumorLib.evaluation.metrics.overlap import EMPTY_RULE
from SAMLiverTumorLib.evaluation.metrics.size_strata import STRATA_RULE, by_stratum, mean_or_none
from SAMLiverTumorLib.evaluation.metrics.statistics import (
    INTERVAL_RULE,
    TEST_RULE,
    Interval,
    bootstrap_interval,
    holm,
    paired_test,
)
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SURFACE_RULE
from SAMLiverTumorLib.evaluation.metrics.text_table import cell
from SAMLiverTumorLib.io.ircadb.lits_cases import overlap_note

AVERAGING_RULE = (
    "Averaging: figures are of single trials in two dimensions: unweighted means over the trials of a case or, where "
    "the column says so, over all trials of all cases. Distances are in mm within the slice; undefined ones are left "
    "out of means, and the column 'marked nothing' counts them."
)
AUTOMATIC_RULE = (
    "Automatic and text results have no prompts for single trials: each 8-connected object on the slice is matched to "
    "the trial with which it has most pixels in common. Objects that touch no trial count only in 'slice Dice', which "
    "compares everything segmented on a slice with all trials there. These results are clipped to the reference's "
    "liver if the labels have one. Slices without tumor count only in the figures of whole volumes."
)

_RATIOS = ("dice", "iou", "sensitivity", "precision", "specificity", "accuracy")
_CSV_HEAD = ("case", "slice", "trial", "lesion", "lesion_ml", "model", "prompt")
_CSV_FIGURES = (*_RATIOS, "area_error_percent", "hd95_mm", "assd_mm", "surface_dice", "outline", "tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class Table:
    """A table of text: title, header, rows, and notes on how its figures were computed."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Test of two rows of a comparison on their common trials, with p values corrected for the number of pairs.

    :param first: (model, way).
    :param second: (model, way).
    """

    first: tuple[str, str]
    second: tuple[str, str]
    count: int
    difference: float
    p_wilcoxon: float
    p_permutation: float


def scores_of(comparison: Comparison, row: tuple[str, str]) -> list[Score]:
    """The scores of one (model, way)."""
    return [score for score in comparison.scores if (score.model, score.way) == row]


def dice_interval(scores: Iterable[Score]) -> Interval:
    """Mean Dice with its bootstrap interval by patient."""
    scores = list(scores)
    return bootstrap_interval([s.overlap.dice for s in scores], [s.case for s in scores])


def pairs_of(comparison: Comparison) -> list[Pair]:
    """Tests between models with the same way of prompting, and between automatic models and every way of prompting."""
    rows = [
        (a, b)
        for a, b in combinations(comparison.rows, 2)
        if a[0] != b[0] and (a[1] == b[1] or AUTOMATIC in (a[1], b[1]))
    ]
    tests = []
    for first, second in rows:
        one, other = ({s.key: s.overlap.dice for s in scores_of(comparison, row)} for row in (first, second))
        keys = [key for key in one if key in other]
        tests.append(
            paired_test([one[key] for key in keys], [other[key] for key in keys], [case for case, _, _ in keys])
        )
    wilcoxon, permutation = holm([t.p_wilcoxon for t in tests]), holm([t.p_permutation for t in tests])
    return [
        Pair(a, b, t.count, t.difference, p, q)
        for (a, b), t, p, q in zip(rows, tests, wilcoxon, permutation, strict=True)
    ]


def tables(comparison: Comparison, versions: dict[str, str]) -> list[Table]:
    """All tables, each with its notes.

    :param versions: package -> version, for the notes.
    """
    notes = _notes(comparison, versions)
    made = [_main(comparison, notes), _by_size(comparison, notes), _figures(comparison, notes)]
    if pairs := pairs_of(comparison):
        rows = tuple(
            (*p.first, *p.second, str(p.count), f"{p.difference:+.3f}", _p(p.p_wilcoxon), _p(p.p_permutation))
            for p in pairs
        )
        header = ("model", "prompt", "against", "prompt", "trials", "mean difference", "Wilcoxon p", "permutation p")
        made.append(Table("Paired tests of Dice", header, rows, (TEST_RULE, *notes)))
    if comparison.volumes:
        made.append(_volumes(comparison, notes))
    if comparison.livers:
        made.append(_livers(comparison, notes))
    made.append(_models(comparison, notes))
    return made


def as_markdown(comparison: Comparison, versions: dict[str, str], command: str) -> str:
    """The report as Markdown, with the notes beneath each table."""
    parts = ["# Comparison of models", "", f"`{command}`", ""]
    for table in tables(comparison, versions):
        parts += [f"## {table.title}", "", _line(table.header), _line(["---"] * len(table.header))]
        parts += [*map(_line, table.rows), "", *(f"* {note}" for note in table.notes), ""]
    return "\n".join(parts)


def as_csv(comparison: Comparison) -> str:
    """One line per score; undefined figures are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CSV_HEAD, *_CSV_FIGURES])
    for s in comparison.scores:
        o, d = s.overlap, s.surface
        figures = [getattr(o, name) for name in _RATIOS]
        figures += [o.volume_error_percent, d.hd95_mm, d.assd_mm, d.surface_dice, s.outline]
        head = [s.case, s.slice, s.trial, s.lesion, round(s.lesion_ml, 6), s.model, s.way]
        writer.writerow([*head, *("" if x is None else round(float(x), 6) for x in figures), o.tp, o.fp, o.fn, o.tn])
    return out.getvalue()


def _main(comparison: Comparison, notes: tuple[str, ...]) -> Table:
    cases = list(comparison.cases)
    header: tuple[str, ...] = (
        "model",
        "prompt",
        *cases,
        "mean of cases",
        "all trials",
        "95% by patient",
        "95% by trial",
        "slice Dice",
        "trials",
    )
    rows = []
    for model, way in comparison.rows:
        scores = scores_of(comparison, (model, way))
        means = [mean_or_none(s.overlap.dice for s in scores if s.case == case) for case in cases]
        interval = dice_interval(scores)
        slices = [s.dice for s in comparison.slices if (s.model, s.way) == (model, way)]
        by_trial = bootstrap_interval([s.overlap.dice for s in scores])
        limits = (_limits(interval) if interval.clusters else "-", _limits(by_trial))
        whole = (_f(mean_or_none(means)), _f(interval.mean), *limits, _f(float(np.mean(slices))), str(len(scores)))
        rows.append((model, way, *map(_f, means), *whole))
    return Table("Dice", header, tuple(rows), (INTERVAL_RULE, *notes))


def _by_size(comparison: Comparison, notes: tuple[str, ...]) -> Table:
    rows, header = [], ("model", "prompt")
    for model, way in comparison.rows:
        groups = by_stratum(scores_of(comparison, (model, way)), lambda score: score.lesion_ml)
        header = ("model", "prompt", *groups)
        cells = [
            f"{np.mean([s.overlap.dice for s in group]):.3f} (n={len(group)})" if group else "-"
            for group in groups.values()
        ]
        rows.append((model, way, *cells))
    return Table("Dice by size of the lesion", header, tuple(rows), (STRATA_RULE, CONNECTIVITY_RULE, *notes))


def _figures(comparison: Comparison, notes: tuple[str, ...]) -> Table:
    names = (
        "IoU",
        "sensitivity",
        "precision",
        "specificity",
        "area error %",
        "HD95 mm",
        "ASSD mm",
        "surface Dice",
    )
    rows = []
    for model, way in comparison.rows:
        scores = scores_of(comparison, (model, way))
        ratios = [mean_or_none(getattr(s.overlap, name) for s in scores) for name in ("iou", *_RATIOS[2:5])]
        area = mean_or_none(s.overlap.volume_error_percent for s in scores)
        distances = [mean_or_none(getattr(s.surface, name) for s in scores) for name in ("hd95_mm", "assd_mm")]
        surface = mean_or_none(s.surface.surface_dice for s in scores)
        nothing = sum(s.overlap.tp + s.overlap.fp == 0 for s in scores)
        cells = (*map(_f, ratios), _f(area, 1), *(_f(d, 2) for d in distances), _f(surface))
        cells = (*cells, _f(mean_or_none(s.outline for s in scores), 2), str(nothing))
        rows.append((model, way, *cells))
    header = ("model", "prompt", *names, "outline", "marked nothing")
    return Table("Other figures, means over all trials", header, tuple(rows), (SURFACE_RULE, OUTLINE_RULE, *notes))


def _livers(comparison: Comparison, notes: tuple[str, ...]) -> Table:
    rows = tuple(
        (s.model, s.case, _f(s.overlap.dice), _f(s.overlap.volume_error_percent, 1)) for s in comparison.livers
    )
    rules = (
        "The liver with its tumors, found by the text 'liver' on all axial slices: the largest piece, holes filled.",
    )
    return Table("Liver by text on whole volumes", ("model", "case", "Dice", "volume error %"), rows, (*rules, *notes))


def _volumes(comparison: Comparison, notes: tuple[str, ...]) -> Table:
    header = ("model", "case", "Dice", "IoU", "volume error %", "HD95 mm", "surface Dice")
    header += ("lesion recall", "lesion precision", "lesion F1")
    rows = tuple(
        (
            v.model,
            v.case,
            _f(v.overlap.dice),
            _f(v.overlap.iou),
            _f(v.overlap.volume_error_percent, 1),
            _f(v.surface.hd95_mm, 2),
            _f(v.surface.surface_dice),
            *(_f(getattr(v.detection, name)) for name in ("recall", "precision", "f1")),
        )
        for v in comparison.volumes
    )
    rules = (CONNECTIVITY_RULE, OBJECT_RULE, "Every slice of the case counts here, also those without tumor.")
    return Table("Automatic models on whole volumes", header, rows, (*rules, SURFACE_RULE, *notes))


def _models(comparison: Comparison, notes: tuple[str, ...]) -> Table:
    rows = tuple((m.name, m.sha256, ", ".join(m.contaminated) or "-", m.note) for m in comparison.models)
    return Table("Models", ("model", "SHA-256 of the weights", "trained or chosen on", "note"), rows, notes)


def _notes(comparison: Comparison, versions: dict[str, str]) -> tuple[str, ...]:
    cases = ", ".join(f"{name} ({trials} trials on {n} slices)" for name, (n, trials) in comparison.cases.items())
    some = "" if comparison.limit is None else f" At most {comparison.limit} slices of each case, evenly spread."
    notes = [f"Cases: {cases}.{some}", TRIAL_RULE, PROMPT_RULE, AVERAGING_RULE, EMPTY_RULE]
    if any(way in (AUTOMATIC, TEXT) for _, way in comparison.rows):
        notes.append(AUTOMATIC_RULE)
    notes += [*comparison.notes, *filter(None, [overlap_note(comparison.cases)])]
    for model in comparison.models:
        if model.contaminated:
            notes.append(
                f"CONTAMINATED: {model.name} was trained or chosen on {', '.join(model.contaminated)}; its figures "
                "there are not for unseen patients."
            )
        elif "LiTS" in model.note:
            notes.append(f"Contamination: {model.note}")
    notes.append("Weights: " + ", ".join(f"{m.name} sha256 {m.sha256}" for m in comparison.models) + ".")
    notes.append("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return tuple(notes)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "/").replace("\n", " ") for text in cells) + " |"


def _f(value: float | None, decimals: int = 3) -> str:
    return cell(value, decimals)


def _limits(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
