"""Serialize a propagation to bytes, to be saved with a scene and continued after loading."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, replace

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.result import Pass, Propagation, SlicePropagation
from SAMLiverTumorLib.inference.propagation.stopping_rules import Stop
from SAMLiverTumorLib.inference.segment_slices import SliceResult
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import PlanePrompts
from SAMLiverTumorLib.volume import Volume
from SAMLiverTumorLib.voxel_map import INSIDE

_VERSION = 1

# Larger propagations are stored as masks, without probabilities. Two hundred slices of a 14 cm tumor take 0.9 MB.
_MOST_BYTES = 3_000_000


def packed(propagation: Propagation, most_bytes: int = _MOST_BYTES) -> bytes:
    """A propagation as compressed bytes, without its volume.

    :param most_bytes: above this size, probabilities are rounded to 0 and 1; masks do not change.
    """
    slices = _SliceTable()
    fields = {
        "version": _VERSION,
        "dimensions": propagation.stack.volume.dimensions,
        "orientation": propagation.stack.orientation,
        "base": _plane_to_dict(propagation.stack.base),
        "slices": [slices.number(each) for each in propagation.slices.values()],
        "anchors": [_anchor_to_dict(anchor) for anchor in propagation.anchors],
        "anchor_slices": [_anchor_slice_number(propagation, anchor, slices) for anchor in propagation.anchors],
        "passes": [
            {
                "anchor": number,
                "direction": direction,
                "slices": [slices.number(each) for each in way.slices],
                "stop": None if way.stop is None else asdict(way.stop),
            }
            for number, anchor in enumerate(propagation.anchors)
            for (key, direction), way in propagation.passes.items()
            if key == anchor.key
        ],
        "stops": [asdict(stop) for stop in propagation.stops],
        "cancelled": propagation.cancelled,
        "notes": propagation.notes,
        "provenance": propagation.provenance,
        "all": [_slice_to_dict(each) for each in slices.all],
    }
    text = json.dumps(fields, separators=(",", ":"), default=lambda number: number.item()).encode()
    data = zlib.compress(struct.pack("<I", len(text)) + text + b"".join(_pixels(each) for each in slices.all), 1)
    if len(data) <= most_bytes:
        return data
    certain = (replace(each, probability=(each.probability >= INSIDE) * np.uint8(255)) for each in slices.all)
    return zlib.compress(struct.pack("<I", len(text)) + text + b"".join(_pixels(each) for each in certain), 1)


def unpacked(data: bytes, volume: Volume) -> Propagation:
    """The propagation from bytes, on its volume or another of the same dimensions.

    Whether it is still valid there is checked when it is reused, see `Propagator`.

    :raises InputError: the data is damaged, of another version, or of a volume with other dimensions.
    """
    try:
        raw = zlib.decompress(data)
        (length,) = struct.unpack_from("<I", raw)
        fields = parse_json(raw[4 : 4 + length])
        if fields["version"] != _VERSION or tuple(fields["dimensions"]) != volume.dimensions:
            raise InputError(f"The propagation that was saved for '{volume.name}' is of another version or volume.")
        return _restored(fields, memoryview(raw)[4 + length :], volume)
    except (zlib.error, struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"The propagation that was saved for '{volume.name}' is damaged: {error!r}") from error


class _SliceTable:
    """Slices that several parts refer to by number, each stored once."""

    def __init__(self) -> None:
        self.all: list[SlicePropagation] = []
        self._numbers: dict[int, int] = {}

    def number(self, each: SlicePropagation) -> int:
        if id(each) not in self._numbers:
            self._numbers[id(each)] = len(self.all)
            self.all.append(each)
        return self._numbers[id(each)]


def _restored(fields: dict, pixels: memoryview, volume: Volume) -> Propagation:
    slices, start = [], 0
    for each in fields["all"]:
        rows, columns = each["size"]
        part = np.frombuffer(pixels[start : start + rows * columns], np.uint8).reshape(rows, columns)
        start += rows * columns
        slices.append(_slice_from_dict(each, part))
    anchors = tuple(_anchor_from_dict(each) for each in fields["anchors"])
    known = zip(anchors, fields["anchor_slices"], strict=True)
    return Propagation(
        PlaneStack(volume, fields["orientation"], _plane_from_dict(fields["base"], volume)),
        {slices[n].index: slices[n] for n in fields["slices"]},
        tuple(Stop(**stop) for stop in fields["stops"]),
        bool(fields["cancelled"]),
        tuple(fields["notes"]),
        fields["provenance"],
        anchors,
        {anchor.key: slices[n] for anchor, n in known if n is not None},
        {
            (anchors[way["anchor"]].key, way["direction"]): Pass(
                tuple(slices[n] for n in way["slices"]), None if way["stop"] is None else Stop(**way["stop"])
            )
            for way in fields["passes"]
        },
    )


def _anchor_slice_number(propagation: Propagation, anchor: Anchor, slices: _SliceTable) -> int | None:
    known = propagation.anchor_slices.get(anchor.key)
    return None if known is None else slices.number(known)


def _slice_to_dict(each: SlicePropagation) -> dict:
    named = {name: getattr(each, name) for name in ("index", "shape", "origin", "source", "confidence")}
    return {**named, "size": each.probability.shape, "result": asdict(each.result)}


def _slice_from_dict(fields: dict, part: np.ndarray) -> SlicePropagation:
    # propagations saved by version 0.1.0 also have "zoomed"
    result = SliceResult(**{name: value for name, value in fields["result"].items() if name != "zoomed"})
    shape, origin = tuple(fields["shape"]), tuple(fields["origin"])
    return SlicePropagation(fields["index"], shape, origin, part, fields["source"], fields["confidence"], result)


def _pixels(each: SlicePropagation) -> bytes:
    return np.ascontiguousarray(each.probability).tobytes()


def _anchor_to_dict(anchor: Anchor) -> dict:
    fields: dict = {"index": anchor.index, "model": anchor.model, "prompts": None, "picture": None}
    if anchor.prompts is not None:
        box = anchor.prompts.box
        fields["prompts"] = {
            "points": anchor.prompts.points.tolist(),
            "labels": anchor.prompts.labels.tolist(),
            "box": None if box is None else [float(x) for x in box],
        }
    if anchor.slice_mask is not None:
        fields["picture"] = {"shape": anchor.slice_mask.shape, "bits": np.packbits(anchor.slice_mask).tobytes().hex()}
    return fields


def _anchor_from_dict(fields: dict) -> Anchor:
    prompts, slice_mask = fields["prompts"], fields["picture"]
    if prompts is not None:
        box = None if prompts["box"] is None else tuple(prompts["box"])
        prompts = PlanePrompts(prompts["points"], prompts["labels"], box)
    if slice_mask is not None:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(slice_mask["bits"]), np.uint8))
        rows, columns = slice_mask["shape"]
        slice_mask = bits[: rows * columns].reshape(rows, columns).astype(bool)
    return Anchor(fields["index"], prompts, slice_mask, fields["model"])


def _plane_to_dict(plane: Plane | None) -> dict | None:
    if plane is None:
        return None
    return {"name": plane.name, "to_ijk": plane.to_ijk.tolist(), "shape": plane.shape}


def _plane_from_dict(fields: dict | None, volume: Volume) -> Plane | None:
    """An oblique plane, at the volume's present position."""
    if fields is None:
        return None
    to_ijk = np.array(fields["to_ijk"], float)
    return Plane(fields["name"], to_ijk, volume.ijk_to_ras @ to_ijk, tuple(fields["shape"]))
