"""`sam-liver-tumor demo`: the main job on the sample case, with nothing to choose."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from SAMLiverTumorLib.cli.terminal import confirm_on_terminal


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "demo",
        help="segment three tumors of the sample case",
        description="Segment three tumors of the sample case; write segmentation, scene, pictures and figures.",
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write to (default: out/demo)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--yes", action="store_true", help="download missing models without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its table; 0 even where pictures could not be rendered.

    :raises SAMLiverTumorError: models cannot be had, or the folder cannot be written.
    """
    from SAMLiverTumorLib.cli.demo import run_demo
    from SAMLiverTumorLib.cli.terminal import bar, download_bar
    from SAMLiverTumorLib.inference.pool import PredictorPool

    with download_bar() as downloaded, bar("segmenting", "slice") as progressed:
        pool = PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded)
        result = run_demo(args.out, pool, progress=progressed)
    print()
    print(result.evaluation.as_table())
    print()
    for path in result.files:
        print(f"wrote {path}")
    if result.pictures_missing:
        print(result.pictures_missing, file=sys.stderr)
    return 0
