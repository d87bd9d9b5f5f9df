"""`sam-liver-tumor export`: segments of one file to DICOM SEG, .seg.nrrd, NIfTI, STL or OBJ."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.labels.liver import LIVER_OPTION
from SAMLiverTumorLib.listed import listed

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.labels.label_file import LabelFile

_DESCRIPTION = """\
Write segments to files for other programs; the ending chooses the format:
  .dcm              DICOM SEG that refers to the series in --source, with SNOMED CT codes; for masks made by this
                    program also the model and its SHA-256
  .seg.nrrd         segmentation of 3D Slicer
  .nii.gz, .nii     label map; on --source's voxels, with exactly its affine if that is NIfTI
  .stl, .obj        closed surface in mm, in LPS like Slicer's files

SEGMENTATION is a label map (.nii, .nii.gz, .nrrd, .mha), a .seg.nrrd, or a DICOM SEG or a folder with one.

  sam-liver-tumor export tumor.seg.nrrd --source CT_FOLDER --to tumor.dcm tumor.stl
  sam-liver-tumor export label.nii.gz --segment 1=Liver --segment "2=Liver tumor" --source CT_FOLDER --to seg.dcm
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "export",
        help="write segments as DICOM SEG, .seg.nrrd, NIfTI, STL or OBJ",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("segmentation", type=Path, metavar="SEGMENTATION", help="segmentation to export")
    parser.add_argument("--to", type=Path, nargs="+", required=True, metavar="OUT", help="files to write")
    parser.add_argument(
        "--source", type=Path, metavar="CT", help="the volume it was made on: a DICOM folder, or a file"
    )
    add_series_option(parser, "--source holds several")
    parser.add_argument(
        "--segment",
        action="append",
        default=[],
        metavar="NAME[=NEW]",
        help="write only this segment, as NEW if given; repeatable, numbered in this order (default: all)",
    )
    parser.add_argument(
        LIVER_OPTION, metavar="NAME|N", help='write this segment or value as "Liver", as --segment "NAME=Liver"'
    )
    parser.add_argument(
        "--resample",
        action="store_true",
        help="resample segments on another grid to that of --source, by nearest neighbor",
    )
    parser.add_argument(
        "--same-voxels",
        action="store_true",
        help="take the voxels for those of --source one by one, for labels whose header lost its place",
    )
    surface = parser.add_argument_group("surfaces")
    surface.add_argument(
        "--smoothing", type=float, default=0.0, metavar="X", help="0 to 1 (default: 0, none; Slicer displays 0.5)"
    )
    surface.add_argument(
        "--coordinates", choices=("LPS", "RAS"), default="LPS", help="default: LPS, as in Slicer's files"
    )
    dicom = parser.add_argument_group("DICOM SEG")
    dicom.add_argument(
        "--algorithm", default="", metavar="NAME", help="what made segments without provenance (default: drawn by hand)"
    )
    dicom.add_argument(
        "--derive-frame-of-reference",
        action="store_true",
        help="make the FrameOfReferenceUID, and what else identifies the series, from its UID where the "
        "headers lack it, as those of 3D-IRCADb do",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the files and print what they hold; returns 0.

    :raises InputError: a file or segment cannot be used, or is on another grid than the source.
    :raises OutputError: a file cannot be written; those before it have been written.
    """
    from SAMLiverTumorLib.io.labels.reader import read_labels
    from SAMLiverTumorLib.mrml.api.export_labels import (
        ExportSettings,
        check_export,
        ending_of,
        exportLabels,
        labelValues,
    )

    settings = ExportSettings(
        args.source,
        args.series,
        args.resample,
        args.same_voxels,
        args.smoothing,
        args.coordinates,
        args.algorithm,
        args.overwrite,
        args.derive_frame_of_reference,
    )
    _check_paths(args)
    for path in args.to:
        check_export(path, settings)
    liver = [] if args.liver_label is None else [f"{args.liver_label}=Liver"]
    labels = chosen_segments(read_labels(args.segmentation), [*args.segment, *liver])
    for note in labels.notes:
        print(f"note: {note}")
    for path in args.to:
        for note in exportLabels(labels, path, settings):
            print(f"note: {note}")
        values = labelValues(labels) if ending_of(path).startswith(".nii") else {}
        print(f"{path}: {', '.join(_described(labels, name, values.get(name)) for name in labels.entries)}")
    return 0


def chosen_segments(labels: LabelFile, wanted: list[str]) -> LabelFile:
    """The chosen segments, in that order and under their new names; all if none is chosen.

    :raises InputError: there is no such segment, or two get the same name.
    """
    if not wanted:
        return labels
    entries, details = {}, {}
    for text in wanted:
        name, new = text, text
        if name not in labels.entries:
            name, _, new = text.rpartition("=")
        if name not in labels.entries or not new:
            has = listed(labels.entries, quoted=True) or "none"
            raise InputError(f"'{labels.name}' has no segment '{text}'; it has {has}.")
        if new in entries:
            raise InputError(f"Two segments would be named '{new}'; name each once.")
        entries[new] = labels.entries[name]
        if name in labels.details:
            details[new] = labels.details[name]
    return replace(labels, entries=entries, details=details)


def _described(labels: LabelFile, name: str, value: int | None) -> str:
    ml = float(labels.segments[name].sum()) * labels.voxel_volume_ml
    number = "" if value is None else f"{value} "
    return f"{number}'{name}' {ml:.2f} ml"


def _check_paths(args: argparse.Namespace) -> None:
    """Refuse an output that would overwrite an input or another output.

    :raises OutputError: naming the file that is given twice.
    """
    taken = [path.resolve() for path in (args.segmentation, args.source) if path]
    for path in args.to:
        if path.resolve() in taken:
            raise OutputError(f"'{path}' is given twice; each output needs its own file name.")
        taken.append(path.resolve())
