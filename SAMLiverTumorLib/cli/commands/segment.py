"""`sam-liver-tumor segment`: a CT and prompts in, a segmentation that Slicer opens out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.options.channels import (
    add_channel_options,
    channel_paths,
    check_window_option,
    read_channels,
)
from SAMLiverTumorLib.cli.options.hide_names import add_paths_option
from SAMLiverTumorLib.cli.options.prompts import add_prompt_options, read_prompts
from SAMLiverTumorLib.cli.options.uncertainty import add_fusion_options, given_options
from SAMLiverTumorLib.cli.segment_files import print_note, read_ct, report_head, write_files, writes_dicom
from SAMLiverTumorLib.cli.terminal import confirm_on_terminal
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.image.rgb import CHANNEL_MODES
from SAMLiverTumorLib.image.window import PERCENTILE, PRESETS, window_for
from SAMLiverTumorLib.io.atomic import check_output
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    pass

_DESCRIPTION = """\
Segment one structure in a CT from points and a box. Coordinates are millimeters in RAS, as Slicer shows
them. A box prompts every slice it crosses; with equal first and last coordinate along the slices it names
that one slice. Points apply on their own slices.

With --mode volume the tumor is followed from one slice through the others: from the box's slice (of a box
through several, the middle one; the tumor then ends at its faces), else from the first point's, else from the
slices outlined in --start. Points on other slices correct the result. Ctrl+C keeps what is done. --fuse looks
at the result on other planes as well, which shows better where it may be wrong than it improves it.

With --text alone the whole volume is searched, slice by slice, for what the text names.
"""

MODES = ("slice", "volume")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the command to a program; its `run` is set as the parser's default."""
    parser = subparsers.add_parser(
        "segment",
        help="segment a structure from points and a box",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ct", type=Path, metavar="CT", help="NIfTI, NRRD or MHA file, or a folder with a DICOM series")
    parser.add_argument("--series", metavar="NUMBER|UID", help="DICOM series to read; without it, several are listed")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help=".seg.nrrd, or .dcm for a DICOM SEG where CT is a DICOM series",
    )
    add_prompt_options(parser)
    picture = parser.add_argument_group("what the network sees")
    picture.add_argument("--plane", choices=ORIENTATIONS, default="axial", help="slices to segment on (default: axial)")
    picture.add_argument(
        "--window",
        metavar="NAME|LOW,HIGH",
        default="auto",
        help=f"intensity range to show: {', '.join(PRESETS)}, {PERCENTILE} (for MR), or two values (default: auto, "
        "the model's own)",
    )
    picture.add_argument("--channels", choices=CHANNEL_MODES, default="single", help="how the three colors are filled")
    add_channel_options(picture)
    picture.add_argument("--model", default="auto", metavar="ID|FILE", help="model id or checkpoint (default: auto)")
    picture.add_argument(
        "--quality",
        choices=("full", "best"),
        default="full",
        help="best: the mirror image as well, more accurate, twice the time (not MobileSAM, not --text; default: full)",
    )
    picture.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    follow = parser.add_argument_group("following the tumor through the volume (--mode volume)")
    follow.add_argument("--mode", choices=MODES, default="slice", help="default: slice, the prompted slices alone")
    follow.add_argument(
        "--liver", type=Path, metavar="FILE", help="labels that no tumor leaves, any value; also with --text"
    )
    follow.add_argument("--start", type=Path, metavar="FILE", help="outlined slices to start from, kept as they are")
    follow.add_argument(
        "--direction", choices=("both", "up", "down"), default="both", help="up: superior, anterior, right"
    )
    add_fusion_options(parser)
    parser.add_argument("--segment-name", default="Liver tumor", metavar="NAME", help="name of the segment")
    parser.add_argument("--json", type=Path, metavar="REPORT", help="write scores per slice and provenance to REPORT")
    add_paths_option(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing output files")
    parser.add_argument("--yes", action="store_true", help="download a missing model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Segment, write the output and print one line about it; returns 0.

    :raises SAMLiverTumorError: whatever the user can mend; no output is then written.
    """
    if not args.output.name.lower().endswith((".seg.nrrd", ".dcm")):
        raise OutputError(
            f"'{args.output}' has to end in .seg.nrrd, the format Slicer opens as a segmentation, or in .dcm for DICOM "
            "SEG; `sam-liver-tumor export` makes others of it."
        )
    check_output(args.output, args.overwrite)
    if writes_dicom(args):
        from SAMLiverTumorLib.io.dicom.source import read_source

        read_source(args.ct, args.series)  # refuses what no DICOM SEG could refer to, before any work is done
    if args.json:
        check_output(args.json, args.overwrite)
    _check_paths_differ(args)
    if args.text is not None:
        from SAMLiverTumorLib.cli.commands.segment_by_text import run_automatic

        return run_automatic(args)
    if args.mode == "volume":
        from SAMLiverTumorLib.cli.commands.segment_volume import run_volume

        return run_volume(args)
    volume_alone = [option for option in ("liver", "start") if getattr(args, option)] + given_options(args)
    if volume_alone:
        raise InputError(f"--{volume_alone[0]} is for following a tumor through the volume; add --mode volume.")
    check_window_option(args.window)

    from SAMLiverTumorLib.cli.terminal import bar, download_bar
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.inference.segment_slices import Settings
    from SAMLiverTumorLib.mrml.api.segment import segmentPrompts
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode

    scene = createScene()
    prompts = read_prompts(args, scene)
    volume = read_ct(args)
    window, further = window_for(args.window, volume), read_channels(args, volume, print_note)
    volumeNode = addVolumeNode(scene, volume)
    with download_bar() as downloaded, bar("segmenting", "slice") as progressed:
        segmented = segmentPrompts(
            volumeNode,
            prompts,
            None,
            args.segment_name,
            Settings(args.model, args.plane, window, args.channels, args.quality, further),
            PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded),
            progressed,
        )
    result = segmented.result
    for note in result.notes:
        print_note(note)
    write_files(args, _report(args, result), segmented.segmentationNode)
    print(
        f"{args.output}: segment '{args.segment_name}', {result.mask.count:,} voxels, {result.mask.volume_ml:.2f} ml "
        f"on {len(result.slices)} {args.plane} slice{'s' if len(result.slices) > 1 else ''}, "
        f"{' and '.join(model['id'] for model in result.provenance['models'])}"
    )
    return 0


def _check_paths_differ(args: argparse.Namespace) -> None:
    """Refuse an output that would replace an input, or another output, whatever --overwrite says.

    :raises OutputError: naming the file given twice.
    """
    given = (
        args.ct,
        args.roi,
        args.include,
        args.exclude,
        args.liver,
        args.start,
        Path(args.model),
        *channel_paths(args),
    )
    taken = [path.resolve() for path in given if path]
    for path in filter(None, (args.output, args.json, args.probability, args.uncertainty)):
        if path.resolve() in taken:
            raise OutputError(f"'{path}' is given twice; an output needs a file name of its own.")
        taken.append(path.resolve())


def _report(args: argparse.Namespace, result) -> dict:
    return {
        **report_head(args, result.mask, result.notes),
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
        "provenance": result.provenance,
    }
