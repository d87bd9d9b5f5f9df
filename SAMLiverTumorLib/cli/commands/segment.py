"""`sam-liver-tumor segment`: a CT and prompts in, a segmentation that Slicer opens out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMLiverTumorLib.cli.options.channels import (
    add_channel_options,
    channel_paths,
    check_window_option,
    read_channels,
)
from SAMLiverTumorLib.cli.options.hide_names import add_paths_option
from SAMLiverTumorLib.cli.options.liver import add_liver_label_option, check_liver_label, read_liver
from SAMLiverTumorLib.cli.options.prompts import add_prompt_options, read_prompts
from SAMLiverTumorLib.cli.options.series import add_series_option
from SAMLiverTumorLib.cli.options.uncertainty import (
    add_fusion_options,
    check_fusion_options,
    ensemble_of,
    given_options,
    maps_of,
)
from SAMLiverTumorLib.cli.segment_files import print_note, read_ct, write_files, writes_dicom
from SAMLiverTumorLib.cli.segment_report import report_of, summary_of
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.image.rgb import CHANNEL_MODES
from SAMLiverTumorLib.image.window import PERCENTILE, PRESETS, window_for
from SAMLiverTumorLib.io.atomic import check_output
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.segmentation_request import SegmentationRequest
    from SAMLiverTumorLib.prompts import Prompts
    from SAMLiverTumorLib.volume import Volume

_INTERRUPTED = 130
_PROMPTS = ("roi", "include", "exclude", "point", "exclude_point", "box", "start")
_DOING = {"slices": "segmenting", "volume": "propagating", "text": "searching"}

_DESCRIPTION = """\
Segment one structure in a CT from points and a box. Coordinates are millimeters in RAS, as Slicer shows
them. A box prompts every slice it crosses; with equal first and last coordinate along the slices it names
that one slice. Points apply on their own slices.

