"""`sam-liver-tumor suggest`: which scans and slices to outline next."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMLiverTumorLib.cli.options.liver import add_liver_label_option, check_liver_label
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.cli.terminal import cancel_by_interrupt, confirm_on_terminal, download_bar
from SAMLiverTumorLib.cli.text_table import aligned
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import PRESETS, parse_window
from SAMLiverTumorLib.inference.model_choice import AUTO, LIVER_TUMOR
from SAMLiverTumorLib.io.atomic import atomic_path, check_output
from SAMLiverTumorLib.io.json_text import json_text
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    import numpy as np

    from SAMLiverTumorLib.active_learning.rank_scans import ScanUncertainty, Suggestions
    from SAMLiverTumorLib.active_learning.scan_uncertainty import SliceUncertainty
    from SAMLiverTumorLib.datasets.cases import CaseFiles
    from SAMLiverTumorLib.volume import Volume

_DESCRIPTION = """\
Rank scans without outlines, and their slices, by the uncertainty of the automatic mode. Outlining and keeping the first
of them (`sam-liver-tumor cases add`) improves the model most.

Each slice is segmented twice, the second time with more contrast. It is uncertain if the two outlines disagree, and if
a large area has a probability near one half: U = sqrt((1 - Dice + 0.05) * unsure cm2). Slices suggested together are at
least 10 mm apart. Scans that are kept already, that have labels beside them or in --labels, and that --hold-out lists
are skipped.
"""
_INTERRUPTED = 130


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "suggest",
        help="rank scans and slices to outline next",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="scans: image files or DICOM folders, or one of them"
    )
    parser.add_argument("--top", type=_positive, default=10, metavar="N", help="number of slices to list (default: 10)")
    parser.add_argument("--text", default=LIVER_TUMOR, metavar="CONCEPT", help=f"default: {LIVER_TUMOR}")
    parser.add_argument(
        "--liver",
        type=Path,
        metavar="DIR",
        help="label files of livers, named as the scans, any value (default: liver found by the model)",
    )
    add_liver_label_option(parser)
    add_series_option(parser, "folders hold several; the same in each")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="label files of scans that need no outlines")
    parser.add_argument("--hold-out", type=Path, metavar="FILE", help="file of patients to skip, one per line")
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of kept cases, as with `cases`")
    parser.add_argument(
        "--every", type=_positive, metavar="N", help="segment every N-th slice (default: about 5 mm apart)"
    )
    parser.add_argument("--quick", action="store_true", help="segment each slice once: half the time, a worse ranking")
    parser.add_argument("--model", default=AUTO, metavar="ID|FILE", help="a model that knows text (default: auto)")
    parser.add_argument(
        "--window", metavar="NAME|LOW,HIGH", default=AUTO, help=f"{', '.join(PRESETS)}, or two values (default: auto)"
    )
    parser.add_argument("--device", default=AUTO, metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scans and slices to FILE")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    parser.add_argument("--yes", action="store_true", help="download a missing model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Rank, print, and write the report if wanted.

    :return: 0; 130 if Ctrl+C interrupted it, with the scans ranked until then.
    :raises SAMLiverTumorError: the user can fix it; nothing is written then.
    """
    check_liver_label(args)
    if args.json:
        check_output(args.json, args.overwrite)
    window = None if args.window == AUTO else parse_window(args.window)

    from SAMLiverTumorLib.active_learning.rank_scans import suggest
    from SAMLiverTumorLib.inference.pool import PredictorPool

    files, skipped = _scans(args)
    with download_bar() as downloaded, cancel_by_interrupt() as cancel, _slice_bar() as advance:
        suggestions = suggest(
            files,
            PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded, cancel=cancel),
            args.text,
            args.model,
            window,
            _livers(args.liver, args.liver_label) if args.liver else None,
            CaseStore(args.store),
            args.every,
            1 if args.quick else 2,
            advance,
            cancel,
        )
    for note in suggestions.notes:
        print(f"note: {note}")
    for text in skipped:
        print(f"note: {text}")
    if suggestions.kept:
        print(f"note: kept already: {listed(suggestions.kept)}")
    if args.json:
        with atomic_path(args.json, args.overwrite) as path:
            path.write_text(json_text(report(suggestions)), encoding="utf-8")
    for line in table(suggestions, args.top):
        print(line)
    if suggestions.cancelled:
        print(f"Interrupted; {len(suggestions.scans)} of {len(files)} scans were finished.")
    return _INTERRUPTED if suggestions.cancelled else 0


