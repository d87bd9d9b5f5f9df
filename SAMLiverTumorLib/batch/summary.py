"""The cohort as tables with one row per case: CSV, JSON and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean, median

from SAMLiverTumorLib.batch.jobs import DONE, BatchSettings, Outcome
from SAMLiverTumorLib.errors import printable
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import json_text

FILES = ("summary.csv", "summary.json", "summary.md")
_OVERALL = ("dice", "iou", "sensitivity", "precision", "hd95_mm", "assd_mm", "surface_dice")
_VOLUMES = ("reference_ml", "volume_error_ml")
_COUNTS = ("lesions", "found", "missed", "false_positive_objects")
COLUMNS = (
    "case",
    "state",
    "segments",
    "voxels",
    "ml",
    "seconds",
    "cpu_seconds",
    "models",
    *_OVERALL,
    *_VOLUMES,
    *_COUNTS,
    "reason",
    "notes",
)


def row_of(outcome: Outcome) -> dict:
    """The row of a case, by `COLUMNS`; None for missing figures."""
    record = outcome.record
    segments = record.get("segments", ())
    row = dict.fromkeys(COLUMNS) | {"case": outcome.name, "state": outcome.state, "reason": outcome.reason}
    if outcome.state != DONE:
        return row
    row |= {
        "segments": len(segments),
        "voxels": sum(segment["voxels"] for segment in segments),
        "ml": round(sum(segment["ml"] for segment in segments), 6),
        "seconds": record.get("seconds"),
        "cpu_seconds": record.get("cpu_seconds"),
        "models": " ".join(record.get("models", ())),
        "notes": " ".join(record.get("notes", ())),
    }
    if comparison := record.get("comparison"):
        row |= {key: comparison["overall"].get(key) for key in (*_OVERALL, *_VOLUMES)}
        row |= {key: comparison["counts"].get(key) for key in _COUNTS}
    return row


def totals_of(rows: Sequence[dict]) -> dict:
    """Counts, and mean and median of each figure over the cases that have it, equally weighted."""
    figures = {}
    for key in _OVERALL:
        values = [row[key] for row in rows if row[key] is not None]
        if values:
            figures[key] = {"cases": len(values), "mean": round(fmean(values), 6), "median": round(median(values), 6)}
    lesions = {key: sum(row[key] for row in rows if row[key] is not None) for key in _COUNTS}
    return {
        "cases": len(rows),
        **{state: sum(row["state"] == state for row in rows) for state in sorted({row["state"] for row in rows})},
        "ml": round(sum(row["ml"] or 0.0 for row in rows), 6),
        **{name: round(sum(row[name] or 0.0 for row in rows), 3) for name in ("seconds", "cpu_seconds")},
        "figures": figures,
        **({"lesions": lesions} if figures else {}),
    }


def write_summary(out: Path, outcomes: Sequence[Outcome], settings: BatchSettings) -> dict:
    """Write the three files, all or none, replacing those of an earlier run of the same batch.

    :return: see `totals_of`.
    :raises OutputError: disk or folder cannot be written.
    """
    rows = [
        {key: printable(value) if isinstance(value, str) else value for key, value in row_of(outcome).items()}
        for outcome in outcomes
    ]
    totals = totals_of(rows)
    rules = next((o.record["comparison"]["rules"] for o in outcomes if o.record.get("comparison")), [])
    report = {
        "settings": settings.as_dict(),
        "totals": totals,
        "cases": [{**row, **_details(o)} for row, o in zip(rows, outcomes, strict=True)],
        "rules": rules,
    }
    with ExitStack() as outputs:
        table, data, page = (outputs.enter_context(atomic_path(out / name, overwrite=True)) for name in FILES)
        with table.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        data.write_text(json_text(report), encoding="utf-8")
        page.write_text(printable(_page(outcomes, rows, totals, rules)), encoding="utf-8")
    return totals


def _details(outcome: Outcome) -> dict:
    """Entries of the JSON report that do not fit in a row."""
    record = outcome.record
    return {
        "segments": list(record.get("segments", ())),
        "notes": list(record.get("notes", ())),
        "comparison": record.get("comparison"),
    }


def _page(outcomes: Sequence[Outcome], rows: Sequence[dict], totals: dict, rules: Sequence[str]) -> str:
    compared = bool(totals["figures"])
    columns = ["case", "state", "ml", "seconds"]
    columns += ["dice", "sensitivity", "precision", "hd95_mm", "lesions", "found", "false_positive_objects"] * compared
    lines = ["# Cohort", "", _counted(totals), ""]
    lines += [f"| {' | '.join(name.replace('_', ' ') for name in columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in columns)} |" for row in rows]
    for name in ("mean", "median") if compared else ():
        cells = [name if column == "case" else _cell(totals["figures"].get(column, {}).get(name)) for column in columns]
        lines.append(f"| {' | '.join(cells)} |")
    if failed := [row for row in rows if row["reason"]]:
        lines += ["", "## Errors", "", *(f"- {_cell(row['case'])}: {_cell(row['reason'])}" for row in failed)]
    if noted := [(o.name, note) for o in outcomes for note in o.record.get("notes", ())]:
        lines += ["", "## Notes", "", *(f"- {_cell(name)}: {_cell(note)}" for name, note in noted)]
    if compared:
        lines += ["", "Means and medians are over cases, equally weighted.", *(f"- {rule}" for rule in rules)]
    return "\n".join(lines) + "\n"


def _counted(totals: dict) -> str:
    states = ", ".join(f"{totals[state]} {state}" for state in ("done", "failed", "cancelled") if totals.get(state))
    return f"{totals['cases']} cases: {states}; {totals['ml']:.2f} ml in {totals['seconds']:.0f} s of work."


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")
