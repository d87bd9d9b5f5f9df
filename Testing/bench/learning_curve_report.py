"""A learning curve as CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from bench.learning_curve_plan import CurvePlan
from bench.learning_curve_run import PointResult
from SAMLiverTumorLib.evaluation.comparison.contestants import LITS_NOTE
from SAMLiverTumorLib.evaluation.png_figures import COLORS, new_figure, png_of
from SAMLiverTumorLib.training.optimization.validation import KINDS

MEASURE_RULE = (
    "Dice with a point, with three more corrections, and with a box: mean over all lesions (8-connected, at least 50 "
    "pixels) on all slices of a test patient, with prompts derived from the reference. Dice with text: all lesions of "
    "all slices together, from text alone, inside the reference's liver if there is one."
)
SHARED_RULE = (
    "Every point is one training run with the same base model, steps and seed; a point with more patients includes "
    "those of the points before it. In every point, even that with 0 labeled patients, the epoch and the mixture with "
    "the base model's weights were chosen on the labels of the validation patients."
)
_HEAD = ("labeled", "learned_from", "prompt", "patient", "dice_before", "dice")


def curve_csv(results: Sequence[PointResult]) -> str:
    """One line for each point, kind of prompt and patient."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_HEAD, "best_epoch", "share_of_new_weights"])
    for r in results:
        head = [r.labeled, " ".join(r.patients)]
        for kind, dices in r.after.items():
            for patient, dice in dices.items():
                before = r.before.get(kind, {}).get(patient)
                figures = ["" if x is None else round(x, 6) for x in (before, dice)]
                writer.writerow([*head, kind, patient, *figures, r.best_epoch, r.share])
    return out.getvalue()


def curve_markdown(plan: CurvePlan, results: Sequence[PointResult], command: str) -> str:
    """The table as Markdown, with its rules."""
    kinds = _kinds(results)
    lines = ["# Learning curve", "", f"`{command}`", ""]
    lines += [
        _row("labeled patients", "learned from", *kinds, "epoch chosen"),
        _row(*["---"] * (3 + len(kinds))),
    ]
    if results:
        lines.append(_row("none: the base model", "-", *(_f(_mean(results[0].before, k)) for k in kinds), "-"))
    for r in results:
        learned = ", ".join(r.patients) or "painted tumors alone"
        figures = [_f(_mean(r.after, kind)) for kind in kinds]
        lines.append(_row(str(r.labeled), learned, *figures, str(r.best_epoch)))
    lines += ["", *(f"* {note}" for note in _notes(plan)), ""]
    return "\n".join(lines)


def curve_png(results: Sequence[PointResult]) -> bytes:
    """Mean Dice of the test patients against the number of labeled patients, a line for each kind of prompt."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    counts = [r.labeled for r in results]
    place = {count: n + 1 for n, count in enumerate(counts)}
    for color, kind in zip(COLORS, _kinds(results), strict=False):
        before = _mean(results[0].before, kind)
        dices = [_mean(r.after, kind) for r in results]
        places = [place[r.labeled] for r in results]
        axes.plot([0], [np.nan if before is None else before], "s", color=color, markerfacecolor="none")
        axes.plot(places, [np.nan if d is None else d for d in dices], "o-", color=color, label=kind)
    axes.set_xticks([0, *place.values()], ["base\nmodel", *(f"{c}\n(painted)" if c == 0 else str(c) for c in counts)])
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("labeled patients learned from")
    axes.set_ylabel("mean Dice on the patients left out")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    return png_of(figure)


def _notes(plan: CurvePlan) -> list[str]:
    base = plan.base
    notes = [
        f"Measured on {', '.join(plan.test)}, validated on {', '.join(plan.validation)}; base model {base.base}, "
        f"trained part {base.train}, {base.epochs} epochs of {base.steps} steps of {base.batch} slice images, seed "
        f"{base.seed}.",
        MEASURE_RULE,
        SHARED_RULE,
    ]
    if plan.healthy:
        notes.append(
            f"Every point also learns from the liver of {', '.join(plan.healthy)}, which has no tumor, and from "
            f"{base.synthetic} volumes with tumors painted into it."
        )
    if base.base == "lite-medsam":
        notes.append(f"Contamination: {LITS_NOTE}")
    return notes


def _kinds(results: Sequence[PointResult]) -> list[str]:
    return sorted({kind for r in results for kind in r.after}, key=KINDS.index)


def _mean(scores: dict[str, dict[str, float]], kind: str) -> float | None:
    """Mean over patients, equally weighted."""
    dices = scores.get(kind)
    return float(np.mean(list(dices.values()))) if dices else None


def _f(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
