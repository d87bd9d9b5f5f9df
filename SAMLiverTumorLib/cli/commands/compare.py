"""`sam-liver-tumor compare`: models on the same labeled cases, as CSV, Markdown and one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.compare_files import check_outputs, read_cases, write_report
from SAMLiverTumorLib.cli.options.label_names import parse_label_names
from SAMLiverTumorLib.cli.options.liver import add_liver_label_option
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.cli.terminal import confirm_on_terminal
from SAMLiverTumorLib.datasets.cases import LITS_VALUES
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import PRESETS, parse_window
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    from SAMLiverTumorLib.datasets.cases import CaseFiles

_DESCRIPTION = """\
Compare models on labeled cases. Promptable models get prompts derived from the labels: a box, one point, corrective
clicks, and text if they know it; the U-Net baseline (unet:FILE) gets none. Every axial slice with tumor counts.
OUT.md holds means by case, intervals, paired tests and figures by size; OUT.csv every single figure; OUT.html all of
them with plots and images. Ctrl+C leaves no partial files.

  sam-liver-tumor compare lite-medsam mobile-sam --images DIR --labels DIR -o OUT
  sam-liver-tumor compare --run RUN

The second form compares the base and the result of a training run, and RUN/unet.safetensors if it exists, on the run's
test patients, or on its validation patients if it has none. The report is RUN/comparison unless -o names another.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "compare",
        help="compare models on labeled cases",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="model id, weight file, or unet:FILE.safetensors")
    parser.add_argument("--run", type=Path, dest="run_folder", metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="folder of CT volumes (needed without --run)")
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help="folder of labels (default: that of the images)")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="path of the files to write, without ending")
    parser.add_argument("--cases", metavar="A,B", help="only these cases, by name or number (default: all)")
    parser.add_argument("--hold-out", type=Path, metavar="FILE", help="text file of cases to refuse, one per line")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N slices of each case, for a quick look")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="VALUE=WHAT",
        help='meaning of a label value or segment: tumor, liver or ignore; "*" for all others (default: as '
        "dataset.json says, else 1=liver, 2=tumor, and segments by their names)",
    )
    add_liver_label_option(parser, "the labels, as --label NAME=liver")
    add_series_option(parser, "folders of images hold several; the same in each")
    parser.add_argument(
        "--window",
        metavar="NAME|LOW,HIGH",
        default="auto",
        help=f"window of promptable models: {', '.join(PRESETS)}, or two values (default: auto, each model's own)",
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
    """Compare, write the three files, print their paths and the first table.

    :raises SAMLiverTumorError: the user can fix it; nothing is written then.
    """
    if args.run_folder is not None:
        from SAMLiverTumorLib.cli.commands.compare_run import compare_run

        return compare_run(args)
    if not args.models or args.images is None or args.output is None:
        raise InputError("Give models, --images and -o OUT; or a finished training run with --run RUN.")
    outputs = check_outputs(args)
    window = None if args.window == "auto" else parse_window(args.window)
    names = parse_label_names(args.label, args.liver_label)
    files = _chosen(args)

    from SAMLiverTumorLib.cli.terminal import bar, download_bar
    from SAMLiverTumorLib.evaluation.comparison.compare import compare
    from SAMLiverTumorLib.evaluation.comparison.contestants import contestant
    from SAMLiverTumorLib.inference import pool as pools
    from SAMLiverTumorLib.models.devices import resolve_device

    device = resolve_device(args.device)
    with download_bar() as downloaded:
        pool = pools.PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded)
        contestants = [contestant(model, pool, window, device, args.quality) for model in args.models]
    with bar("comparing", "slice") as progressed:
        comparison = compare(read_cases(files, names, LITS_VALUES), contestants, args.limit, progressed)
    write_report(args, comparison, outputs)
    return 0


def _chosen(args: argparse.Namespace) -> list[CaseFiles]:
    """The files of the cases to compare on.

    :raises InputError: a named case does not exist, or is held out.
    """
    from SAMLiverTumorLib.datasets.cases import find_cases, read_hold_out, refuse_held_out
    from SAMLiverTumorLib.datasets.series_choice import with_series

    found = find_cases(args.images, args.labels or args.images)
    if args.cases:
        wanted = [name.strip() for name in args.cases.split(",") if name.strip()]
        chosen = []
        for name in wanted:
            same = [f for f in found if f.name == name or (name.isdecimal() and f.name.rpartition("_")[2] == name)]
            if not same:
                raise InputError(f"There is no case '{name}'; there are {listed(f.name for f in found)}.")
            chosen += same
        found = list(dict.fromkeys(chosen))
    if args.hold_out:
        refuse_held_out([f.name for f in found], read_hold_out(args.hold_out))
    return with_series(found, args.series)
