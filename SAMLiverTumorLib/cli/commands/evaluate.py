"""`sam-liver-tumor evaluate`: a segmentation compared with a reference, both read from files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.options.hide_names import add_paths_option, without_names
from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.labels.liver import LIVER_OPTION

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.labels.label_file import LabelFile

_DESCRIPTION = """\
Compare a segmentation with a reference: Dice, IoU, accuracy, sensitivity, specificity, precision, volumes and surface
distances in mm (HD95, ASSD, surface Dice at 2 mm), overall and per lesion; lesions found, missed and false positive;
lesions by size.

Both are label maps (.nii, .nii.gz, .nrrd, .mha), segmentations saved by Slicer (.seg.nrrd), DICOM SEG files, or folders
with one. Figures are computed on the reference's voxel grid. The rules for matching lesions, for averages and for empty
masks are printed below the table.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare a segmentation with a reference",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prediction", type=Path, metavar="PREDICTION", help="segmentation to evaluate")
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="segmentation to compare with")
    parser.add_argument(
        "--series",
        metavar="NUMBER|UID",
        help="which DICOM SEG of a folder with several; applies to both folders, if both are",
    )
    parser.add_argument("--segment", metavar="NAME", help="evaluate only this segment of the prediction (default: all)")
    parser.add_argument(
        "--label",
        metavar="N",
        help="value in the reference label map, or name of a segment (default: the only one, or the only one that its "
        "name or dataset.json says is a tumor)",
    )
    parser.add_argument(
        LIVER_OPTION,
        metavar="NAME|N",
        help="compare the livers, tumors included: segment or value of the reference; the prediction's is the one of "
        "that name or value, or the one named liver",
    )
    parser.add_argument(
        "--min-ml",
        type=float,
        default=0.0,
        metavar="X",
        help="ignore lesions (connected components) of the reference below X ml (default: 0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, including every lesion, to FILE")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    add_paths_option(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the table, write the JSON report if wanted, and return 0.

    :raises InputError: a file, segment or label cannot be used.
    :raises OutputError: the JSON report cannot be written.
    """
    from tqdm import tqdm

    from SAMLiverTumorLib.evaluation.metrics.label_files import compare_labels
    from SAMLiverTumorLib.io.atomic import atomic_path, check_output
    from SAMLiverTumorLib.io.json_text import json_text
    from SAMLiverTumorLib.io.labels.region import read_named_labels

    if args.series is not None and not (args.prediction.is_dir() or args.reference.is_dir()):
        raise InputError(
            "--series chooses a DICOM SEG from a folder, but prediction and reference are files; leave it out."
        )
    if args.liver_label is not None and (args.segment is not None or args.label is not None):
        raise InputError(f"{LIVER_OPTION} chooses from both files; leave --segment and --label out.")
    if args.json:
        check_output(args.json, args.overwrite)
    with tqdm(desc="Comparing", unit="part", delay=1.0, leave=False, disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        prediction, reference = (read_named_labels(path, args.series) for path in (args.prediction, args.reference))
        if args.liver_label is not None:
            prediction, reference = _livers(prediction, reference, args.liver_label)
        compared = compare_labels(prediction, reference, args.segment, args.label, args.min_ml, progress)
    size = " x ".join(map(str, compared.dimensions))
    print(f"Prediction: {args.prediction}\nReference:  {args.reference}, label {compared.label}")
    print(f"Grid:       {size} voxels of {compared.voxel_volume_ml:.6g} ml\n")
    print(compared.evaluation.as_table())
    for note in compared.notes:
        print(f"! {note}")
    if args.json:
        descriptions = {args.prediction: "the prediction", args.reference: "the reference"}
        report = {
            "prediction": {**_file(args, args.prediction), "segments": list(compared.segments)},
            "reference": {**_file(args, args.reference), "label": compared.label},
            "dimensions": list(compared.dimensions),
            "voxel_volume_ml": compared.voxel_volume_ml,
            "notes": list(compared.notes) if args.paths else without_names(compared.notes, descriptions),
            **compared.evaluation.as_dict(),
        }
        with atomic_path(args.json, args.overwrite) as temporary:
            temporary.write_text(json_text(report, 2), "utf-8")
        print(f"\nWrote {args.json}")
    return 0


def _livers(prediction: LabelFile, reference: LabelFile, wanted: str) -> tuple[LabelFile, LabelFile]:
    """Both with the liver as their only segment.

    :raises InputError: the reference has no such segment, or it cannot be told which is the liver.
    """
    from SAMLiverTumorLib.io.labels.liver import liver_alone

    truth = liver_alone(reference, wanted)
    try:
        return liver_alone(prediction, wanted), truth
    except InputError:
        return liver_alone(prediction), truth


def _file(args: argparse.Namespace, path: Path) -> dict[str, str]:
    """The entry that names the file, if --paths is given."""
    return {"file": printable(str(path))} if args.paths else {}