With --mode volume the tumor is propagated from one slice through the others: from the box's slice (of a box
through several, the middle one; the tumor then ends at its faces), else from the first point's, else from the
slices outlined in --start. Points on other slices correct the result. Ctrl+C keeps what is done. --fuse looks
at the result on other planes as well: this does more to show where it may be wrong than to improve it.

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
    add_series_option(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help=".seg.nrrd, or .dcm for a DICOM SEG where CT is a DICOM series",
    )
    add_prompt_options(parser)
    seen = parser.add_argument_group("what the network sees")
    seen.add_argument("--plane", choices=ORIENTATIONS, default="axial", help="slices to segment on (default: axial)")
    seen.add_argument(
        "--window",
        metavar="NAME|LOW,HIGH",
        default="auto",
        help=f"intensity range to show: {', '.join(PRESETS)}, {PERCENTILE} (for MR), or two values (default: auto, "
        "the model's own)",
    )
    seen.add_argument("--channels", choices=CHANNEL_MODES, default="single", help="how the three colors are filled")
    add_channel_options(seen)
    seen.add_argument("--model", default="auto", metavar="ID|FILE", help="model id or checkpoint (default: auto)")
    seen.add_argument(
        "--quality",
        choices=("full", "best"),
        default="full",
        help="best: the mirror image as well, more accurate, twice the time (LiteMedSAM, not --text; default: full)",
    )
    seen.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps (default: auto)")
    propagation = parser.add_argument_group("propagating the tumor through the volume (--mode volume)")
    propagation.add_argument("--mode", choices=MODES, default="slice", help="default: slice, the prompted slices alone")
    propagation.add_argument(
        "--liver", type=Path, metavar="FILE", help="labels of the liver, which no tumor leaves; also with --text"
    )
    add_liver_label_option(propagation)
    propagation.add_argument(
        "--start", type=Path, metavar="FILE", help="outlined slices to start from, kept as they are"
    )
    propagation.add_argument(
        "--direction", choices=("both", "up", "down"), default="both", help="up: superior, anterior, right"
    )
    add_fusion_options(parser)
    parser.add_argument("--segment-name", default="Liver tumor", metavar="NAME", help="name of the segment")
    parser.add_argument("--json", type=Path, metavar="REPORT", help="write scores per slice and provenance to REPORT")
    add_paths_option(parser)
    parser.add_argument(
        "--derive-frame-of-reference",
        action="store_true",
        help="for a DICOM SEG: make the FrameOfReferenceUID, and what else identifies the series, from its UID where "
        "the headers lack it, as those of 3D-IRCADb do",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing output files")
    parser.add_argument("--yes", action="store_true", help="download a missing model without asking")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Segment, write the outputs and print what was found.

    :return: 0; 130 where Ctrl+C cut a propagation or search short, with what was done until then in the outputs.
    :raises SAMLiverTumorError: whatever the user can fix; no output is then written.
    """
    _check_outputs(args)
    mode = _mode_of(args)
    check_window_option(args.window)

    from SAMLiverTumorLib.cli.terminal import bar, cancel_by_interrupt, confirm_on_terminal, download_bar
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.inference.segmentation_request import run_request
    from SAMLiverTumorLib.mrml.api.write_result import writeResult
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode

    scene = createScene()
    prompts = read_prompts(args, scene)
    noted: list[str] = []

    def note(text: str) -> None:
        print_note(text)
        noted.append(text)

    volume = read_ct(args, note)
    request = _request(args, mode, prompts, volume, note)
    # of slices alone there is no part to keep: there Ctrl+C ends the program as usual
    interrupted = nullcontext() if mode == "slices" else cancel_by_interrupt()
    with download_bar() as downloaded, interrupted as cancel, bar(_DOING[mode], "slice") as progressed:
        pool = PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded, cancel=cancel)
        result = run_request(volume, request, pool, progressed, cancel)
    volumeNode = addVolumeNode(scene, volume)
    segmentationNode, _ = writeResult(volumeNode, result.mask, result.provenance, segmentName=args.segment_name)
    for text in result.notes:
        print_note(text)
    write_files(args, report_of(args, mode, result, noted), segmentationNode, maps_of(args, result))
    for line in summary_of(args, mode, result):
        print(line)
    return _INTERRUPTED if result.cancelled else 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written, before anything is read.

    :raises SAMLiverTumorError: saying which.
    """
    if not args.output.name.lower().endswith((".seg.nrrd", ".dcm")):
        raise OutputError(
            f"'{args.output}' has to end in .seg.nrrd, the format Slicer opens as a segmentation, or in .dcm for DICOM "
            "SEG; `sam-liver-tumor export` makes others of it."
        )
    check_output(args.output, args.overwrite)
    if writes_dicom(args):
        from SAMLiverTumorLib.io.dicom.source import read_source

        # refuses what no DICOM SEG could refer to, before any work is done
        read_source(args.ct, args.series, args.derive_frame_of_reference)
    if args.json:
        check_output(args.json, args.overwrite)
    check_liver_label(args)
    _check_paths_differ(args)


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


def _mode_of(args: argparse.Namespace) -> str:
    """The request's mode.

    :raises InputError: naming the first option that this mode has no use for, or a plane that --fuse does not know.
    :raises OutputError: a map that cannot be written under its name.
    """
    if args.text is not None:
        useless = [name for name in _PROMPTS if getattr(args, name)] + given_options(args)
        useless += ["mode volume"] * (args.mode == "volume") + ["plane"] * (args.plane != "axial")
        if useless:
            option = useless[0].replace("_", "-")
            raise InputError(f"--text searches the whole volume on axial slices, without --{option}; leave one out.")
        return "text"
    if args.mode == "volume":
        check_fusion_options(args)
        return "volume"
    useless = [name for name in ("liver", "start") if getattr(args, name)] + given_options(args)
    if useless:
        raise InputError(f"--{useless[0]} is for propagating a tumor through the volume; add --mode volume.")
    return "slices"


def _request(
    args: argparse.Namespace, mode: str, prompts: Prompts, volume: Volume, note: Callable[[str], None]
) -> SegmentationRequest:
    """What the options ask for, with the files they name read.

    :param note: told what there is to know about these files.
    :raises SAMLiverTumorError: a file or a window that cannot be used.
    """
    from SAMLiverTumorLib.inference.segment_slices import Settings
    from SAMLiverTumorLib.inference.segmentation_request import SegmentationRequest
    from SAMLiverTumorLib.io.labels.region import labels_on
    from SAMLiverTumorLib.mask import Mask

    window, further = window_for(args.window, volume), read_channels(args, volume, note)
    asked: dict[str, Any] = {}
    if mode == "text":
        asked = {"concept": args.text}
    elif mode == "volume":
        start = Mask.from_array(labels_on(args.start, volume, note), volume) if args.start else None
        asked = {"start": start, "direction": args.direction, "ensemble": ensemble_of(args)}
    return SegmentationRequest(
        mode,
        prompts,
        liver=read_liver(args, volume, note),
        settings=Settings(args.model, args.plane, window, args.channels, args.quality, further),
        **asked,
    )
