"""Uncertainty of voxels by its formula, and the next best slice: the most uncertain one, never one already prompted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from propagation_case import SETTINGS, DarkPool, ball, box_around, phantom_of, ras_of

from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.result import SlicePropagation
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules, Stop
from SAMLiverTumorLib.inference.segment_slices import SliceResult
from SAMLiverTumorLib.inference.uncertainty.entropy import voxel_uncertainty
from SAMLiverTumorLib.inference.uncertainty.fusion import fuse
from SAMLiverTumorLib.inference.uncertainty.next_best_slice import next_best_slice, rank_slices
from SAMLiverTumorLib.inference.uncertainty.orientation_passes import interpolated
from SAMLiverTumorLib.inference.uncertainty.pass_weights import WeightedPass, fuse_passes, weighted_pass
from SAMLiverTumorLib.voxel_map import VoxelMap

BALL = ball()
BOX = (slice(5, 25), slice(8, 32), slice(10, 34))


def test_certain_voxels_are_certain_and_an_even_split_is_not():
    p = np.array([0.0, 1.0, 0.5, 0.5, 0.25])
    variance = np.array([0.0, 0.0, 0.25, 0.0, 0.0])
    # entropy of 1/4 in bits: 2 - 3/4 log2(3) = 0.8113
    assert voxel_uncertainty(p, variance) == pytest.approx([0, 0, 1, 0.5, 0.8113 / 2], abs=1e-4)


@given(st.lists(st.tuples(st.integers(0, 255), st.floats(0.01, 1)), min_size=1, max_size=5))
def test_passes_give_their_weighted_mean_and_an_uncertainty_between_half_the_entropy_and_the_entropy(values):
    parts = [WeightedPass(np.full((1, 1, 1), p, np.uint8), np.full((1, 1, 1), w, np.float32)) for p, w in values]
    probability, uncertainty = (int(each[0, 0, 0]) for each in fuse_passes(parts, (1, 1, 1)))
    mean = sum(p * w for p, w in values) / sum(w for _, w in values)
    assert abs(probability - mean) <= 0.51
    q = min(max(mean / 255, 1e-9), 1 - 1e-9)
    entropy = -q * np.log2(q) - (1 - q) * np.log2(1 - q)
    assert 127.5 * entropy - 1 <= uncertainty <= 255 * entropy + 1


def test_where_all_weights_are_zero_there_is_no_tumor_and_no_uncertainty():
    parts = [WeightedPass(np.full((20, 2, 2), 200, np.uint8), np.zeros((20, 1, 1), np.float32))]
    probability, uncertainty = fuse_passes(parts, (20, 2, 2))
    assert not probability.any()
    assert not uncertainty.any()


def test_layers_are_fused_alike_however_they_are_cut():
    one, other = np.random.default_rng(2).integers(0, 256, (2, 21, 3, 4)).astype(np.uint8)
    parts = [WeightedPass(values, np.full((1, 3, 1), w, np.float32)) for values, w in ((one, 1), (other, 2))]
    probability, _ = fuse_passes(parts, (21, 3, 4))
    expected = (one.astype(float) + 2.0 * other.astype(float)) / 3
    assert np.abs(probability.astype(float) - expected).max() <= 0.51


def test_a_pass_counts_as_background_beyond_its_own_stop_and_not_at_all_beyond_a_cancel():
    stack = PlaneStack(phantom_of(BALL), "axial")
    first = propagate(stack, [Anchor(15, box_around(BALL[15]))], DarkPool(), SETTINGS)
    box = (slice(2, 28), slice(20, 21), slice(22, 23))
    weights = weighted_pass(first, box).weight.ravel()
    confidence = [first.slices[n].confidence for n in range(8, 23)]
    assert weights == pytest.approx([1.0] * 6 + confidence + [1.0] * 5)
    cut = replace(first, stops=(replace(first.stops[0], kind="cancelled"), first.stops[1]))
    assert weighted_pass(cut, box).weight.ravel() == pytest.approx([0.0] * 6 + confidence + [1.0] * 5)
    half = propagate(stack, [Anchor(15, box_around(BALL[15]))], DarkPool(), SETTINGS, direction="down")
    assert weighted_pass(half, box, 0.5).weight.ravel() == pytest.approx(
        [0.5] * 6 + [0.5 * each for each in confidence[:8]] + [0.0] * 12
    )


def test_planes_between_two_are_interpolated_by_nearness_and_confidence():
    def at(index, value, confidence):
        values = np.full((1, 1), value, np.uint8)
        return SlicePropagation(index, (1, 1), (0, 0), values, "section", confidence, SliceResult(index, "m", 1, 1, 1))

    whole = interpolated({4: at(4, 240, 0.9), 8: at(8, 40, 0.3)})
    assert list(whole) == [4, 5, 6, 7, 8]
    # weights 0.9 * 3/4 to 0.3 * 1/4: 240 - 200 * 0.1; then 1/4 and 1/2 of the way
    assert [int(whole[n].probabilities[0, 0]) for n in (5, 6, 7)] == [220, 190, 140]


def fusion_with(uncertainty, anchors=(15,), stops=(), orientation="axial"):
    """A fusion with this uncertainty (uint8 over BOX), whose first pass is the ball's."""
    volume = phantom_of(BALL)
    stack = PlaneStack(volume, orientation)
    index = stack.index_at(ras_of(volume, 15, 20, 22))
    first = propagate(
        stack, [Anchor(index, box_around(stack.slice_mask_of(BALL, stack.plane(index))))], DarkPool(), SETTINGS
    )
    first = replace(first, anchors=tuple(replace(first.anchors[0], index=n) for n in anchors), stops=tuple(stops))
    fusion = fuse(first, DarkPool(), SETTINGS)
    return replace(fusion, first=first, uncertainty=VoxelMap.in_box(uncertainty, BOX, volume))


