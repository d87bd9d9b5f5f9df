"""`sam-liver-tumor batch`: many scans segmented, on this machine or on a Dask cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.commands.segment import MODES
from SAMLiverTumorLib.cli.options.liver import add_liver_label_option, check_liver_label
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.cli.terminal import cancel_by_interrupt, confirm_on_terminal
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.rgb import CHANNEL_MODES
from SAMLiverTumorLib.image.window import PERCENTILE, PRESETS, parse_window
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    from SAMLiverTumorLib.batch.jobs import BatchSettings, Job, Outcome
    from SAMLiverTumorLib.batch.run import BatchResult

_DESCRIPTION = """\
Segment many scans, each as `segment` does, into DIR: a .seg.nrrd and a record for each scan, and summary.csv, .json and
.md for all of them. Give the prompts as a table (--prompts), or find tumors by text (--text).

Run the same command again to continue after an interruption: finished cases are not repeated. A case that fails is
reported, and the others continue.

The table has one prompt per row, in mm, RAS: case,kind,r,a,s,r2,a2,s2,segment. The kind is include or exclude for a
point, or box for a box between (r, a, s) and (r2, a2, s2). Rows with the same case and segment belong to one tumor; the
segment may be left out.
"""

_EPILOG = "Exit status: 0 all done; 1 some cases failed; 2 nothing could be done; 130 interrupted by Ctrl+C."
_FAILED, _INTERRUPTED = 1, 130


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "batch",
        help="segment many scans, on several processes or a cluster",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="image file, DICOM folder, or folder of these"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_series_option(parser, "folders hold several; the same in each")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompts", type=Path, metavar="FILE.csv", help="points and boxes of all cases")
    what.add_argument("--text", metavar="CONCEPT", help='find everything that a text such as "liver tumor" names')
    parser.add_argument("--liver", type=Path, metavar="DIR", help="labels that no tumor leaves, named as the scans")
    add_liver_label_option(parser, "the files of --liver")
    parser.add_argument("--references", type=Path, metavar="DIR", help="labels to compare with, named as the scans")
    parser.add_argument("--reference-label", metavar="N", help="value or name of the label to compare with")
    parser.add_argument(
        "--min-ml",
        type=float,
        default=0.0,
        metavar="X",
        help="ignore lesions of a reference below X ml (default: 0)",
    )
    work = parser.add_argument_group("where the work is done")
    work.add_argument("--workers", type=int, metavar="N", help="processes (default: one per GPU, else one per core)")
    work.add_argument("--threads", type=int, metavar="N", help="threads per process (default: a share of the cores)")
    work.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster's scheduler, such as tcp://node1:8786")
    work.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    as_segment = parser.add_argument_group("as in `segment`")
    as_segment.add_argument("--mode", choices=MODES, default="slice", help="volume: propagate tumors (default: slice)")
    as_segment.add_argument("--direction", choices=("both", "up", "down"), default="both", help="with --mode volume")
    as_segment.add_argument("--plane", choices=ORIENTATIONS, default="axial", help="default: axial")
    as_segment.add_argument(
        "--window", metavar="NAME|LOW,HIGH", default="auto", help=f"auto, {', '.join(PRESETS)}, {PERCENTILE}, or values"
    )
    as_segment.add_argument("--channels", choices=CHANNEL_MODES, default="single", help="default: single")
    as_segment.add_argument("--model", default="auto", metavar="ID|FILE", help="model id or checkpoint (default: auto)")
    as_segment.add_argument("--quality", choices=("full", "best"), default="full", help="default: full")
    as_segment.add_argument("--segment-name", default="Liver tumor", metavar="NAME", help="of segments without a name")
    parser.add_argument("--overwrite", action="store_true", help="redo cases done with other settings or scans")
    parser.add_argument("--yes", action="store_true", help="download a missing model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Segment the cohort and print the result.

    :return: 0; 1 if cases failed; 130 if Ctrl+C interrupted it, after which the same command continues.
    :raises SAMLiverTumorError: an error of the whole cohort that the user can fix.
    """
    from SAMLiverTumorLib.batch.cluster import check_dask
    from SAMLiverTumorLib.batch.run import default_workers, run_batch

    _check(args)
    check_dask()
    with cancel_by_interrupt() as cancel:
        jobs, settings = _jobs(args)
        workers = args.workers or 1
        if args.scheduler is None:
            workers = args.workers or default_workers(args.threads, args.device)
            settings = _with_threads(settings, args.threads, min(workers, len(jobs)))
        _fetch_models(args, settings)
        with _Progress(len(jobs)) as progress:
            result = run_batch(
                jobs,
                settings,
                workers,
                args.scheduler,
                args.overwrite,
                on_start=progress.start,
                on_outcome=progress.add,
                note=progress.line,
                cancel=cancel,
            )
    return _conclude(args, result)


