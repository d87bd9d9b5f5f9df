"""`python3 dev.py bench fusion --data FOLDER`: does fusing passes help, and does uncertainty predict errors?"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from bench.accuracy_data import HELD_OUT, Case, Lesion, find_pairs, read_case
from bench.accuracy_prompts import BOX_MARGIN, box_anchor
from bench.accuracy_report import interval
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.evaluation.metrics.lesion_matching import bounding_box
from SAMLiverTumorLib.image.mask_geometry import grown_box
from SAMLiverTumorLib.image.window import parse_window
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.inference.uncertainty.fusion import Fusion, fuse
from SAMLiverTumorLib.inference.uncertainty.next_best_slice import next_best_slice
from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble
from SAMLiverTumorLib.plane import ORIENTATIONS
from SAMLiverTumorLib.prompts import PlanePrompts

# Margin (mm) around mask and lesion within which uncertainty is compared with error.
_AROUND_MM = 8.0

ANSWERS = ("outline", "box")

# Number of random slices whose mean the next best slice is compared with.
_RANDOM = 3


@dataclass(frozen=True)
class Row:
    """One lesion: Dice of one pass and of the fusion, AUROC of their uncertainties, Dice after one more prompt.

    :param volume_ml: of the lesion.
    :param auc_first: probability that a wrong voxel of the first pass is more uncertain, by its own probabilities, than
        a correct one, within 8 mm around mask and lesion; `auc_fused` the same for the fused mask and uncertainty.
    :param dice_next: of the first pass after a prompt on the next best slice: the lesion's outline there, or a box
        around it. If the lesion does not reach the slice, the outline is empty.
    :param dice_next_alone: the same on the slice chosen by the first pass's own uncertainty.
    :param dice_random: the same on a random slice of the mask or just beyond its ends, mean of three.
    """

    case: str
    lesion: int
    volume_ml: float
    dice_first: float
    dice_fused: float
    auc_first: float
    auc_fused: float
    dice_next: float
    dice_next_alone: float
    dice_random: float


def main(arguments: list[str]) -> int:
    """Run the benchmark; 2 with one line if the user can fix something."""
    parser = argparse.ArgumentParser(prog="dev.py bench fusion", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="image and label pairs")
    parser.add_argument("--cases", metavar="N,N", help=f"cases to use (default: all; never {HELD_OUT})")
    parser.add_argument("--fuse", default=",".join(ORIENTATIONS), metavar="NAMES", help="orientations (default: all)")
    parser.add_argument(
        "--answer", choices=ANSWERS, default=ANSWERS[0], help="prompt on the next best slice (default: outline)"
    )
    parser.add_argument("--least-ml", type=float, default=0.5, metavar="ML", help="smallest lesion (default: 0.5)")
    parser.add_argument(
        "--most", type=int, default=99, metavar="N", help="maximum number of lesions per case, largest first"
    )
    parser.add_argument("--most-ml", type=float, default=100.0, metavar="ML", help="largest lesion (default: 100)")
    parser.add_argument("--window", metavar="NAME|LOW,HIGH", help="default: the model's own; 8-bit grey shown whole")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--out", type=Path, default=Path("out/fusion"), help="folder to write fusion.csv to")
    args = parser.parse_args(arguments)
    try:
        return run(args, PredictorPool(lambda question: True, device=args.device))
    except SAMLiverTumorError as error:
        print(f"bench fusion: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace, pool: PredictorPool) -> int:
    """Measure every lesion, print a line for each and the means, and write the CSV."""
    ensemble = Ensemble(tuple(args.fuse.split(",")) if args.fuse else ())
    rows: list[Row] = []
    for pair in find_pairs(args.data, args.cases.split(",") if args.cases else None):
        case = read_case(pair, args.least_ml)
        window = parse_window(args.window) if args.window else case.window
        for lesion in [each for each in case.lesions if each.ml <= args.most_ml][: args.most]:
            started = time.perf_counter()
            rows.append(measure(case, lesion, ensemble, pool, Settings(window=window), args.answer))
            figures = " ".join(f"{name} {value:.3f}" for name, value in list(asdict(rows[-1]).items())[2:])
            print(f"{case.name} lesion {lesion.number}: {figures} ({time.perf_counter() - started:.0f} s)", flush=True)
    if not rows:
        print(f"bench fusion: no lesion of {args.least_ml:g} ml in '{args.data}'", file=sys.stderr)
        return 2
    for line in summary(rows):
        print(line)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "fusion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    return 0


def measure(
    case: Case, lesion: Lesion, ensemble: Ensemble, pool: PredictorPool, settings: Settings, answer: str
) -> Row:
    """One lesion from one box on its largest slice: one pass, fused, and corrected on slices chosen in three ways."""
    stack = PlaneStack(case.volume, settings.orientation)
    anchor = box_anchor(stack, lesion.mask)
    first = propagate(stack, [anchor], pool, settings)
    alone, fused = fuse(first, pool, settings), fuse(first, pool, settings, ensemble)
    after: dict[int, float] = {}

    def corrected(index: int) -> float:
        if index not in after:
            slice_mask = stack.slice_mask_of(lesion.mask, stack.plane(index))
            boxed = answer == "box" and slice_mask.any()
            prompts = PlanePrompts(box=grown_box(slice_mask, BOX_MARGIN)) if boxed else None
            added = Anchor(index, prompts, None if boxed else slice_mask)
            again = propagate(stack, [anchor, added], pool, settings, previous=first)
            after[index] = dice(again.mask().full(), lesion.mask)
        return after[index]

    choices = _candidates(first, anchor.index)
    rng = np.random.default_rng(lesion.number)
    picks = rng.choice(choices, min(_RANDOM, len(choices)), replace=False)
    named = [next_best_slice(each) for each in (fused, alone)]
    best, best_alone = (corrected(each.index) if each is not None else dice_of(first, lesion) for each in named)
    return Row(
        case.name,
        lesion.number,
        lesion.ml,
        dice_of(first, lesion),
        dice_of(fused, lesion),
        auroc(alone, lesion.mask, case.volume.spacing),
        auroc(fused, lesion.mask, case.volume.spacing),
        best,
        best_alone,
        float(np.mean([corrected(int(n)) for n in picks])),
    )


def summary(rows: Sequence[Row]) -> list[str]:
    """Means over lesions with bootstrap intervals, and of the differences."""
    column = {field.name: np.array([getattr(row, field.name) for row in rows]) for field in fields(Row)[3:]}
    pairs = {
        "fused - first, Dice": column["dice_fused"] - column["dice_first"],
        "fused - first, AUROC": column["auc_fused"] - column["auc_first"],
        "next best - first, Dice": column["dice_next"] - column["dice_first"],
        "next best - random, Dice": column["dice_next"] - column["dice_random"],
        "next best - next best of one pass, Dice": column["dice_next"] - column["dice_next_alone"],
    }
    lines = []
    for name, values in (column | pairs).items():
        values = values[np.isfinite(values)]
        low, high = interval(values)
        lines.append(f"{name}: {values.mean():.3f} ({low:.3f} to {high:.3f}), {len(values)} lesions")
    return lines


def dice_of(result: Propagation | Fusion, lesion: Lesion) -> float:
    """Dice of a result."""
    return dice(result.mask().full(), lesion.mask)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two masks, not both empty."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def auroc(fusion: Fusion, lesion: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """How well uncertainty ranks wrong voxels above correct ones, around mask and lesion; NaN if none is wrong."""
    mask = fusion.mask().full()
    box = bounding_box(mask | lesion)
    grow = [int(np.ceil(_AROUND_MM / mm)) for mm in spacing[::-1]]
    part = tuple(slice(max(s.start - g, 0), s.stop + g) for s, g in zip(box, grow, strict=True))
    uncertainty = np.zeros(mask.shape, np.uint8)
    uncertainty[fusion.uncertainty.box] = fusion.uncertainty.array
    ranks, wrong = rankdata(uncertainty[part]), (mask != lesion)[part].ravel()
    bad, good = np.count_nonzero(wrong), np.count_nonzero(~wrong)
    return float((ranks.ravel()[wrong].sum() - bad * (bad + 1) / 2) / (bad * good)) if bad and good else float("nan")


def _candidates(first: Propagation, prompted: int) -> list[int]:
    """Slices of a mask and the next one beyond each end, without the prompted slice."""
    low, high = min(first.reached) - 1, max(first.reached) + 1
    return [n for n in range(low, high + 1) if n != prompted and first.stack.holds(n)]
