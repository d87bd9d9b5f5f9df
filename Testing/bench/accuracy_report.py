"""Tables of trials: means over lesions and patients with bootstrap intervals; CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.accuracy_trials import GOALS, Trial

_RESAMPLES = 10_000

_COLUMNS = (
    "case",
    "lesion",
    "ml",
    "slices",
    "prompt",
    "prompts",
    "dice",
    "hd95_mm",
    "reached",
    "end_low",
    "end_high",
    "seconds",
)

INTERVAL_RULE = (
    f"Intervals are 95% percentile bootstraps over lesions ({_RESAMPLES:,} resamples, seed 0); lesions of one patient "
    "are correlated, so the intervals are too narrow."
)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean."""
    values = np.asarray(values, float)
    picks = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def summary(trials: Sequence[Trial]) -> list[dict]:
    """One row for each way of prompting and number of prompts."""
    rows = []
    for prompt in dict.fromkeys(trial.prompt for trial in trials):
        chosen = [t for t in trials if t.prompt == prompt and t.states]
        for n in range(max((len(t.states) for t in chosen), default=0)):
            states = [t.states[n] for t in chosen]
            dice = [s.dice for s in states]
            by_patient = {t.case: [] for t in chosen}
            for trial, value in zip(chosen, dice, strict=True):
                by_patient[trial.case].append(value)
            ends = np.array([s.ends for s in states])
            rows.append(
                {
                    "prompt": prompt,
                    "prompts": n + 1,
                    "lesions": len(chosen),
                    "patients": len(by_patient),
                    "dice_lesions": float(np.mean(dice)),
                    "dice_low": interval(dice)[0],
                    "dice_high": interval(dice)[1],
                    "dice_patients": float(np.mean([np.mean(values) for values in by_patient.values()])),
                    "hd95_mm": float(np.nanmean([s.hd95_mm for s in states])),
                    "reached": int(sum(s.reached for s in states)),
                    "slices": int(sum(t.slices for t in chosen)),
                    "stopped_early": int(np.count_nonzero(ends < 0)),
                    "slices_missed": int(-ends[ends < 0].sum()),
                    "ran_on": int(np.count_nonzero(ends > 0)),
                    "slices_in_excess": int(ends[ends > 0].sum()),
                    "seconds": float(np.mean([s.seconds for s in states])),
                }
            )
    return rows


def goals(trials: Sequence[Trial]) -> list[dict]:
    """Number of lesions that reach a Dice, and their mean number of prompts until then."""
    rows = []
    for prompt in dict.fromkeys(trial.prompt for trial in trials):
        chosen = [t for t in trials if t.prompt == prompt and t.states]
        for goal in GOALS:
            needed = [n for n in (t.prompts_to(goal) for t in chosen) if n is not None]
            mean = float(np.mean(needed)) if needed else None
            rows.append(
                {"prompt": prompt, "dice": goal, "reached": len(needed), "lesions": len(chosen), "mean_prompts": mean}
            )
    return rows


def markdown(trials: Sequence[Trial], notes: Sequence[str]) -> str:
    """The report as Markdown."""
    parts = ["# Accuracy in three dimensions\n", *(f"- {note}" for note in (*notes, INTERVAL_RULE)), "\n## Means\n"]
    parts += _table(
        summary(trials),
        {
            "prompt": lambda r: r["prompt"],
            "prompts": lambda r: str(r["prompts"]),
            "lesions (patients)": lambda r: f"{r['lesions']} ({r['patients']})",
            "Dice, mean of lesions": lambda r: f"{r['dice_lesions']:.3f} ({r['dice_low']:.3f}-{r['dice_high']:.3f})",
            "Dice, mean of patients": lambda r: f"{r['dice_patients']:.3f}",
            "HD95 (mm)": lambda r: f"{r['hd95_mm']:.1f}",
            "slices reached / reference": lambda r: f"{r['reached']} / {r['slices']}",
            "ends too early (slices)": lambda r: f"{r['stopped_early']} ({r['slices_missed']})",
            "ends too late (slices)": lambda r: f"{r['ran_on']} ({r['slices_in_excess']})",
            "seconds": lambda r: f"{r['seconds']:.1f}",
        },
    )
    parts.append("\n## Prompts to reach a Dice\n")
    parts += _table(
        goals(trials),
        {
            "prompt": lambda r: r["prompt"],
            "Dice": lambda r: f"{r['dice']:.1f}",
            "lesions": lambda r: f"{r['reached']} of {r['lesions']}",
            "mean prompts of these": lambda r: "-" if r["mean_prompts"] is None else f"{r['mean_prompts']:.1f}",
        },
    )
    parts.append("\n## Lesions\n")
    parts += _table(
        [asdict(trial) for trial in trials],
        {
            "case": lambda t: t["case"],
            "lesion": lambda t: str(t["lesion"]),
            "ml": lambda t: f"{t['ml']:.2f}",
            "slices": lambda t: str(t["slices"]),
            "prompt": lambda t: t["prompt"],
            "Dice by prompts": lambda t: " ".join(f"{s['dice']:.3f}" for s in t["states"]) or t["failed"],
            "ends": lambda t: "{:+d} {:+d}".format(*t["states"][0]["ends"]) if t["states"] else "-",
            "stops": lambda t: t["stops"],
        },
    )
    return "\n".join(parts) + "\n"


def write(folder: Path, trials: Sequence[Trial], notes: Sequence[str]) -> list[Path]:
    """Write accuracy.md, accuracy.json and accuracy.csv (one line per lesion, prompt and state)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"accuracy.{suffix}" for suffix in ("md", "json", "csv")]
    paths[0].write_text(markdown(trials, notes), encoding="utf-8")
    report = {"notes": list(notes), "summary": summary(trials), "goals": goals(trials)}
    report["trials"] = [asdict(trial) for trial in trials]
    paths[1].write_text(json.dumps(report, indent=2).replace("NaN", "null") + "\n", encoding="utf-8")
    with paths[2].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for t in trials:
            for s in t.states:
                figures = (f"{s.dice:.6f}", f"{s.hd95_mm:.3f}", s.reached, *s.ends, f"{s.seconds:.2f}")
                writer.writerow([t.case, t.lesion, f"{t.ml:.4f}", t.slices, t.prompt, s.prompts, *figures])
    return paths


def _table(rows: Sequence[dict], columns: dict[str, Callable[[dict], str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(make(row) for make in columns.values()) + " |" for row in rows]