def _check(args: argparse.Namespace) -> None:
    """Check the options before anything is read.

    :raises InputError: naming the option that is wrong.
    """
    for name in ("workers", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: give 1 or more.")
    if args.scheduler is not None and args.workers is not None:
        raise InputError("--workers sets processes on this machine; a --scheduler has its own.")
    check_liver_label(args)
    if not args.min_ml >= 0:
        raise InputError(f"--min-ml {args.min_ml:g}: give 0 or more.")
    if args.window not in ("auto", PERCENTILE):
        parse_window(args.window)
    if args.reference_label is not None and args.references is None:
        raise InputError("--reference-label needs --references; add it.")
    if args.text is not None and (args.mode == "volume" or args.plane != "axial"):
        raise InputError("--text searches whole volumes on axial slices; leave --mode and --plane out.")
    if args.prompts is not None and args.mode == "slice" and args.liver is not None:
        raise InputError("--liver is for propagation through the volume, or for --text; add --mode volume.")
    if args.out.resolve() in [path.resolve() for path in args.inputs]:
        raise InputError(f"'{args.out}' holds the scans; give another folder for the results.")


def _jobs(args: argparse.Namespace) -> tuple[list[Job], BatchSettings]:
    from dataclasses import replace

    from SAMLiverTumorLib.batch.inputs import check_series, find_jobs, models_of
    from SAMLiverTumorLib.batch.jobs import BatchSettings
    from SAMLiverTumorLib.batch.prompts_csv import read_prompts_csv

    prompts = None if args.prompts is None else read_prompts_csv(args.prompts, args.segment_name)
    jobs, notes = find_jobs(args.inputs, args.out, prompts, args.liver, args.references)
    for text in notes:
        print(f"note: {text}")
    if args.series is not None:
        check_series(jobs, args.series)
    model = str(Path(args.model).absolute()) if Path(args.model).is_file() else args.model
    settings = BatchSettings(
        text=None if args.text is None else " ".join(args.text.lower().split()),
        series=args.series,
        mode=args.mode,
        plane=args.plane,
        window=args.window,
        channels=args.channels,
        model=model,
        quality=args.quality,
        direction=args.direction,
        segment_name=args.segment_name,
        device=args.device,
        reference_label=args.reference_label,
        liver_label=args.liver_label,
        min_ml=args.min_ml,
        threads=args.threads,
        yes=args.yes,
    )
    return jobs, replace(settings, hashes=tuple(models_of(jobs, settings).items()))


def _with_threads(settings: BatchSettings, threads: int | None, workers: int) -> BatchSettings:
    """Divide the cores among the processes, each of which would use all of them by default."""
    from dataclasses import replace

    return replace(settings, threads=threads or max(1, (os.cpu_count() or 1) // max(1, workers)))


def _fetch_models(args: argparse.Namespace, settings: BatchSettings) -> None:
    """Download the models before workers start, since a worker cannot ask the user.

    :raises SAMLiverTumorError: a model cannot be downloaded, or does not know the text.
    """
    from SAMLiverTumorLib.cli.terminal import download_bar
    from SAMLiverTumorLib.inference.model_choice import check_concept
    from SAMLiverTumorLib.models.download.store import ModelStore
    from SAMLiverTumorLib.models.registry import load_registry

    store = ModelStore()
    for name, _ in settings.hashes:
        info = load_registry().get(name)
        if info is None:
            continue
        if settings.text is not None:
            check_concept(settings.text, info)
        if args.scheduler is None:
            with download_bar() as downloaded:
                store.fetch(info, confirm_on_terminal(args.yes), downloaded)


class _Progress:
    """On a terminal a bar, with a line for each failure; elsewhere a line for each case."""

    def __init__(self, count: int) -> None:
        from tqdm import tqdm

        self._count, self._done = count, 0
        self._bar = tqdm(total=count, desc="cases", unit="case", leave=False, disable=not sys.stderr.isatty())

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def start(self, workplace, count: int) -> None:
        """Print how many cases are finished, and the address of the dashboard."""
        if count < self._count:
            self.line(f"{self._count - count} of {self._count} cases are finished already")
        if workplace.dashboard:
            self.line(f"dashboard: {workplace.dashboard}")

    def add(self, outcome: Outcome) -> None:
        """Count a case, and print a line about it where needed."""
        from SAMLiverTumorLib.batch.summary import row_of

        self._done += 1
        self._bar.update()
        failed = outcome.state != "done"
        if self._bar.disable or failed or outcome.reason:
            row = row_of(outcome)
            what = f"{row['ml']:.2f} ml" if not failed else outcome.state
            figure = "" if row["dice"] is None else f", Dice {row['dice']:.3f}"
            seconds = f", {row['seconds']:.1f} s" if outcome.worked else ("" if failed else ", was finished")
            reason = f": {outcome.reason}" if outcome.reason else ""
            self.line(f"{self._done}/{self._count} {outcome.name}: {what}{figure}{seconds}{reason}")
        for note in outcome.record.get("notes", ()) if outcome.worked else ():
            self.line(f"note: {outcome.name}: {note}")


def _conclude(args: argparse.Namespace, result: BatchResult) -> int:
    totals = result.totals
    failed = totals.get("failed", 0)
    dice = totals["figures"].get("dice")
    figure = f"; mean Dice {dice['mean']:.3f} over {dice['cases']} cases" if dice else ""
    print(
        f"{args.out}: {totals.get('done', 0)} of {totals['cases']} cases done, {failed} failed{figure}; see summary.md"
    )
    if result.cancelled:
        print("Interrupted; run the same command again to continue.")
        return _INTERRUPTED
    return _FAILED if failed else 0
