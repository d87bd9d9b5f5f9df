"""`sam-liver-tumor report`: the lesions of a segmentation, measured on its CT."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.cli.options.hide_names import without_names
from SAMLiverTumorLib.cli.options.liver import add_liver_label_option, check_liver_label
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.errors import InputError

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.lesion_report.table import LesionReport
    from SAMLiverTumorLib.io.labels.label_file import LabelFile
    from SAMLiverTumorLib.volume import Volume

_DESCRIPTION = """\
Measure every lesion of a segmentation: volume, longest axial diameter and its perpendicular (RECIST 1.1, WHO),
longest 3D diameter, HU, distance to the liver's border and to the nearest lesion, share of the liver.

Writes lesions.csv, lesions.json, lesions.html (one self-contained page with images) and lesions.pdf into a folder.
None of them holds a name or a path, unless --title does. For research; not a medical device.
"""

_MOST_SHOWN = 10


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "report",
        help="measure the lesions of a segmentation",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("segmentation", type=Path, metavar="SEGMENTATION", help="label map or .seg.nrrd with lesions")
    parser.add_argument("ct", type=Path, metavar="CT", help="the CT that it belongs to: a file or a DICOM folder")
    add_series_option(parser)
    which = parser.add_mutually_exclusive_group()
    text = "(default: the only one, or the only one named a tumor)"
    which.add_argument("--segment", metavar="NAME", help=f"the segment with the lesions {text}")
    which.add_argument("--label", metavar="N", help=f"value of the lesions in a label map {text}")
    parser.add_argument(
        "--liver",
        type=Path,
        metavar="FILE",
        help="label map or .seg.nrrd with the liver, for distance to its border and share; may be SEGMENTATION",
    )
    add_liver_label_option(parser)
    parser.add_argument(
        "--min-ml",
        type=float,
        default=0.0,
        metavar="X",
        help="ignore lesions (connected components) below X ml (default: 0)",
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: one without names)")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="images of the N largest lesions (default: 6; at most 6 in the PDF)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace a report in DIR")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, write the files, print the largest lesions, and return 0.

    :raises InputError: a file, segment or label cannot be used.
    :raises OutputError: the folder cannot be written to.
    """
    from SAMLiverTumorLib.cli.terminal import bar
    from SAMLiverTumorLib.evaluation.lesion_report.files import check_folder, write_report
    from SAMLiverTumorLib.evaluation.lesion_report.measure import measure_lesions
    from SAMLiverTumorLib.evaluation.metrics.label_files import chosen_label
    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.io.labels.liver import is_liver, liver_of
    from SAMLiverTumorLib.io.labels.lone_label import is_named_liver
    from SAMLiverTumorLib.io.labels.region import read_named_labels

    if args.pictures is not None and args.pictures < 0:
        raise InputError(f"--pictures {args.pictures}: give 0 or more.")
    check_liver_label(args)
    check_folder(args.output, args.overwrite)
    labels = read_named_labels(args.segmentation)
    read = list(labels.notes)
    wanted = args.segment if args.label is None else args.label
    option = "--segment" if labels.from_slicer else "--label"
    labels, name, notes = chosen_label(labels, wanted, option, "segmentation")
    if wanted is None and (is_liver(labels, name) or (name.isdigit() and is_named_liver(labels.name))):
        raise InputError(
            f"'{labels.name}' holds the liver alone, not lesions; name another file, or say with {option} {name} that "
            "this is meant."
        )
    read += notes
    volume = read_volume(args.ct, args.series, read.append)
    mask, moved = _on_volume(labels, volume, "segmentation")
    liver = None
    stands = {args.segmentation: "the segmentation", args.ct: "the CT"}
    if args.liver is not None:
        given = read_named_labels(args.liver)
        chosen, said = liver_of(given, args.liver_label)
        read += [*given.notes, *said]
        liver, of_liver = _on_volume(chosen, volume, "liver")
        moved += of_liver
        stands.setdefault(args.liver, "the file of the liver")
    read = list(dict.fromkeys(read))
    notes = [*without_names(read, stands), *moved]
    details = labels.details.get(name)
    provenance = details.provenance_entries if details is not None else []
    with bar("measuring", "lesion") as progress:
        report = measure_lesions(mask, volume, liver, args.min_ml, provenance, notes, progress)
    paths = write_report(args.output, report, volume, mask, args.title, args.pictures, args.overwrite)
    _show(report)
    for note in [*read, *moved]:
        print(f"! {note}")
    print(f"Wrote {', '.join(map(str, paths))}")
    return 0


def _on_volume(labels: LabelFile, volume: Volume, what: str) -> tuple[np.ndarray, list[str]]:
    """All labeled voxels of the file's segments on the CT's grid, bool (k, j, i), and notes that name no file.

    :raises InputError: everything labeled lies outside the CT.
    """
    from SAMLiverTumorLib.io.labels.grids import onto_grid

    # notes go into the report, so they must not name the file
    moved, notes = onto_grid(replace(labels, name=what), volume.ijk_to_ras, volume.dimensions)
    mask = np.zeros(volume.array.shape, bool)
    for segment in moved.segments.values():
        mask |= segment
    if not mask.any() and any(segment.any() for segment in labels.segments.values()):
        raise InputError(f"'{labels.name}' labels no voxel of '{volume.name}'; check that it belongs to this CT.")
    return mask, list(notes)


def _show(report: LesionReport) -> None:
    """Print the largest lesions as a table."""
    header = f"{'Lesion':>6} {'ml':>9} {'longest mm':>11} {'perp. mm':>9} {'3D mm':>7} {'mean ' + report.unit:>8}"
    print(header)
    for row in report.rows[:_MOST_SHOWN]:
        print(
            f"{row.number:>6} {row.volume_ml:>9.3f} {row.axial.longest.mm:>11.1f} {row.axial.perpendicular.mm:>9.1f} "
            f"{row.longest_3d.mm:>7.1f} {row.intensity.mean:>8.1f}"
        )
    hidden = report.rows[_MOST_SHOWN:]
    if hidden:
        print(f"and {len(hidden)} smaller ones, {sum(row.volume_ml for row in hidden):.3f} ml together")
    print(f"Lesions: {len(report.rows)}, {report.total_ml:.3f} ml in all.")
