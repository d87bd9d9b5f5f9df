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

    # the report is completed last and put in place last
    with ExitStack() as outputs:
        of_report = outputs.enter_context(atomic_path(args.json, args.overwrite)) if args.json else None
        for path, values in maps.items():
            from SAMLiverTumorLib.io.maps import write_map

            write_map(values, outputs.enter_context(atomic_path(path, args.overwrite)))
        segmentation = outputs.enter_context(atomic_path(args.output, args.overwrite))
        notes = list(report["notes"])
        if writes_dicom(args):
            for note in _save_dicom(args, segmentationNode, segmentation):
                print_note(note)
                notes += [note] * (note not in notes)
        else:
            saveSegmentation(segmentationNode, segmentation, overwrite=True)
        if of_report is not None:
            notes = notes if args.paths else without_names(notes, _stands_for(args))
            of_report.write_text(json_text({**report, "notes": notes}, 2), encoding="utf-8")


def _save_dicom(args: argparse.Namespace, segmentationNode, path: Path) -> tuple[str, ...]:
    """Write a DICOM SEG; returns notes on identifiers that were made, and on which slices it lies.

    :raises SAMLiverTumorError: see `saveDicomSeg`.
    """
    from SAMLiverTumorLib.mrml.api.dicom_seg import saveDicomSeg

    role = segmentationNode.GetReferenceImageGeometryReferenceRole()
    volumeNode = segmentationNode.GetNodeReference(role)
    derive = args.derive_frame_of_reference
    return saveDicomSeg(
        segmentationNode, volumeNode, path, args.ct, args.series, overwrite=True, deriveFrameOfReference=derive
    )


def writes_dicom(args: argparse.Namespace) -> bool:
    """Whether a DICOM SEG is to be written."""
    return args.output.name.lower().endswith(".dcm")
