"""`python3 dev.py bench suggest --data FOLDER`: does uncertainty predict which slices the automatic mode gets wrong?

Each slice with liver is outlined by text alone, as in `suggest`; its errors are 1 - Dice with the reference, and the
wrong area. Figures: Spearman's correlation of uncertainty with both (0 is chance), and the probability that a slice
with a Dice below 0.7 is more uncertain than one above (AUROC, 0.5 is chance). Besides U, its parts are measured: D, the
disagreement of two views, and W, the unsure area, for which one view is enough (`suggest --quick`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr

from bench.accuracy_data import find_pairs, read_case
from SAMLiverTumorLib.active_learning.scan_uncertainty import SliceUncertainty, slice_uncertainties
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import parse_window
from SAMLiverTumorLib.inference.model_choice import AUTO, LIVER_TUMOR
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.text_search import text_model
from SAMLiverTumorLib.plane import slice_plane

BAD_DICE = 0.7

_MEASURES: dict[str, Callable[[SliceUncertainty], float]] = {
    "U": lambda each: each.uncertainty,
    "D": lambda each: each.outline.disagreement,
    "W": lambda each: each.outline.unsure_cm2,
}


@dataclass(frozen=True)
class Row:
    """One slice: its errors, its uncertainty and the parts of that."""

    case: str
    index: int
    error: float
    wrong_cm2: float
    U: float
    D: float
    W: float


def main(arguments: list[str]) -> int:
    """Run the benchmark; 2 with one line if the user can fix something."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench suggest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="image and label pairs")
    parser.add_argument("--cases", nargs="+", metavar="N", help="cases to use (default: all)")
    parser.add_argument(
        "--every", type=int, nargs="+", default=[4], metavar="N", help="every N-th slice: one N, or one for each case"
    )
    parser.add_argument(
        "--marked", action="store_true", help="inside the liver found by the model, not that of the reference"
    )
    parser.add_argument("--model", default=AUTO, metavar="ID|FILE")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures of all slices")
    args = parser.parse_args(arguments)
    try:
        pairs = find_pairs(args.data, args.cases)
        steps = args.every * len(pairs) if len(args.every) == 1 else args.every
        pool = PredictorPool(lambda question: True, device="cpu")
        rows = [
            row
            for pair, every in zip(pairs, steps, strict=True)
            for row in _rows(pair, pool, text_model(args.model), every, args.marked)
        ]
    except SAMLiverTumorError as error:
        print(f"bench suggest: {error}", file=sys.stderr)
        return 2
    for line in summary(rows):
        print(line)
    if args.out:
        args.out.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 0


def _rows(pair, pool: PredictorPool, model: str, every: int, marked: bool) -> list[Row]:
    case = read_case(pair, 0.0)
    tumor = np.logical_or.reduce([lesion.mask for lesion in case.lesions] or [np.zeros_like(case.liver)])
    predictor = pool.predictor(model)
    window = case.window or parse_window(predictor.model.info.default_window)
    given = None if marked else case.liver
    rows = []
    for each in slice_uncertainties(case.volume, predictor, LIVER_TUMOR, window, given, every):
        plane = slice_plane(case.volume, "axial", each.index)
        embedding = predictor.embed(plane_to_rgb(case.volume, plane, window), plane.spacing[1::-1])
        found = predictor.predict_text(embedding, LIVER_TUMOR).mask
        if given is not None:
            found = found & voxels_to_slice_mask(case.liver, plane)
        truth = voxels_to_slice_mask(tumor, plane)
        wrong, both = int(np.count_nonzero(found != truth)), int(np.count_nonzero(found) + np.count_nonzero(truth))
        cm2 = plane.spacing[0] * plane.spacing[1] / 100.0
        values = {name: measure(each) for name, measure in _MEASURES.items()}
        rows.append(Row(case.name, each.index, wrong / both if both else 0.0, wrong * cm2, **values))
    print(f"{case.name}: {len(rows)} slices", file=sys.stderr)
    return rows


def summary(rows: Sequence[Row]) -> list[str]:
    """A line for each case and measure, and the means over cases."""
    lines = [
        f"{'case':12}  {'slices':>6}  {'bad':>4}  measure  rho(1 - Dice)  rho(wrong area)  AUROC(Dice < {BAD_DICE})"
    ]
    names = list(dict.fromkeys(row.case for row in rows))
    figures: dict[str, list[tuple[float, float, float]]] = {measure: [] for measure in _MEASURES}
    for name in names:
        mine = [row for row in rows if row.case == name]
        wrong = np.array([row.error > 1.0 - BAD_DICE for row in mine])
        for measure, each in figures.items():
            values = [getattr(row, measure) for row in mine]
            rho = [float(spearmanr(values, [getattr(row, of) for row in mine])[0]) for of in ("error", "wrong_cm2")]
            each.append((*rho, auroc(np.array(values), wrong)))
            lines.append(_line(name, len(mine), int(wrong.sum()), measure, each[-1]))
    bad = sum(row.error > 1.0 - BAD_DICE for row in rows)
    for measure, each in figures.items():
        lines.append(_line("mean", len(rows), bad, measure, tuple(np.nanmean(each, axis=0))))
    return lines


def auroc(values: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive has a greater value than a negative; NaN if there are none of either."""
    some, others = int(positive.sum()), int((~positive).sum())
    if not some or not others:
        return float("nan")
    return float((rankdata(values)[positive].sum() - some * (some + 1) / 2) / (some * others))


def _line(name: str, slices: int, bad: int, measure: str, figures: Sequence[float]) -> str:
    rho_error, rho_wrong, area = figures
    return f"{name:12}  {slices:6}  {bad:4}  {measure:7}  {rho_error:13.2f}  {rho_wrong:15.2f}  {area:18.2f}"
