"""`sam-liver-tumor evaluate`: a segmentation compared with a reference, both read from files."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.labels import LabelFile

_DESCRIPTION = """\
Compare a segmentation with a reference: Dice, IoU, accuracy, sensitivity, specificity, precision, volumes
and surface distances in mm (HD95, ASSD, surface Dice at 2 mm), overall and per lesion; lesions found, missed
and predicted in excess; the lesions by size.

Both are label maps (.nii, .nii.gz, .nrrd, .mha) or segmentations saved by Slicer (.seg.nrrd). The figures
are computed on the reference's voxel grid. How lesions are matched and averaged and what empty masks
count is printed beneath the table.
"""

_NOTHING = "(nothing)"
_MOST_LISTED = 20


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare a segmentation with a reference",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prediction", type=Path, metavar="PREDICTION", help="segmentation to judge")
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="segmentation taken as the truth")
    parser.add_argument("--segment", metavar="NAME", help="judge only this segment of the prediction (default: all)")
    parser.add_argument(
        "--label",
        metavar="N",
        help="value in the reference label map, or name of a segment in a .seg.nrrd (default: the only one)",
    )
    parser.add_argument(
        "--min-ml",
        type=float,
        default=0.0,
        metavar="X",
        help="leave connected components of the reference below X ml out of the lesions (default: 0, keep all)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, all lesions included, to FILE")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the table, write the JSON report if asked for, and return 0.

    :raises InputError: a file, segment or label cannot be used.
    :raises OutputError: the JSON report cannot be written.
    """
    from tqdm import tqdm

    from SAMLiverTumorLib.evaluation.report import evaluate
    from SAMLiverTumorLib.io.atomic import atomic_path, check_output
    from SAMLiverTumorLib.io.grids import common_grid, onto_grid
    from SAMLiverTumorLib.io.labels import read_labels

    if args.json:
        check_output(args.json, args.overwrite)
    prediction, prediction_notes = _chosen_segments(read_labels(args.prediction), args.segment)
    reference, label, reference_notes = chosen_label(read_labels(args.reference), args.label)
    affine, dimensions, grid_notes = common_grid(prediction, reference)
    prediction, moved = onto_grid(prediction, affine, dimensions)
    reference, _ = onto_grid(reference, affine, dimensions)
    notes = [*prediction.notes, *reference.notes, *prediction_notes, *reference_notes, *grid_notes, *moved]
    nothing = np.zeros(dimensions[::-1], bool)
    segments = prediction.segments or {_NOTHING: nothing}
    mask = reference.segments[label] if reference.entries else nothing
    with tqdm(desc="Comparing", unit="part", delay=1.0, leave=False, disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
        evaluation = evaluate(segments, mask, reference.voxel_volume_ml, args.min_ml, progress, spacing)
    size = " x ".join(map(str, dimensions))
    print(f"Prediction: {args.prediction}\nReference:  {args.reference}, label {label}")
    print(f"Grid:       {size} voxels of {reference.voxel_volume_ml:.6g} ml\n")
    print(evaluation.as_table())
    for note in notes:
        print(f"! {note}")
    if args.json:
        report = {
            "prediction": {"file": str(args.prediction), "segments": list(segments)},
            "reference": {"file": str(args.reference), "label": label},
            "dimensions": list(dimensions),
            "voxel_volume_ml": reference.voxel_volume_ml,
            "notes": notes,
            **evaluation.as_dict(),
        }
        with atomic_path(args.json, args.overwrite) as temporary:
            temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        print(f"\nWrote {args.json}")
    return 0


def _chosen_segments(prediction: LabelFile, wanted: str | None) -> tuple[LabelFile, list[str]]:
    """The prediction with only the segment wanted, or with all; and notes."""
    if wanted is None:
        empty = [f"'{prediction.name}' holds no labeled voxel: an empty prediction."] * (not prediction.entries)
        return prediction, empty
    if wanted not in prediction.entries:
        raise InputError(f"'{prediction.name}' has no segment '{wanted}'; it has {_listed(prediction)}.")
    return replace(prediction, entries={wanted: prediction.entries[wanted]}), []


def chosen_label(
    reference: LabelFile, wanted: str | None, option: str = "--label", what: str = "reference"
) -> tuple[LabelFile, str, list[str]]:
    """A label file with only the label wanted (or none, if it holds no such voxel), its name, and notes.

    :param wanted: a segment's name, a label's value, or None for the only one.
    :param option: what messages tell to choose it with.
    :param what: what notes call the file.
    :raises InputError: there is no such segment, or several to choose from.
    """
    if wanted is None:
        if len(reference.entries) > 1:
            lits = " (in LiTS data 1 is the liver, 2 the tumor)" if set(reference.entries) == {"1", "2"} else ""
            raise InputError(f"'{reference.name}' holds {_listed(reference)}{lits}; choose one with {option}.")
        name = next(iter(reference.entries), None)
    elif wanted in reference.entries:
        name = wanted
    else:
        number = int(wanted) if re.fullmatch(r"[+-]?[0-9]{1,10}", wanted) else 0
        names = [name for name, value in reference.label_values.items() if value == number]
        if len(names) > 1:
            listed = ", ".join(map(repr, names))
            raise InputError(f"In '{reference.name}' segments {listed} have the value {number}; name one of them.")
        if not names and (not number or reference.from_slicer):
            raise InputError(f"'{reference.name}' has no label '{wanted}'; it has {_listed(reference)}.")
        name = names[0] if names else None
    if name is not None:
        return replace(reference, entries={name: reference.entries[name]}), name, []
    # Patients without a tumor are cases like others, and their label map has no tumor voxel.
    wanted = wanted or _NOTHING
    note = f"'{reference.name}' has no voxel of label {wanted}; it has {_listed(reference)}: an empty {what}."
    return replace(reference, entries={}), wanted, [note]


def _listed(labels: LabelFile) -> str:
    """The names of a file's segments for a message."""
    names = [name if name.lstrip("-").isdigit() else f"'{name}'" for name in labels.entries]
    more = [f"{len(names) - _MOST_LISTED} more"] if len(names) > _MOST_LISTED else []
    return ", ".join(names[:_MOST_LISTED] + more) or "no label at all"
