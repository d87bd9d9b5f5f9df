"""What `segment` says of a result: the report as JSON, and lines for the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from SAMLiverTumorLib.io.spacing_check import doubtful_spacing

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.segmentation_request import SegmentationResult, SegmentedSlice


def report_of(args: argparse.Namespace, mode: str, result: SegmentationResult, read: Sequence[str] = ()) -> dict:
    """The report, JSON-ready; that the spacing, and so the volume, cannot be true is the first of its notes.

    :param mode: of the request: "slices", "volume" or "text".
    :param read: what reading the files took.
    """
    mask = result.mask
    # the spacing is said without a name
    notes = [text for text in read if not text.startswith("The spacing of ")]
    files = {"ct": str(args.ct), "output": str(args.output)} if args.paths else {}
    head = {
        **files,
        "segment": args.segment_name,
        "voxels": mask.count,
        "volume_ml": round(mask.volume_ml, 6),
        "notes": [*filter(None, [doubtful_spacing(mask.dimensions, mask.ijk_to_ras)]), *notes, *result.notes],
    }
    slices = [_slice(each) for each in result.slices]
    if mode == "slices":
        return {**head, "slices": slices, "provenance": result.provenance}
    if mode == "text":
        return {
            **head,
            "mode": mode,
            "lesions": result.lesions,
            "slices": result.slices_seen,
            "cancelled": result.cancelled,
            "provenance": result.provenance,
        }
    best = result.next_best_slice
    return {
        **head,
        "mode": mode,
        "cancelled": result.cancelled,
        "slices": slices,
        "stops": [asdict(stop) for stop in result.stops],
        "provenance": result.provenance,
        "passes": list(result.passes),
        "probability": str(args.probability) if args.probability else None,
        "uncertainty": str(args.uncertainty) if args.uncertainty else None,
        "next_best_slice": best.as_dict() if best is not None else None,
    }


def _slice(each: SegmentedSlice) -> dict:
    propagated = {} if each.source is None else {"source": each.source, "confidence": round(each.confidence, 6)}
    return {
        "index": each.index,
        "model": each.model,
        **propagated,
        "pixels": each.pixels,
        "predicted_iou": round(each.predicted_iou, 6),
        "stability": round(each.stability, 6),
    }


def summary_of(args: argparse.Namespace, mode: str, result: SegmentationResult) -> Iterator[str]:
    """The same for the terminal, line by line."""
    mask, models = result.mask, " and ".join(model["id"] for model in result.provenance["models"])
    written = f"{args.output}: segment '{args.segment_name}', {mask.count:,} voxels, {mask.volume_ml:.2f} ml"
    if mode == "slices":
        yield f"{written} on {len(result.slices)} {args.plane} slice{'s' if len(result.slices) > 1 else ''}, {models}"
    elif mode == "text":
        yield (
            f"{written} in {result.lesions} pieces; {result.slices_seen} slices were searched for '{args.text}'"
            f"{'' if args.liver else ' (without a liver mask, which would keep it from marking other organs)'}"
        )
    else:
        reached = sorted(each.index for each in result.slices if each.pixels)
        yield f"{written} on {args.plane} slices {reached[0]} to {reached[-1]}, {models}"
        yield from _uncertainty(result)


def _uncertainty(result: SegmentationResult) -> Iterator[str]:
    for stop in result.stops:
        yield f"{stop.direction}: ended at slice {stop.index}: {stop.reason}"
    if len(result.passes) > 1:
        yield f"fused: {', '.join(each['orientation'] for each in result.passes)}"
    best = result.next_best_slice
    if best is not None:
        r, a, s = best.center_ras
        yield f"next best slice: {best.orientation} {best.index} at R {r:.1f}, A {a:.1f}, S {s:.1f} mm ({best.reason})"
