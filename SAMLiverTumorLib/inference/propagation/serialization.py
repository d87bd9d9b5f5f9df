"""A propagation as bytes, to be kept with a scene: what it reached, from what, and what can be taken over of it."""

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

# Two hundred slices of a tumor of 14 cm take 0.9 MB; what is larger than this is kept as masks, without probabilities.
_MOST_BYTES = 3_000_000


def packed(propagation: Propagation, most_bytes: int = _MOST_BYTES) -> bytes:
    """The propagation without its volume, compressed.

    :param most_bytes: size from which on probabilities are kept as 0 and 1 only; masks stay what they are.
    """
    slices = _Numbered()
    said = {
        "version": _VERSION,
        "dimensions": propagation.stack.volume.dimensions,
        "orientation": propagation.stack.orientation,
        "base": _of_plane(propagation.stack.base),
        "slices": [slices.number(each) for each in propagation.slices.values()],
        "anchors": [_of_anchor(anchor) for anchor in propagation.anchors],
        "anchor_slices": [_of_known(propagation, anchor, slices) for anchor in propagation.anchors],
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
        "all": [_of_slice(each) for each in slices.all],
    }
    text = json.dumps(said, separators=(",", ":"), default=lambda number: number.item()).encode()
    data = zlib.compress(struct.pack("<I", len(text)) + text + b"".join(_pixels(each) for each in slices.all), 1)
    if len(data) <= most_bytes:
        return data
    certain = (replace(each, probability=(each.probability >= INSIDE) * np.uint8(255)) for each in slices.all)
    return zlib.compress(struct.pack("<I", len(text)) + text + b"".join(_pixels(each) for each in certain), 1)


def unpacked(data: bytes, volume: Volume) -> Propagation:
    """The propagation on its volume, or on another one of as many voxels.

    Whether it still holds there is asked when something is taken over of it, see `Propagator`.

    :raises InputError: damaged, of another version, or of a volume of another size.
    """
    try:
        raw = zlib.decompress(data)
        (length,) = struct.unpack_from("<I", raw)
        said = parse_json(raw[4 : 4 + length])
        if said["version"] != _VERSION or tuple(said["dimensions"]) != volume.dimensions:
            raise InputError(f"The run that was saved for '{volume.name}' is of another version or volume.")
        return _made(said, memoryview(raw)[4 + length :], volume)
    except (zlib.error, struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"The run that was saved for '{volume.name}' is damaged: {error!r}") from error


class _Numbered:
    """Slices that are referred to from several places, each kept once."""

    def __init__(self) -> None:
        self.all: list[SlicePropagation] = []
        self._numbers: dict[int, int] = {}

    def number(self, each: SlicePropagation) -> int:
        if id(each) not in self._numbers:
            self._numbers[id(each)] = len(self.all)
            self.all.append(each)
        return self._numbers[id(each)]


def _made(said: dict, pixels: memoryview, volume: Volume) -> Propagation:
    slices, start = [], 0
    for each in said["all"]:
        rows, columns = each["size"]
        part = np.frombuffer(pixels[start : start + rows * columns], np.uint8).reshape(rows, columns)
        start += rows * columns
        slices.append(_slice_of(each, part))
    anchors = tuple(_anchor_of(each) for each in said["anchors"])
    known = zip(anchors, said["anchor_slices"], strict=True)
    return Propagation(
        PlaneStack(volume, said["orientation"], _plane_of(said["base"], volume)),
        {slices[n].index: slices[n] for n in said["slices"]},
        tuple(Stop(**stop) for stop in said["stops"]),
        bool(said["cancelled"]),
        tuple(said["notes"]),
        said["provenance"],
        anchors,
        {anchor.key: slices[n] for anchor, n in known if n is not None},
        {
            (anchors[way["anchor"]].key, way["direction"]): Pass(
                tuple(slices[n] for n in way["slices"]), None if way["stop"] is None else Stop(**way["stop"])
            )
            for way in said["passes"]
        },
    )


def _of_known(propagation: Propagation, anchor: Anchor, slices: _Numbered) -> int | None:
    known = propagation.anchor_slices.get(anchor.key)
    return None if known is None else slices.number(known)


def _of_slice(each: SlicePropagation) -> dict:
    named = {name: getattr(each, name) for name in ("index", "shape", "origin", "source", "confidence")}
    return {**named, "size": each.probability.shape, "result": asdict(each.result)}


def _slice_of(said: dict, part: np.ndarray) -> SlicePropagation:
    # runs saved by version 0.1.0 also say "zoomed"
    result = SliceResult(**{name: value for name, value in said["result"].items() if name != "zoomed"})
    shape, origin = tuple(said["shape"]), tuple(said["origin"])
    return SlicePropagation(said["index"], shape, origin, part, said["source"], said["confidence"], result)


def _pixels(each: SlicePropagation) -> bytes:
    return np.ascontiguousarray(each.probability).tobytes()


def _of_anchor(anchor: Anchor) -> dict:
    said: dict = {"index": anchor.index, "model": anchor.model, "prompts": None, "picture": None}
    if anchor.prompts is not None:
        box = anchor.prompts.box
        said["prompts"] = {
            "points": anchor.prompts.points.tolist(),
            "labels": anchor.prompts.labels.tolist(),
            "box": None if box is None else [float(x) for x in box],
        }
    if anchor.picture is not None:
        said["picture"] = {"shape": anchor.picture.shape, "bits": np.packbits(anchor.picture).tobytes().hex()}
    return said


def _anchor_of(said: dict) -> Anchor:
    prompts, picture = said["prompts"], said["picture"]
    if prompts is not None:
        box = None if prompts["box"] is None else tuple(prompts["box"])
        prompts = PlanePrompts(prompts["points"], prompts["labels"], box)
    if picture is not None:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(picture["bits"]), np.uint8))
        rows, columns = picture["shape"]
        picture = bits[: rows * columns].reshape(rows, columns).astype(bool)
    return Anchor(said["index"], prompts, picture, said["model"])


def _of_plane(plane: Plane | None) -> dict | None:
    if plane is None:
        return None
    return {"name": plane.name, "to_ijk": plane.to_ijk.tolist(), "shape": plane.shape}


def _plane_of(said: dict | None, volume: Volume) -> Plane | None:
    """An oblique plane, wherever its volume lies now."""
    if said is None:
        return None
    to_ijk = np.array(said["to_ijk"], float)
    return Plane(said["name"], to_ijk, volume.ijk_to_ras @ to_ijk, tuple(said["shape"]))
