"""`sam-liver-tumor compare`: models on the same labeled cases, as CSV, Markdown and one HTML file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.terminal import confirm_on_terminal
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import PRESETS, parse_window
from SAMLiverTumorLib.io.atomic import atomic_path, check_output

if TYPE_CHECKING:
    from SAMLiverTumorLib.datasets.cases import Case, CaseFiles
    from SAMLiverTumorLib.evaluation.comparison.compare import Comparison

_DESCRIPTION = """\
Compare models on labeled cases. Promptable models are given what the labels imply: a box, one point, corrective
clicks, text where they know it; the U-Net baseline (unet:FILE) gets nothing. Every axial slice with tumor counts.
Means by case, intervals, paired tests and sizes come as OUT.md, every single figure as OUT.csv, all with plots
and pictures as OUT.html. Ctrl+C leaves nothing half written.

  sam-liver-tumor compare lite-medsam mobile-sam --images DIR --labels DIR -o OUT
  sam-liver-tumor compare --run RUN

The second compares what a training began with, what came of it and RUN/unet.safetensors, if it is there, on the run's
test patients, else those of validation; the report is RUN/comparison unless -o names another.
"""

_ENDINGS = (".csv", ".md", ".html")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "compare",
        help="compare models on labeled cases",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="model id, weight file, or unet:FILE.safetensors")
    parser.add_argument("--run", type=Path, dest="run_folder", metavar="RUN", help="folder of a finished training")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="folder of CT volumes (needed without --run)")
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help="folder of labels (default: that of the images)")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="name of the files to write")
    parser.add_argument("--cases", metavar="A,B", help="only these cases, by name or number (default: all)")
    parser.add_argument(
        "--hold-out", type=Path, metavar="FILE", help="text file of cases, one a line, that may not be looked at"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most N slices of each case, for a quick look")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="VALUE=WHAT",
        help="what a label value is: tumor, liver or ignore (default: 1=liver, 2=tumor)",
    )
    parser.add_argument(
        "--window",
        metavar="NAME|LOW,HIGH",
        default="auto",
        help=f"what promptable models are shown: {', '.join(PRESETS)}, or two values (default: auto, each model's own)",
    )
    parser.add_argument(
        "--quality", choices=("full", "best"), default="full", help="best: the mirror image as well (default: full)"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--yes", action="store_true", help="download missing weights without asking")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Compare, write the three files, print where they are and the first table.

    :raises SAMLiverTumorError: whatever the user can mend; nothing is then written.
    """
    if args.run_folder is not None:
        from SAMLiverTumorLib.cli.commands.compare_run import compare_run

        return compare_run(args)
    if not args.models or args.images is None or args.output is None:
        raise InputError("Name models, --images and -o OUT; or a finished training by --run RUN.")
    outputs = check_outputs(args)
    window = None if args.window == "auto" else parse_window(args.window)
    names = _label_names(args.label)
    files = _chosen(args)

    from SAMLiverTumorLib.cli.progress import bar, download_bar
    from SAMLiverTumorLib.evaluation.comparison.compare import compare
    from SAMLiverTumorLib.evaluation.comparison.contestants import contestant
    from SAMLiverTumorLib.inference import pool as pools
    from SAMLiverTumorLib.models.builders import resolve_device

    device = resolve_device(args.device)
    with download_bar() as downloaded:
        pool = pools.PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded)
        contestants = [contestant(model, pool, window, device, args.quality) for model in args.models]
    with bar("comparing", "slice") as progressed:
        comparison = compare(read_cases(files, names), contestants, args.limit, progressed)
    write_report(args, comparison, outputs)
    return 0


def check_outputs(args: argparse.Namespace) -> list[Path]:
    """Where the report goes.

    :raises OutputError: a file is there already, or cannot be written.
    """
    outputs = [Path(f"{args.output}{ending}") for ending in _ENDINGS]
    for path in outputs:
        check_output(path, args.overwrite)
    if args.limit is not None and args.limit < 1:
        raise InputError("--limit has to be 1 or more.")
    return outputs


def write_report(args: argparse.Namespace, comparison: Comparison, outputs: list[Path]) -> None:
    """Write the three files whole or not at all; print the first table and where they are."""
    from SAMLiverTumorLib.evaluation.comparison.html_report import as_html
    from SAMLiverTumorLib.evaluation.comparison.tables import as_csv, as_markdown, tables

    versions, command = _versions(), _command(args)
    texts = (
        as_csv(comparison),
        as_markdown(comparison, versions, command),
        as_html(comparison, versions, command),
    )
    with ExitStack() as stack:
        for path, text in zip(outputs, texts, strict=True):
            stack.enter_context(atomic_path(path, args.overwrite)).write_text(text, encoding="utf-8")
    table = tables(comparison, versions)[0]
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    for row in (table.header, *table.rows):
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    print(f"Wrote {', '.join(map(str, outputs))}")


def _chosen(args: argparse.Namespace) -> list[CaseFiles]:
    """The files of the cases to compare on.

    :raises InputError: a case that was named is not there, or is held out.
    """
    from SAMLiverTumorLib.datasets.cases import find_cases, read_hold_out, refuse_held_out

    found = find_cases(args.images, args.labels or args.images)
    if args.cases:
        wanted = [name.strip() for name in args.cases.split(",") if name.strip()]
        chosen = []
        for name in wanted:
            same = [f for f in found if f.name == name or (name.isdecimal() and f.name.rpartition("_")[2] == name)]
            if not same:
                raise InputError(f"There is no case '{name}'; there are {', '.join(f.name for f in found)}.")
            chosen += same
        found = list(dict.fromkeys(chosen))
    if args.hold_out:
        refuse_held_out([f.name for f in found], read_hold_out(args.hold_out))
    return found


def read_cases(files: list[CaseFiles], names: dict[str, str]) -> Iterator[Case]:
    """The cases one by one."""
    from SAMLiverTumorLib.datasets.cases import load_case

    return (load_case(each, names) for each in files)


def _label_names(given: list[str]) -> dict[str, str]:
    """Label value -> meaning.

    :raises InputError: something else than VALUE=WHAT.
    """
    from SAMLiverTumorLib.datasets.cases import IGNORE, LITS_VALUES, LIVER, TUMOR

    names = dict(LITS_VALUES)
    for text in given:
        value, _, what = text.rpartition("=")
        if not value or what not in (TUMOR, LIVER, IGNORE):
            raise InputError(f"--label {text} is not of the form VALUE=tumor, VALUE=liver or VALUE=ignore.")
        names[value] = what
    return names


def _command(args: argparse.Namespace) -> str:
    """The command for the report: folders are nobody else's business, so paths appear by their last part."""
    words = ["sam-liver-tumor compare", *(_bare(model) for model in args.models)]
    if args.run_folder is not None:
        words.insert(1, f"--run {args.run_folder.resolve().name}")
    for option in ("images", "labels", "cases", "hold_out", "limit", "window", "device"):
        value = getattr(args, option)
        if value is not None:
            words.append(f"--{option.replace('_', '-')} {value.name if isinstance(value, Path) else value}")
    words += [f"--label {text}" for text in args.label]
    return " ".join([*words, f"-o {args.output.name}"])


def _bare(model: str) -> str:
    prefix, colon, path = model.rpartition(":") if model.startswith("unet:") else ("", "", model)
    return f"{prefix}{colon}{Path(path).name}"


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from SAMLiverTumorLib.versions import versions

    found = {**versions(), "python": platform.python_version()}
    for package in ("monai", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found