def table(suggestions: Suggestions, top: int) -> list[str]:
    """The scans, and the slices to outline first, as lines of text."""
    if not suggestions.scans:
        return [] if suggestions.cancelled else ["There is no scan left to outline."]
    scans = [("scan", "uncertainty", "slices looked at", "most uncertain slice")]
    for scan in suggestions.scans:
        scans.append((scan.name, f"{scan.uncertainty:.2f}", str(scan.slice_count), _named(scan.worst[0])))
    slices = [("", "scan", "slice", "uncertainty", "outlines disagree", "unsure cm2", "found cm2")]
    for number, (scan, each) in enumerate(suggestions.slices(top), 1):
        numbers = (each.uncertainty, each.outline.disagreement, each.outline.unsure_cm2, each.outline.found_cm2)
        slices.append((str(number), scan.name, _named(each), *(f"{value:.2f}" for value in numbers)))
    return ["Scans, most uncertain first", *aligned(scans), "", "Slices to outline next", *aligned(slices)]


def report(suggestions: Suggestions) -> dict[str, Any]:
    """All results, as plain values for JSON."""
    return {
        "model": suggestions.model,
        "cancelled": suggestions.cancelled,
        "kept": list(suggestions.kept),
        "notes": list(suggestions.notes),
        "scans": [_plain(scan) for scan in suggestions.scans],
    }


def _plain(scan: ScanUncertainty) -> dict[str, Any]:
    return {
        "name": scan.name,
        "uncertainty": round(scan.uncertainty, 6),
        "slices_looked_at": scan.slice_count,
        "slices": [
            {
                "index": each.index,
                "position_mm": round(each.position_mm, 3),
                "uncertainty": round(each.uncertainty, 6),
                "disagreement": round(each.outline.disagreement, 6),
                "unsure_cm2": round(each.outline.unsure_cm2, 6),
                "found_cm2": round(each.outline.found_cm2, 6),
            }
            for each in scan.worst
        ],
    }


def _scans(args: argparse.Namespace) -> tuple[list[CaseFiles], list[str]]:
    """The scans to rank, and lines about those that are skipped.

    :raises InputError: there is no scan.
    """
    from SAMLiverTumorLib.datasets.cases import find_cases, read_hold_out, refuse_held_out
    from SAMLiverTumorLib.datasets.layouts import by_patient
    from SAMLiverTumorLib.datasets.series_choice import with_series

    held = read_hold_out(args.hold_out) if args.hold_out else frozenset()
    scans = find_cases(args.folder, None)
    images = [each.image for each in scans]
    labeled = set(by_patient(args.labels, {False, True}, True, images)) if args.labels else set()
    with suppress(InputError):  # none is named as a label
        beside = by_patient(args.folder, {True}, labels=True).items()
        labeled |= {name for name, path in beside if path not in images}
    left: list[CaseFiles] = []
    skipped: dict[str, list[str]] = {"held out": [], "labeled already": []}
    for each in scans:
        try:
            refuse_held_out([each.name], held)
        except InputError:
            skipped["held out"].append(each.name)
            continue
        if each.name in labeled:
            skipped["labeled already"].append(each.name)
        else:
            left.append(each)
    left = with_series(left, args.series) if left else left
    return left, [f"{why}: {listed(names)}" for why, names in skipped.items() if names]


def _livers(folder: Path, wanted: str | None) -> Callable[[str, Volume], np.ndarray | None]:
    """Outlines of the liver by the scan's name.

    :param wanted: the liver's segment or value; None where that is plain.
    :raises InputError: there are no label files.
    """
    from SAMLiverTumorLib.datasets.layouts import by_patient
    from SAMLiverTumorLib.io.labels.region import liver_on

    files = by_patient(folder, {False, True}, labels=True)

    def read(name: str, volume: Volume) -> np.ndarray | None:
        if name not in files:
            return None
        return liver_on(files[name], volume, wanted, lambda note: print(f"note: {name}: {note}"))

    return read


@contextmanager
def _slice_bar() -> Iterator[Callable[[str, int, int, int, int], None]]:
    """A progress bar over the slices of the current scan, which it names."""
    from tqdm import tqdm

    with tqdm(unit="slice", delay=1.0, leave=False, disable=None) as shown:

        def advance(name: str, scans_done: int, scans: int, done: int, total: int) -> None:
            shown.set_description(f"{name} ({scans_done + 1} of {scans})", refresh=False)
            shown.total = total
            shown.update(done - shown.n)

        yield advance


def _named(each: SliceUncertainty) -> str:
    return f"{each.index} (S {each.position_mm:.1f} mm)"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1 is needed")
    return number
