"""`sam-liver-tumor export`: segments of one file to DICOM SEG, .seg.nrrd, NIfTI, STL or OBJ."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError, OutputError

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.labels.label_file import LabelFile

_DESCRIPTION = """\
Write segments to files that other programs read; the ending says the format:
  .dcm              DICOM SEG that refers to the series in --source, with SNOMED CT codes and, of masks that this
                    program made, model and its SHA-256
  .seg.nrrd         segmentation of 3D Slicer
  .nii.gz, .nii     label map; on --source's voxels, with its affine to the last bit where it is NIfTI
  .stl, .obj        closed surface in mm, in LPS as Slicer has it

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
    parser.add_argument("segmentation", type=Path, metavar="SEGMENTATION", help="what to write elsewhere")
    parser.add_argument("--to", type=Path, nargs="+", required=True, metavar="OUT", help="files to write")
    parser.add_argument(
        "--source", type=Path, metavar="CT", help="the volume that it was made on: a DICOM folder, or a file"
    )
    parser.add_argument("--series", metavar="NUMBER|UID", help="which series in a DICOM folder of several")
    parser.add_argument(
        "--segment",
        action="append",
        default=[],
        metavar="NAME[=NEW]",
        help="write this segment alone, under another name if given; repeat for more, numbered in this order "
        "(default: all)",
    )
    parser.add_argument(
        "--resample",
        action="store_true",
        help="bring segments on other voxels onto those of --source, nearest neighbor",
    )
    surface = parser.add_argument_group("surfaces")
    surface.add_argument(
        "--smoothing", type=float, default=0.0, metavar="X", help="0 to 1 (default: 0, none; Slicer shows 0.5)"
    )
    surface.add_argument("--coordinates", choices=("LPS", "RAS"), default="LPS", help="default: LPS, as Slicer's files")
    dicom = parser.add_argument_group("DICOM SEG")
    dicom.add_argument(
        "--algorithm", default="", metavar="NAME", help="what made segments of unknown origin (default: by hand)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the files and say what is in them; returns 0.

    :raises InputError: a file or segment cannot be used, or lies on other voxels than the source.
    :raises OutputError: a file cannot be written; those before it are then written whole.
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
        args.source, args.series, args.resample, args.smoothing, args.coordinates, args.algorithm, args.overwrite
    )
    _check_paths(args)
    for path in args.to:
        check_export(path, settings)
    labels = chosen_segments(read_labels(args.segmentation), args.segment)
    for note in labels.notes:
        print(f"note: {note}")
    for path in args.to:
        for note in exportLabels(labels, path, settings):
            print(f"note: {note}")
        values = labelValues(labels) if ending_of(path).startswith(".nii") else {}
        print(f"{path}: {', '.join(_told(labels, name, values.get(name)) for name in labels.entries)}")
    return 0


def chosen_segments(labels: LabelFile, wanted: list[str]) -> LabelFile:
    """The segments named, in that order and under their new names; all where none is.

    :raises InputError: there is no such segment, or one is named twice.
    """
    if not wanted:
        return labels
    entries, details = {}, {}
    for text in wanted:
        name, new = text, text
        if name not in labels.entries:
            name, _, new = text.rpartition("=")
        if name not in labels.entries or not new:
            has = ", ".join(f"'{name}'" for name in labels.entries) or "none"
            raise InputError(f"'{labels.name}' has no segment '{text}'; it has {has}.")
        if new in entries:
            raise InputError(f"Two segments would be named '{new}'; name each once.")
        entries[new] = labels.entries[name]
        if name in labels.details:
            details[new] = labels.details[name]
    return replace(labels, entries=entries, details=details)


def _told(labels: LabelFile, name: str, value: int | None) -> str:
    ml = float(labels.segments[name].sum()) * labels.voxel_volume_ml
    number = "" if value is None else f"{value} "
    return f"{number}'{name}' {ml:.2f} ml"


def _check_paths(args: argparse.Namespace) -> None:
    """Refuse an output that would replace an input, or another output.

    :raises OutputError: naming the file given twice.
    """
    taken = [path.resolve() for path in (args.segmentation, args.source) if path]
    for path in args.to:
        if path.resolve() in taken:
            raise OutputError(f"'{path}' is given twice; an output needs a file name of its own.")
        taken.append(path.resolve())
