"""A propagation serialized to bytes and read back."""

import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, box_around, phantom_of

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.serialization import packed, unpacked
from SAMLiverTumorLib.prompts import PlanePrompts

BALL = ball()


def propagated():
    """A box, a slice drawn by hand with clicks, and one left empty."""
    stack = PlaneStack(phantom_of(BALL), "axial")
    drawn = Anchor(18, PlanePrompts([(22.25, 20), (3, 3)], [1, 0], (10.5, 9, 30, 31)), BALL[18], "clicks")
    empty = Anchor(21, slice_mask=np.zeros_like(BALL[21]))
    return propagate(stack, [Anchor(15, box_around(BALL[15])), drawn, empty], DarkPool(), SETTINGS)


def test_everything_that_can_be_reused_comes_back():
    first = propagated()
    second = unpacked(packed(first), first.stack.volume)
    assert np.array_equal(second.mask().full(), first.mask().full())
    assert list(second.slices) == list(first.slices) and second.reached == first.reached
    for n, each in first.slices.items():
        assert np.array_equal(second.slices[n].probabilities, each.probabilities)
        assert replace(second.slices[n], probability=None).__dict__ == replace(each, probability=None).__dict__
    assert [anchor.key for anchor in second.anchors] == [anchor.key for anchor in first.anchors]
    assert [anchor.as_dict() for anchor in second.anchors] == [anchor.as_dict() for anchor in first.anchors]
    assert second.passes.keys() == first.passes.keys() and second.anchor_slices.keys() == first.anchor_slices.keys()
    assert (second.stops, second.cancelled, second.notes) == (first.stops, first.cancelled, first.notes)
    assert second.provenance == first.provenance
    pool = DarkPool()
    again = propagate(second.stack, second.anchors, pool, SETTINGS, previous=second)
    assert pool.calls == 0
    # a slice that several parts share is one object again, so that unchanged slices are not written again
    assert all(again.slices[n] is second.slices[n] for n in second.slices if second.slices[n].source != "between")


def as_version_0_1(data, zoom):
    """The bytes as version 0.1.0 wrote them, which could zoom in on small lesions."""
    raw = zlib.decompress(data)
    (length,) = struct.unpack_from("<I", raw)
    fields = json.loads(raw[4 : 4 + length])
    for each in fields["all"]:
        each["result"]["zoomed"] = zoom != "off"
    fields["provenance"]["zoom"] = zoom
    if zoom != "off":
        fields["provenance"]["basis"]["zoom"] = zoom
    text = json.dumps(fields).encode()
    return zlib.compress(struct.pack("<I", len(text)) + text + raw[4 + length :])


@pytest.mark.parametrize("zoom", ["off", "on"])
def test_a_propagation_saved_by_version_0_1_is_read_and_recomputed_if_it_was_zoomed(zoom):
    first = propagated()
    second = unpacked(as_version_0_1(packed(first), zoom), first.stack.volume)
    assert np.array_equal(second.mask().full(), first.mask().full())
    assert second.provenance["zoom"] == zoom
    pool = DarkPool()
    again = propagate(second.stack, second.anchors, pool, SETTINGS, previous=second)
    assert (pool.calls == 0) == (zoom == "off")
    assert np.array_equal(again.mask().full(), first.mask().full())
    assert "zoom" not in again.provenance


def test_where_probabilities_would_be_too_large_masks_are_kept():
    first = propagated()
    small = packed(first, most_bytes=0)
    second = unpacked(small, first.stack.volume)
    assert np.array_equal(second.mask().full(), first.mask().full())
    assert {int(x) for each in second.slices.values() for x in np.unique(each.probability)} <= {0, 255}


def test_two_hundred_slices_of_a_tumor_of_ten_centimeters_stay_small():
    first = propagated()
    rng = np.random.default_rng(0)
    v, u = np.mgrid[-64:64, -64:64]
    slices = {}
    for n in range(200):
        logits = 0.6 * (60 - np.hypot(u, v) + rng.normal(0, 1, u.shape))
        part = np.rint(255 / (1 + np.exp(-np.clip(logits, -20, 20)))).astype(np.uint8)
        slices[n] = replace(first.slices[15], index=n, shape=(512, 512), origin=(100, 100), probability=part)
    data = packed(replace(first, slices=slices))
    assert len(data) < 1_500_000
    again = unpacked(data, first.stack.volume).slices
    assert all(np.array_equal(again[n].probabilities, slices[n].probabilities) for n in (0, 199))


@pytest.mark.parametrize("damage", ["cut", "text", "pixels", "other volume"])
def test_damaged_data_and_another_volume_are_refused(damage):
    first = propagated()
    data, volume = packed(first), first.stack.volume
    raw = zlib.decompress(data)
    if damage == "other volume":
        volume = replace(volume, array=volume.array[:-1])
    data = {
        "cut": data[:-20],
        "text": zlib.compress(raw[:4] + b"?" + raw[5:]),
        "pixels": zlib.compress(raw[:-9]),
        "other volume": data,
    }[damage]
    with pytest.raises(InputError, match="that was saved"):
        unpacked(data, volume)
