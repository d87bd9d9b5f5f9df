"""Files of `segment`: the CT in; segmentation, maps and report out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from SAMLiverTumorLib.cli.options.hide_names import without_names
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import json_text

if TYPE_CHECKING:
    from SAMLiverTumorLib.volume import Volume
    from SAMLiverTumorLib.voxel_map import VoxelMap


def read_ct(args: argparse.Namespace, note: Callable[[str], None]) -> Volume:
    """The CT.

    :param note: told what there is to know about it.
    :raises InputError: see `read_volume`.
    """
    from SAMLiverTumorLib.io.images import read_volume

    return read_volume(args.ct, args.series, note)


def _stands_for(args: argparse.Namespace) -> dict[str | Path, str]:
    """What a report calls the files that were read."""
    files = {args.ct: "the volume", args.liver: "the file of the liver", args.start: "the file to start from"}
    return {path: text for path, text in files.items() if path is not None}


def print_note(note: str) -> None:
    """A line that the user should read, on standard output."""
    print(f"note: {note}")


def write_files(
    args: argparse.Namespace, report: dict, segmentationNode, maps: Mapping[Path, VoxelMap] = MappingProxyType({})
) -> None:
    """Write the segmentation and, where asked for, maps and report: all files appear, or none.

    :raises OutputError: folder or disk refuses.
    """
    from SAMLiverTumorLib.mrml.scene_files import saveSegmentation

    if not args.paths:
        report = {**report, "notes": without_names(report["notes"], _stands_for(args))}
    # the report is written first and put in place last
    with ExitStack() as outputs:
        if args.json:
            temporary = outputs.enter_context(atomic_path(args.json, args.overwrite))
            temporary.write_text(json_text(report, 2), encoding="utf-8")
        for path, values in maps.items():
            from SAMLiverTumorLib.io.maps import write_map

            write_map(values, outputs.enter_context(atomic_path(path, args.overwrite)))
        if writes_dicom(args):
            from SAMLiverTumorLib.mrml.api.dicom_seg import saveDicomSeg

            role = segmentationNode.GetReferenceImageGeometryReferenceRole()
            volumeNode = segmentationNode.GetNodeReference(role)
            notes = saveDicomSeg(
                segmentationNode,
                volumeNode,
                args.output,
                args.ct,
                args.series,
                overwrite=args.overwrite,
                deriveFrameOfReference=args.derive_frame_of_reference,
            )
            for note in notes:
                print_note(note)
        else:
            saveSegmentation(segmentationNode, args.output, args.overwrite)


def writes_dicom(args: argparse.Namespace) -> bool:
    """Whether a DICOM SEG is to be written."""
    return args.output.name.lower().endswith(".dcm")
