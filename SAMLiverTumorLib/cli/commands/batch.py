"""`sam-liver-tumor batch`: many scans segmented, on this machine or on a Dask cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.commands.segment import MODES
from SAMLiverTumorLib.cli.terminal import cancel_by_interrupt, confirm_on_terminal
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.rgb import CHANNEL_MODES
from SAMLiverTumorLib.image.window import PERCENTILE, PRESETS, parse_window
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    from SAMLiverTumorLib.batch.jobs import BatchSettings, Job, Outcome
    from SAMLiverTumorLib.batch.run import BatchResult

_DESCRIPTION = """\
Segment many scans, each as `segment` does, into DIR: a .seg.nrrd and a record for each, and summary.csv, .json and
.md for all. Say where the tumors are in a table (--prompts), or search for them (--text).

The same command again goes on where it was: finished cases are not done again, wherever it was stopped. A case that
fails is reported, and the others go on.

The table has one prompt a row, in mm, RAS: case,kind,r,a,s,r2,a2,s2,segment. The kind is include or exclude for a
point; box for a box between (r, a, s) and (r2, a2, s2). Rows of one case and one segment, which may be left out, are
of one tumor.
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
    parser.add_argument(
        "--series", metavar="NUMBER|UID", help="DICOM series to read, where folders hold several; the same in each"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompts", type=Path, metavar="FILE.csv", help="points and boxes of all cases")
    what.add_argument("--text", metavar="CONCEPT", help='search for what a text such as "liver tumor" names')
    parser.add_argument("--liver", type=Path, metavar="DIR", help="labels that no tumor leaves, named as the scans")
    parser.add_argument("--references", type=Path, metavar="DIR", help="labels to compare with, named as the scans")
    parser.add_argument("--reference-label", metavar="N", help="value or name of the label to compare with")
    parser.add_argument(
        "--min-ml",
        type=float,
        default=0.0,
        metavar="X",
        help="smaller parts of a reference are no lesions",
    )
    work = parser.add_argument_group("where the work is done")
    work.add_argument("--workers", type=int, metavar="N", help="processes (default: one a GPU, else one a core)")
    work.add_argument("--threads", type=int, metavar="N", help="threads of each (default: the cores, shared out)")
    work.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster's scheduler, such as tcp://node1:8786")
    work.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    picture = parser.add_argument_group("as in `segment`")
    picture.add_argument("--mode", choices=MODES, default="slice", help="volume: follow each tumor (default: slice)")
    picture.add_argument("--direction", choices=("both", "up", "down"), default="both", help="with --mode volume")
    picture.add_argument("--plane", choices=ORIENTATIONS, default="axial", help="default: axial")
    picture.add_argument(
        "--window", metavar="NAME|LOW,HIGH", default="auto", help=f"auto, {', '.join(PRESETS)}, {PERCENTILE}, or values"
    )
    picture.add_argument("--channels", choices=CHANNEL_MODES, default="single", help="default: single")
    picture.add_argument("--model", default="auto", metavar="ID|FILE", help="model id or checkpoint (default: auto)")
    picture.add_argument("--quality", choices=("full", "best"), default="full", help="default: full")
    picture.add_argument("--segment-name", default="Liver tumor", metavar="NAME", help="of segments without a name")
    parser.add_argument("--overwrite", action="store_true", help="do again what was done with other settings or scans")
    parser.add_argument("--yes", action="store_true", help="download a missing model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Work through the cohort and say what became of it.

    :return: 0; 1 where cases failed; 130 where Ctrl+C cut it short: the same command goes on.
    :raises SAMLiverTumorError: whatever concerns all cases and the user can mend.
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
        with _Shown(len(jobs)) as shown:
            result = run_batch(
                jobs,
                settings,
                workers,
                args.scheduler,
                args.overwrite,
                begun=shown.begun,
                told=shown.told,
                note=shown.line,
                cancel=cancel,
            )
    return _conclude(args, result)


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be before anything is read.

    :raises InputError: saying which option.
    """
    for name in ("workers", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: give 1 or more.")
    if args.scheduler is not None and args.workers is not None:
        raise InputError("--workers is for processes of this machine; a --scheduler has its own.")
    if not args.min_ml >= 0:
        raise InputError(f"--min-ml {args.min_ml:g}: give 0 or more.")
    if args.window not in ("auto", PERCENTILE):
        parse_window(args.window)
    if args.reference_label is not None and args.references is None:
        raise InputError("--reference-label chooses from the labels of --references; name that as well.")
    if args.text is not None and (args.mode == "volume" or args.plane != "axial"):
        raise InputError("--text searches whole volumes on axial slices; leave --mode and --plane out.")
    if args.prompts is not None and args.mode == "slice" and args.liver is not None:
        raise InputError("--liver is for following tumors through the volume, or for --text; add --mode volume.")
    if args.out.resolve() in [path.resolve() for path in args.inputs]:
        raise InputError(f"'{args.out}' holds the scans; name a folder of its own for the results.")


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
        min_ml=args.min_ml,
        threads=args.threads,
        yes=args.yes,
    )
    return jobs, replace(settings, hashes=tuple(models_of(jobs, settings).items()))


def _with_threads(settings: BatchSettings, threads: int | None, workers: int) -> BatchSettings:
    """The cores shared out: left alone, each process would take all of them, and they would wait for each other."""
    from dataclasses import replace

    return replace(settings, threads=threads or max(1, (os.cpu_count() or 1) // max(1, workers)))


def _fetch_models(args: argparse.Namespace, settings: BatchSettings) -> None:
    """Have the models at hand, and asked for, before there are workers, which cannot ask.

    :raises SAMLiverTumorError: a model cannot be had, or knows no such text.
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


class _Shown:
    """Progress: a bar on a terminal with a line for each failure, else a line for each case."""

    def __init__(self, count: int) -> None:
        from tqdm import tqdm

        self._count, self._done = count, 0
        self._bar = tqdm(total=count, desc="cases", unit="case", leave=False, disable=not sys.stderr.isatty())

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def line(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def begun(self, workplace, count: int) -> None:
        """Say what is to be done, where it can be watched."""
        if count < self._count:
            self.line(f"{self._count - count} of {self._count} cases are finished already")
        if workplace.dashboard:
            self.line(f"dashboard: {workplace.dashboard}")

    def told(self, outcome: Outcome) -> None:
        """Count a case."""
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
        print("Interrupted; the same command goes on from here.")
        return _INTERRUPTED
    return _FAILED if failed else 0
