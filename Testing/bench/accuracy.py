"""`python3 dev.py bench accuracy --data FOLDER`: 3D accuracy of propagation, or of whole lesions, against labels."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.accuracy_data import HELD_OUT, find_pairs, read_case
from bench.accuracy_prompts import RULE
from bench.accuracy_report import summary, write
from bench.accuracy_trials import BOX, POINT, Trial, run_trial
from bench.accuracy_whole import OUTLINE, run_whole_trial
from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.image.window import parse_window
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.inference.whole_tumor.lesion_network import load_lesion_network
from SAMLiverTumorLib.plane import ORIENTATIONS
from SAMLiverTumorLib.versions import versions

_CONTAMINATED = (
    "LiteMedSAM was very probably trained on LiTS: its figures on LiTS cases are not those of unseen patients."
)


def main(arguments: list[str]) -> int:
    """Run the benchmark; 2 with one line if the user can fix something."""
    parser = argparse.ArgumentParser(prog="dev.py bench accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="image and label pairs")
    parser.add_argument("--cases", metavar="N,N", help=f"cases to use (default: all; never {HELD_OUT})")
    parser.add_argument(
        "--whole", type=Path, metavar="FILE", help="a network of whole lesions, to use instead of propagation"
    )
    parser.add_argument(
        "--prompts", default="box,point", metavar="KINDS", help="box, point (default: both); outline with --whole"
    )
    parser.add_argument("--corrections", type=int, default=5, metavar="N", help="clicks after the box (default: 5)")
    parser.add_argument("--least-ml", type=float, default=0.5, metavar="ML", help="smallest lesion (default: 0.5)")
    parser.add_argument("--label", type=int, default=2, metavar="N", help="the label of tumor (default: 2)")
    parser.add_argument("--liver", action="store_true", help="limit propagation to the reference's liver (any label)")
    parser.add_argument("--plane", choices=ORIENTATIONS, default="axial", help="orientation of the slices")
    parser.add_argument("--model", default="auto", metavar="ID|FILE", help="model id or checkpoint (default: auto)")
    parser.add_argument("--quality", choices=("full", "best"), default="full", help="best: mirror images as well")
    parser.add_argument("--window", metavar="NAME|LOW,HIGH", help="default: the model's own; 8-bit grey shown whole")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--out", type=Path, default=Path("out/accuracy"), help="folder to write to")
    args = parser.parse_args(arguments)
    try:
        return _run(args, arguments)
    except SAMLiverTumorError as error:
        print(f"bench accuracy: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace, arguments: list[str]) -> int:
    pairs = find_pairs(args.data, args.cases.split(",") if args.cases else None)
    kinds = args.prompts.split(",")
    known = [BOX, POINT, *([OUTLINE] if args.whole else [])]
    if not set(kinds) <= set(known) or (args.whole and args.liver):
        print(f"bench accuracy: --prompts takes {' and '.join(known)}; --whole no --liver", file=sys.stderr)
        return 2
    network = load_lesion_network(args.whole) if args.whole else None
    pool = PredictorPool(lambda question: True, device=args.device)
    started, trials = time.strftime("%Y-%m-%d"), []
    for pair in pairs:
        case = read_case(pair, args.least_ml, args.label)
        window = parse_window(args.window) if args.window else case.window
        settings = Settings(args.model, args.plane, window, quality=args.quality)
        for lesion in case.lesions:
            for kind in kinds:
                if network is not None:
                    trials.append(run_whole_trial(case, lesion, kind, args.corrections, pool, settings, network, _say))
                    continue
                corrections = args.corrections if kind == BOX else 0
                trials.append(run_trial(case, lesion, kind, corrections, pool, settings, args.liver, _say))
    command = " ".join(arguments).replace(str(args.data), "FOLDER").replace(str(args.whole), "NETWORK")
    notes = [
        f"`python3 dev.py bench accuracy {command}`, {started}, "
        + ", ".join(f"{name} {version}" for name, version in versions().items()),
        f"Lesions are 26-connected components of at least {args.least_ml:g} ml; each is compared alone, so a mask that "
        "runs into a neighboring lesion counts as false positive there.",
        RULE,
        _CONTAMINATED,
    ]
    if network is not None:
        notes.append(
            f"Whole lesions by a network that learned from {', '.join(network.patients) or 'unknown patients'}."
        )
    if not any(trial.states for trial in trials):
        print(f"bench accuracy: no lesion of {args.least_ml:g} ml was segmented in '{args.data}'", file=sys.stderr)
        return 2
    paths = write(args.out, trials, notes)
    _print(trials)
    for path in paths:
        print(f"wrote {path}")
    return 0


def _print(trials: list[Trial]) -> None:
    for row in summary(trials):
        print(
            f"{row['prompt']:6} {row['prompts']} prompts, {row['lesions']} lesions: Dice {row['dice_lesions']:.3f} "
            f"({row['dice_low']:.3f}-{row['dice_high']:.3f}), of patients {row['dice_patients']:.3f}, "
            f"HD95 {row['hd95_mm']:.1f} mm, ends early {row['stopped_early']}, late {row['ran_on']}, "
            f"{row['seconds']:.1f} s"
        )
    for trial in trials:
        if trial.failed:
            print(f"{trial.case} lesion {trial.lesion} {trial.prompt}: {trial.failed}")


def _say(text: str) -> None:
    print(text, flush=True)
