"""`sam-liver-tumor segment`: a CT and prompts in, a segmentation that Slicer opens out."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.cli.confirm import confirm_on_terminal
from SAMLiverTumorLib.errors import InputError, OutputError, PromptError
from SAMLiverTumorLib.image.window import CHANNEL_MODES, PRESETS, parse_window
from SAMLiverTumorLib.io.atomic import atomic_path, check_output
from SAMLiverTumorLib.plane import ORIENTATIONS
from SAMLiverTumorLib.prompts import Box, Prompts

_DESCRIPTION = """\
Segment one structure in a CT from points and a box. Coordinates are millimeters in RAS, as Slicer shows
them. A box prompts every slice it crosses; with equal first and last coordinate along the slices it names
that one slice. Points apply on their own slices.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "segment",
        help="segment a structure from points and a box",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ct", type=Path, metavar="CT", help="NIfTI, NRRD or MHA file, or a folder with a DICOM series")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.seg.nrrd", help="file to write")
    prompts = parser.add_argument_group("prompts")
    prompts.add_argument("--roi", type=Path, metavar="FILE.mrk.json", help="box: a markups ROI saved by Slicer")
    prompts.add_argument("--include", type=Path, metavar="FILE.mrk.json", help="include points saved by Slicer")
    prompts.add_argument("--exclude", type=Path, metavar="FILE.mrk.json", help="exclude points saved by Slicer")
    prompts.add_argument("--point", action="append", default=[], metavar="R,A,S", help="include point; repeatable")
    prompts.add_argument("--exclude-point", action="append", default=[], metavar="R,A,S", help="exclude point")
    prompts.add_argument("--box", metavar="R1,A1,S1,R2,A2,S2", help="box between two opposite corners")
    picture = parser.add_argument_group("what the network sees")
    picture.add_argument("--plane", choices=ORIENTATIONS, default="axial", help="slices to segment on (default: axial)")
    picture.add_argument(
        "--window",
        metavar="NAME|LOW,HIGH",
        default="auto",
        help=f"intensity range to show: {', '.join(PRESETS)}, or two values (default: auto, the model's own)",
    )
    picture.add_argument("--channels", choices=CHANNEL_MODES, default="single", help="how the three colors are filled")
    picture.add_argument("--model", default="auto", metavar="ID|FILE", help="model id or checkpoint (default: auto)")
    picture.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--segment-name", default="Liver tumor", metavar="NAME", help="name of the segment")
    parser.add_argument("--json", type=Path, metavar="REPORT", help="write scores per slice and provenance to REPORT")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output files")
    parser.add_argument("--yes", action="store_true", help="download a missing model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Segment, write the output and print one line about it; returns 0.

    :raises SAMLiverTumorError: whatever the user can mend; no output is then written.
    """
    if not args.output.name.lower().endswith(".seg.nrrd"):
        raise OutputError(f"'{args.output}' has to end in .seg.nrrd, the format Slicer opens as a segmentation.")
    check_output(args.output, args.overwrite)
    if args.json:
        check_output(args.json, args.overwrite)
    _check_paths_differ(args)
    window = None if args.window == "auto" else parse_window(args.window)

    from SAMLiverTumorLib.cli.progress import bar, download_bar
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.inference.segment import Settings
    from SAMLiverTumorLib.io.images import read_volume
    from SAMLiverTumorLib.mrml.api import segmentPrompts
    from SAMLiverTumorLib.mrml.bootstrap import createScene
    from SAMLiverTumorLib.mrml.nodes import addVolumeNode
    from SAMLiverTumorLib.mrml.scene_io import saveSegmentation

    scene = createScene()
    prompts = _prompts(args, scene)
    volumeNode = addVolumeNode(scene, read_volume(args.ct))
    with download_bar() as downloaded, bar("segmenting", "slice") as progressed:
        segmented = segmentPrompts(
            volumeNode,
            prompts,
            None,
            args.segment_name,
            Settings(args.model, args.plane, window, args.channels),
            PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded),
            progressed,
        )
    result = segmented.result
    for note in result.notes:
        print(f"note: {note}")
    # the report is written first and put in place last: both files appear, or neither
    with atomic_path(args.json, args.overwrite) if args.json else nullcontext() as temporary:
        if temporary:
            temporary.write_text(json.dumps(_report(args, result), indent=2) + "\n", encoding="utf-8")
        saveSegmentation(segmented.segmentationNode, args.output, args.overwrite)
    print(
        f"{args.output}: segment '{args.segment_name}', {result.mask.count:,} voxels, {result.mask.volume_ml:.2f} ml "
        f"on {len(result.slices)} {args.plane} slice{'s' if len(result.slices) > 1 else ''}, "
        f"{' and '.join(model['id'] for model in result.provenance['models'])}"
    )
    return 0


def _check_paths_differ(args: argparse.Namespace) -> None:
    """Refuse an output that would replace an input, or the other output, whatever --overwrite says.

    :raises OutputError: naming the file given twice.
    """
    taken = [path.resolve() for path in (args.ct, args.roi, args.include, args.exclude, Path(args.model)) if path]
    for path in filter(None, (args.output, args.json)):
        if path.resolve() in taken:
            raise OutputError(f"'{path}' is given twice; an output needs a file name of its own.")
        taken.append(path.resolve())


def _report(args: argparse.Namespace, result) -> dict:
    return {
        "ct": str(args.ct),
        "output": str(args.output),
        "segment": args.segment_name,
        "voxels": result.mask.count,
        "volume_ml": round(result.mask.volume_ml, 6),
        "slices": [
            {
                "index": s.index,
                "model": s.model,
                "pixels": s.pixels,
                "predicted_iou": round(s.predicted_iou, 6),
                "stability": round(s.stability, 6),
            }
            for s in result.slices
        ],
        "notes": list(result.notes),
        "provenance": result.provenance,
    }


def _prompts(args: argparse.Namespace, scene) -> Prompts:
    """Prompts from files and coordinates together.

    :raises PromptError: coordinates that are not numbers, or a box given twice.
    :raises InputError: a markups file that is none, or holds another kind than asked for.
    """
    from SAMLiverTumorLib.mrml.nodes import boxFromNode, definedPointsRas
    from SAMLiverTumorLib.mrml.scene_io import loadMarkups

    points = {}
    for option, file, given in (("include", args.include, args.point), ("exclude", args.exclude, args.exclude_point)):
        parts = [_numbers(text, 3, "R,A,S") for text in given]
        if file:
            node = loadMarkups(scene, file)
            if not node.IsA("vtkMRMLMarkupsFiducialNode"):
                raise InputError(f"'{file}' holds no point list; give an ROI as --roi.")
            parts.extend(definedPointsRas(node))
        points[option] = np.array(parts).reshape(-1, 3)
    boxes = []
    if args.roi:
        node = loadMarkups(scene, args.roi)
        box = boxFromNode(node) if node.IsA("vtkMRMLMarkupsROINode") else None
        if box is None:
            raise InputError(f"'{args.roi}' holds no drawn ROI box; save one from Slicer's Markups module.")
        boxes.append(box)
    if args.box:
        corners = _numbers(args.box, 6, "R1,A1,S1,R2,A2,S2")
        boxes.append(Box.from_corners(corners[:3], corners[3:]))
    if len(boxes) > 1:
        raise PromptError("Give the box either as --roi or as --box, not both.")
    return Prompts(points["include"], points["exclude"], boxes[0] if boxes else None)


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise PromptError(f"'{text}' is not of the form {form} in millimeters.")
    return numbers