def layers(**values):
    """Uncertainty by slice: k12=4 puts four voxels of 1 into slice 12."""
    uncertainty = np.zeros([s.stop - s.start for s in BOX], np.uint8)
    for name, count in values.items():
        uncertainty[int(name[1:]) - BOX[0].start, 3, :count] = 255
    return uncertainty


def test_the_most_uncertain_slice_far_from_the_prompted_one_is_suggested():
    # slices 2 mm apart; 24 mm2 at 12 mm count 24 * 12/14 = 20.6, 10 mm2 there 8.6, and 16 mm2 at 2 mm 16 * 2/4 = 8
    fusion = fusion_with(layers(k15=24, k16=16, k9=24, k21=10))
    ranked = rank_slices(fusion)
    assert [each.index for each in ranked] == [9, 21, 16]
    best = next_best_slice(fusion)
    assert (best.orientation, best.index) == ("axial", 9)
    # pixels are 1 x 1 mm
    assert best.uncertainty_mm2 == pytest.approx(24)
    # voxels i 10 to 33, j 11, k 9
    assert best.center_ras == pytest.approx(ras_of(fusion.first.stack.volume, 9, 11, 21.5), abs=1e-6)
    assert best.reason == "24 mm2 uncertain"
    assert best.as_dict()["uncertainty_mm2"] == 24


def test_prompted_slices_are_never_suggested_and_none_is_where_nothing_is_uncertain():
    assert rank_slices(fusion_with(layers(k15=24, k10=3), anchors=(15, 10))) == ()
    assert next_best_slice(fusion_with(layers())) is None


def test_another_orientation_may_be_asked_for():
    fusion = fusion_with(layers(k15=24, k9=24))
    coronal = PlaneStack(fusion.first.stack.volume, "coronal")
    best = next_best_slice(fusion, coronal)
    # all uncertainty lies on row j 11; a coronal slice is 1 mm thick, its pixels 1 x 2 mm: 48 of them
    assert (best.orientation, best.index) == ("coronal", 11)
    assert best.uncertainty_mm2 == pytest.approx(96)


@pytest.mark.parametrize(("unsure_way", "beyond"), [("up", 23), ("down", 7)])
def test_a_slice_just_beyond_an_uncertain_stop_is_a_candidate(unsure_way, beyond):
    ends = {"up": 23, "down": 7}
    unsure = Stop(unsure_way, ends.pop(unsure_way), "unsure", "too little evidence that the tumor continues")
    ((other_way, other),) = ends.items()
    fusion = fusion_with(layers(k9=3), stops=[unsure, Stop(other_way, other, "vanished", "the tumor vanishes")])
    # the ball ends alike on both sides
    area = np.count_nonzero(BALL[22])
    best = next_best_slice(fusion)
    assert best.index == beyond
    assert best.uncertainty_mm2 == pytest.approx(0.1 * area)
    assert best.reason == "the propagation stopped here: too little evidence that the tumor continues"
    assert best.center_ras == pytest.approx(ras_of(fusion.first.stack.volume, beyond, 20, 22), abs=0.6)
    assert [each.index for each in rank_slices(fusion)] == [beyond, 9]


def test_a_stop_at_the_volumes_border_is_no_candidate():
    fusion = fusion_with(layers(k9=3), stops=[Stop("up", 23, "edge", "the volume ends")])
    assert [each.index for each in rank_slices(fusion)] == [9]


def test_a_pass_with_flat_logits_is_uncertain_throughout_and_a_sharp_one_at_its_outline():
    stack = PlaneStack(phantom_of(BALL), "axial")
    sums = []
    for sharpness in (5.0, 1.5):
        pool = DarkPool()
        pool.network.sharpness = sharpness
        rules = PropagationRules(least_stability=0.0, least_confidence=0.0)
        first = propagate(stack, [Anchor(15, box_around(BALL[15]))], pool, SETTINGS, rules)
        sums.append(fuse(first, pool, SETTINGS).uncertainty.array.sum())
    assert sums[1] > 3 * sums[0]
