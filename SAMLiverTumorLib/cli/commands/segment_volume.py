"""`sam-liver-tumor segment --mode volume`: one tumor followed through its slices."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from SAMLiverTumorLib.cli.options.channels import check_window_option, read_channels
from SAMLiverTumorLib.cli.options.prompts import read_prompts
from SAMLiverTumorLib.cli.options.uncertainty import check_fusion_options, ensemble_of, fusion_report, maps_of, told
from SAMLiverTumorLib.cli.segment_files import print_note, read_ct, report_head, write_files
from SAMLiverTumorLib.cli.terminal import bar, cancel_by_interrupt, confirm_on_terminal, download_bar
from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.image.window import window_for

_INTERRUPTED = 130


def run_volume(args: argparse.Namespace) -> int:
    """Follow the tumor, write the outputs and say how far it was followed and why it ended there.

    :return: 0; 130 where Ctrl+C cut it short, with what was done until then in the outputs.
    :raises SAMLiverTumorError: whatever the user can mend; no output is then written.
    """
    from SAMLiverTumorLib.inference import pool as pools
    from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
    from SAMLiverTumorLib.inference.propagation.segment_volume import limits_of, segment_volume
    from SAMLiverTumorLib.inference.segment_slices import Settings
    from SAMLiverTumorLib.inference.uncertainty.fusion import fuse
    from SAMLiverTumorLib.inference.uncertainty.next_best_slice import next_best_slice
    from SAMLiverTumorLib.io.labels.region import labels_on
    from SAMLiverTumorLib.mask import Mask
    from SAMLiverTumorLib.mrml.application.headless_scene import createScene
    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
    from SAMLiverTumorLib.mrml.segments.segments import (
        SegmentWriter,
        addTumorSegment,
        createSegmentation,
        setProvenance,
    )

    check_fusion_options(args)
    check_window_option(args.window)
    scene = createScene()
    prompts = read_prompts(args, scene)
    volume = read_ct(args)
    window, further = window_for(args.window, volume), read_channels(args, volume, print_note)
    liver = labels_on(args.liver, volume) if args.liver else None
    start = Mask.from_array(labels_on(args.start, volume), volume) if args.start else None
    stack = PlaneStack(volume, args.plane)
    settings = Settings(args.model, args.plane, window, args.channels, args.quality, further)
    with download_bar() as downloaded, cancel_by_interrupt() as cancel:
        pool = pools.PredictorPool(
            confirm_on_terminal(args.yes), device=args.device, progress=downloaded, cancel=cancel
        )
        with bar("following", "slice") as progressed:
            result = segment_volume(
                stack,
                prompts,
                pool,
                settings,
                direction=args.direction,
                liver=liver,
                start=start,
                progress=progressed,
                cancel=cancel,
            )
        if not result.reached:
            raise PromptError("No voxel was marked; move the prompts or try another window. Nothing was written.")
        with bar("looking again", "slice") as progressed:
            fusion = fuse(
                result,
                pool,
                settings,
                ensemble_of(args),
                limits=limits_of(stack, prompts, liver),
                progress=progressed,
                cancel=cancel,
            )
    mask, best = fusion.mask(), next_best_slice(fusion)
    volumeNode = addVolumeNode(scene, volume)
    segmentationNode = createSegmentation(scene, volumeNode)
    segmentId = addTumorSegment(segmentationNode, args.segment_name)
    SegmentWriter(scene, segmentationNode, volumeNode).write(segmentId, mask)
    setProvenance(segmentationNode, segmentId, fusion.provenance)
    for note in fusion.notes:
        print(f"note: {note}")
    report = _report(args, fusion, mask) | fusion_report(args, fusion, best)
    write_files(args, report, segmentationNode, maps_of(args, fusion))
    reached = result.reached
    print(
        f"{args.output}: segment '{args.segment_name}', {mask.count:,} voxels, {mask.volume_ml:.2f} ml on {args.plane} "
        f"slices {reached[0]} to {reached[-1]}, {' and '.join(m['id'] for m in result.provenance['models'])}"
    )
    for stop in result.stops:
        print(f"{stop.direction}: ended at slice {stop.index}: {stop.reason}")
    for line in told(fusion, best):
        print(line)
    return _INTERRUPTED if fusion.cancelled else 0


def _report(args: argparse.Namespace, fusion, mask) -> dict:
    result = fusion.first
    return {
        **report_head(args, mask, fusion.notes),
        "mode": "volume",
        "cancelled": fusion.cancelled,
        "slices": [
            {
                "index": s.index,
                "model": s.result.model,
                "source": s.source,
                "confidence": round(s.confidence, 6),
                "pixels": s.result.pixels,
                "predicted_iou": round(s.result.predicted_iou, 6),
                "stability": round(s.result.stability, 6),
            }
            for s in result.slices.values()
        ],
        "stops": [asdict(stop) for stop in result.stops],
        "provenance": fusion.provenance,
    }
