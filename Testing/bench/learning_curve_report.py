"""A learning curve as CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from bench.learning_curve_plan import CurvePlan
from bench.learning_curve_run import PointResult
from SAMLiverTumorLib.evaluation.comparison.contestants import LITS_NOTE
from SAMLiverTumorLib.evaluation.comparison.png_figures import COLORS, new_figure, png_of
from SAMLiverTumorLib.training.optimization.validation import KINDS

MEASURE_RULE = (
    "Dice with a point, three corrections after it, and a box: mean over all lesions (8-connected, at least 50 pixels) "
    "on all slices of a test patient, prompts derived from the reference. Dice with text: all lesions of all slices "
    "together, nothing but the text given, inside the reference's liver where there is one."
)
SHARED_RULE = (
    "Every point is one training with the same base model, steps and seed; a point with more patients has those of "
    "the points before it. Epoch, and mixture with the base model's weights, were chosen on the labels of the "
    "validation patients in every point, that with 0 labeled patients too."
)
TEACHER_RULE = (
    "Unlabeled: a mean teacher looks at scans of the patients named, whose labels are not read; everything else is "
    "as in the row of as many labeled patients without it."
)

_HEAD = ("labeled", "unlabeled", "learned_from", "unlabeled_patients", "prompt", "patient", "dice_before", "dice")


def curve_csv(results: Sequence[PointResult]) -> str:
    """One line for each point, kind of prompt and patient."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_HEAD, "best_epoch", "share_of_new_weights"])
    for r in results:
        head = [r.point.labeled, int(r.point.unlabeled), " ".join(r.patients), " ".join(r.unlabeled)]
        for kind, dices in r.after.items():
            for patient, dice in dices.items():
                before = r.before.get(kind, {}).get(patient)
                told = ["" if x is None else round(x, 6) for x in (before, dice)]
                writer.writerow([*head, kind, patient, *told, r.best_epoch, r.share])
    return out.getvalue()


def curve_markdown(plan: CurvePlan, results: Sequence[PointResult], command: str) -> str:
    """The table for people, with the rules that it follows."""
    kinds = _kinds(results)
    lines = ["# Learning curve", "", f"`{command}`", ""]
    lines += [
        _row("labeled patients", "learned from", "unlabeled", *kinds, "epoch chosen"),
        _row(*["---"] * (4 + len(kinds))),
    ]
    if results:
        lines.append(_row("none: the base model", "-", "-", *(_f(_mean(results[0].before, k)) for k in kinds), "-"))
    for r in results:
        learned = ", ".join(r.patients) or "painted tumors alone"
        unlabeled = ", ".join(r.unlabeled) or "-"
        figures = [_f(_mean(r.after, kind)) for kind in kinds]
        lines.append(_row(str(r.point.labeled), learned, unlabeled, *figures, str(r.best_epoch)))
    lines += ["", *(f"* {note}" for note in _notes(plan, results)), ""]
    if gains := list(_gains(results)):
        lines += ["## With unlabeled scans against without", "", _row("labeled patients", *kinds)]
        lines += [_row(*["---"] * (1 + len(kinds)))]
        for labeled, by_kind in gains:
            lines.append(_row(str(labeled), *(f"{by_kind[kind]:+.3f}" for kind in kinds)))
        lines += ["", f"* {TEACHER_RULE}", "* One training each: a difference of some hundredths is no finding.", ""]
    return "\n".join(lines)


def curve_png(results: Sequence[PointResult]) -> bytes:
    """Mean Dice of the test patients against the number of labeled patients, a line for each kind of prompt."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    counts = sorted({r.point.labeled for r in results})
    place = {count: n + 1 for n, count in enumerate(counts)}
    for color, kind in zip(COLORS, _kinds(results), strict=False):
        plain = [r for r in results if not r.point.unlabeled]
        before = _mean(results[0].before, kind)
        dices = [_mean(r.after, kind) for r in plain]
        places = [place[r.point.labeled] for r in plain]
        axes.plot([0], [np.nan if before is None else before], "s", color=color, markerfacecolor="none")
        axes.plot(places, [np.nan if d is None else d for d in dices], "o-", color=color, label=kind)
        for r in results:
            if r.point.unlabeled and (dice := _mean(r.after, kind)) is not None:
                axes.plot([place[r.point.labeled] + 0.15], [dice], "x", color=color, markersize=8)
    if any(r.point.unlabeled for r in results):
        axes.plot([], [], "x", color="grey", label="with unlabeled scans")
    axes.set_xticks([0, *place.values()], ["base\nmodel", *(f"{c}\n(painted)" if c == 0 else str(c) for c in counts)])
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("labeled patients learned from")
    axes.set_ylabel("mean Dice on the patients left out")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    return png_of(figure)


def _notes(plan: CurvePlan, results: Sequence[PointResult]) -> list[str]:
    base = plan.base
    notes = [
        f"Measured on {', '.join(plan.test)}, validated on {', '.join(plan.validation)}; base model {base.base}, "
        f"trained part {base.train}, {base.epochs} epochs of {base.steps} steps of {base.batch} pictures, seed "
        f"{base.seed}.",
        MEASURE_RULE,
        SHARED_RULE,
    ]
    if plan.healthy:
        notes.append(
            f"Every point also learns from the liver of {', '.join(plan.healthy)}, which has no tumor, and from "
            f"{base.synthetic} volumes with tumors painted into it."
        )
    left = {f.name for r in results if r.point.unlabeled for f in plan.order[r.point.labeled :]}
    if left := sorted(left - {name for r in results for name in r.unlabeled}):
        notes.append(f"{', '.join(left)}: stored in another window, not among the unlabeled scans.")
    if base.base == "lite-medsam":
        notes.append(f"Contamination: {LITS_NOTE}")
    return notes


def _gains(results: Sequence[PointResult]):
    """(labeled patients, kind -> Dice with unlabeled scans minus without) where both were trained."""
    plain = {r.point.labeled: r for r in results if not r.point.unlabeled}
    for r in results:
        if r.point.unlabeled and r.point.labeled in plain:
            without = plain[r.point.labeled]
            pairs = {kind: (_mean(r.after, kind), _mean(without.after, kind)) for kind in _kinds(results)}
            yield r.point.labeled, {k: np.nan if None in both else both[0] - both[1] for k, both in pairs.items()}


def _kinds(results: Sequence[PointResult]) -> list[str]:
    return sorted({kind for r in results for kind in r.after}, key=KINDS.index)


def _mean(scores: dict[str, dict[str, float]], kind: str) -> float | None:
    """Over patients, which count alike."""
    dices = scores.get(kind)
    return float(np.mean(list(dices.values()))) if dices else None


def _f(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
