"""`python3 dev.py bench learning-curve --points 0,1,2,4,all ...`: what does one more labeled patient gain?

One training run for each number of labeled patients, all else equal; a table and a figure of Dice on the patients left
out. Points that are finished in --out are read back, and an interrupted one is resumed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bench.learning_curve_plan import plan_curve
from bench.learning_curve_report import curve_csv, curve_markdown, curve_png
from bench.learning_curve_run import PointResult, run_curve
from SAMLiverTumorLib.cli.commands.train import settings_of
from SAMLiverTumorLib.cli.commands.train_progress_text import ProgressText
from SAMLiverTumorLib.cli.main import build_parser
from SAMLiverTumorLib.cli.terminal import cancel_by_interrupt, confirm_on_terminal
from SAMLiverTumorLib.errors import InputError, SAMLiverTumorError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.training.optimization.distributed import join
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.settings import TrainSettings

NAME = "learning-curve"
_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Train the points and write the table; 2 with one line where the user can fix something."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench learning-curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="All other options are those of `dev.py run train`; --out and --test are needed.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--points",
        required=True,
        metavar="POINTS",
        help="numbers of labeled patients, such as 0,1,2,4,all, in the order of --cases; 0 learns from tumors painted "
        "into livers without any",
    )
    own, rest = parser.parse_known_args(arguments)
    args = build_parser().parse_args(["train", *rest])
    try:
        if args.baseline is not None or args.resume:
            raise InputError("A learning curve takes neither --baseline nor --resume; it resumes by itself.")
        stream = sys.stdout if args.json else ProgressText(sys.stdout)
        with cancel_by_interrupt() as cancel:
            return run_learning_curve(settings_of(args), own.points, stream, confirm_on_terminal(args.yes), cancel)
    except SAMLiverTumorError as error:
        print(f"bench {NAME}: {error}", file=sys.stderr)
        return 2


def run_learning_curve(
    settings: TrainSettings,
    points: str,
    stream: IO[str],
    confirm: Callable[[str], bool],
    cancel: Callable[[], bool],
) -> int:
    """Train the points and write OUT/learning-curve.csv, .md and .png, updated after each point.

    :param points: as `learning_curve_plan.parse_points`.
    :param stream: gets progress as lines of JSON.
    :return: 0; 130 if it was cancelled, with the finished points written.
    :raises SAMLiverTumorError: the user can fix it.
    """
    if join().count > 1:
        raise InputError("A learning curve is trained by one process; start it without torchrun.")
    plan = plan_curve(settings, points)
    command = f"python3 dev.py bench {NAME} --points {points} ... --out {Path(settings.out).name}"

    def reporter(folder: Path) -> Reporter:
        report = Reporter(folder, stream)
        report("note", text=f"Learning curve: {folder.name}.")
        return report

    def write(results: list[PointResult]) -> None:
        for ending, content in (
            (".csv", curve_csv(results).encode()),
            (".md", curve_markdown(plan, results, command).encode()),
            (".png", curve_png(results)),
        ):
            with atomic_path(Path(settings.out) / f"{NAME}{ending}", overwrite=True) as temporary:
                temporary.write_bytes(content)

    results = run_curve(plan, reporter, write, confirm, cancel)
    if len(results) < len(plan.points):
        return _INTERRUPTED
    Reporter(None, stream)("note", text=curve_markdown(plan, results, command))
    return 0
