"""The segments that a .seg.nrrd of Slicer names, or of whatever program writes the same fields."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError, printable
from SAMLiverTumorLib.io.labels.label_file import free_name
from SAMLiverTumorLib.io.labels.label_values import label_values
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails, details_of_fields
from SAMLiverTumorLib.listed import listed

_FIELD = re.compile(r"Segment(\d+)_(ID|Name|LabelValue|Layer)")


@dataclass(frozen=True)
class Segments:
    """What the header says.

    :param entries: segment name -> (layer, value).
    :param details: segment name -> color, meaning and origin.
    :param notes: what in it is odd, for the reader.
    """

    entries: dict[str, tuple[int, int]]
    details: dict[str, SegmentDetails]
    notes: tuple[str, ...]


def has_segments(texts: Mapping[str, str]) -> bool:
    """Whether an image's header has fields of Slicer's segmentations, under whatever ending."""
    return any(key.startswith("Segmentation_") or _FIELD.fullmatch(key) for key in texts)


def slicer_segments(texts: Mapping[str, str], layers: tuple[np.ndarray, ...], path: Path) -> Segments:
    """Segments of a header. Files of Slicer 4.10 and before have neither layer nor value: one layer each.

    :param texts: the header's fields.
    :param layers: the voxels, for what no segment names.
    :raises InputError: a layer that is not there, or a number that is none.
    """
    entries: dict[str, tuple[int, int]] = {}
    details: dict[str, SegmentDetails] = {}
    for number in sorted({int(match[1]) for key in texts if (match := _FIELD.fullmatch(key))}):

        def field(name: str, default: str, prefix: str = f"Segment{number}_") -> str:
            return texts.get(prefix + name, default).strip()

        try:
            value = int(field("LabelValue", "1"))
            layer = int(field("Layer", "0" if f"Segment{number}_LabelValue" in texts else str(number)))
        except ValueError as error:
            raise InputError(f"'{path}' has a damaged header (Segment{number}: {error}); save it again.") from error
        if not 0 <= layer < len(layers):
            raise InputError(
                f"'{path}' has no layer {layer}, where Segment{number} should be; save it again in Slicer."
            )
        name = free_name(printable(field("Name", "") or field("ID", "") or f"Segment {number}"), entries)
        entries[name] = (layer, value)
        details[name] = details_of_fields(field("Tags", ""), field("Color", ""))
    name = printable(path.name)
    return Segments(entries, details, (*_shared(entries, name), *_nameless(entries, layers, name)))


def _shared(entries: Mapping[str, tuple[int, int]], name: str) -> list[str]:
    """Notes on segments that are the same voxels, and on those that are background."""
    notes = []
    by_place = defaultdict(list)
    for segment, place in entries.items():
        by_place[place].append(segment)
    if same := [listed(segments, quoted=True) for segments in by_place.values() if len(segments) > 1]:
        shown = listed(same, 3, joint="; ")
        notes.append(f"In '{name}' segments {shown} have one value in one layer: the same voxels.")
    if background := [segment for segment, (_, value) in entries.items() if value == 0]:
        shown = listed(background, quoted=True)
        notes.append(f"In '{name}' {shown} has the value 0, which is background: it is empty.")
    return notes


def _nameless(entries: Mapping[str, tuple[int, int]], layers: tuple[np.ndarray, ...], name: str) -> list[str]:
    """A note on values that no segment has."""
    named = set(entries.values())
    left = [
        (layer, value)
        for layer, array in enumerate(layers)
        for value in label_values(array, name)
        if (layer, value) not in named
    ]
    if not left:
        return []
    count = sum(int(np.count_nonzero(layers[layer] == value)) for layer, value in left)
    values = listed(value for _, value in left)
    return [f"{count:,} voxels of '{name}' belong to no segment (values {values}); they are left out."]
