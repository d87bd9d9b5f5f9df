"""`sam-liver-tumor segment --text`: a whole volume searched for what a text names."""

from __future__ import annotations

import argparse

from SAMLiverTumorLib.cli.options.channels import read_channels
from SAMLiverTumorLib.cli.options.uncertainty import given_options
from SAMLiverTumorLib.cli.segment_files import print_note, read_ct, report_head, write_files
from SAMLiverTumorLib.cli.terminal import bar, cancel_by_interrupt, confirm_on_terminal, download_bar
from SAMLiverTumorLib.errors import InputError, PromptError
from SAMLiverTumorLib.image.window import window_for

_INTERRUPTED = 130
_PLACES = ("roi", "include", "exclude", "point", "exclude_point", "box", "start")


def run_automatic(args: argparse.Namespace) -> int:
    """Search the volume, write the outputs and say what was found.

    :return: 0; 130 where Ctrl+C cut it short, with what was found until then in the outputs.
    :raises SAMLiverTumorError: whatever the user can mend; no output is then written.
    """
    from SAMLiverTumorLib.inference.pool import PredictorPool
    from SAMLiverTumorLib.inference.text_search import find
    from SAMLiverTumorLib.io.labels.region import labels_on
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.segments.segments import (
        SegmentWriter,
        addTumorSegment,
        createSegmentation,
        setProvenance,
    )

    _refuse_others(args)
    volume = read_ct(args)
    liver = labels_on(args.liver, volume) if args.liver else None
    window, further = window_for(args.window, volume), read_channels(args, volume, print_note)
    with download_bar() as downloaded, cancel_by_interrupt() as cancel, bar("searching", "slice") as progressed:
        pool = PredictorPool(confirm_on_terminal(args.yes), device=args.device, progress=downloaded, cancel=cancel)
        found = find(
            volume,
            pool,
            args.text,
            args.model,
            window,
            args.channels,
            liver,
            further=further,
            progress=progressed,
            cancel=cancel,
        )
    scene = createScene()
    volumeNode = addVolumeNode(scene, volume)
    segmentationNode = createSegmentation(scene, volumeNode)
    segmentId = addTumorSegment(segmentationNode, args.segment_name)
    if found.mask.count:
        SegmentWriter(scene, segmentationNode, volumeNode).write(segmentId, found.mask)
    elif found.cancelled:
        raise PromptError("Cancelled before anything was found; nothing was written.")
    setProvenance(segmentationNode, segmentId, found.provenance)
    report = {
        **report_head(args, found.mask),
        "mode": "text",
        "lesions": found.lesions,
        "slices": found.slices,
        "cancelled": found.cancelled,
        "provenance": found.provenance,
    }
    write_files(args, report, segmentationNode)
    print(
        f"{args.output}: segment '{args.segment_name}', {found.mask.count:,} voxels, {found.mask.volume_ml:.2f} ml in "
        f"{found.lesions} pieces; {found.slices} slices were searched for '{args.text}'"
        f"{'' if args.liver else ' (without a liver mask, which would keep it from marking other organs)'}"
    )
    return _INTERRUPTED if found.cancelled else 0


def _refuse_others(args: argparse.Namespace) -> None:
    """Refuse options that text has no use for.

    :raises InputError: naming the first.
    """
    given = [name for name in _PLACES if getattr(args, name)] + given_options(args)
    if args.mode == "volume":
        given.append("mode volume")
    if args.plane != "axial":
        given.append("plane")
    if given:
        raise InputError(
            f"--text searches the whole volume on axial slices, without --{given[0].replace('_', '-')}; leave one out."
        )
