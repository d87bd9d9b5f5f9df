"""Propagation with a network that segments dark pixels: where it goes, what it reuses, what it recomputes."""

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from geometry import STORAGE_ORDERS, in_original_order, reordered
from propagation_case import SETTINGS, DarkPool, ball, box_around, dice, ladder, phantom_of, ras_of
from scipy import ndimage

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor, anchors_of_mask
from SAMLiverTumorLib.inference.propagation.merge_directions import reconciled
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import Propagator, propagate
from SAMLiverTumorLib.inference.propagation.result import SlicePropagation
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.inference.segment_slices import SliceResult, segment_slice
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.plane import oblique_plane

BALL = ball()
# the ball's slices: 8 voxels around slice 15, its ends excluded
SLICES = tuple(range(8, 23))


def started(inside=BALL, index=15, orientation="axial"):
    """(stack, anchor with a box around the tumor on a slice)."""
    stack = PlaneStack(phantom_of(inside), orientation)
    return stack, Anchor(index, box_around(stack.slice_mask_of(inside, stack.plane(index))))


def test_one_box_finds_every_slice_of_a_ball_and_reports_where_it_stopped():
    stack, anchor = started()
    steps = []
    result = propagate(stack, [anchor], DarkPool(), SETTINGS, progress=lambda *step: steps.append(step))
    assert result.reached == SLICES
    assert np.array_equal(result.mask().full(), BALL)
    assert [(s.direction, s.index, s.kind) for s in result.stops] == [("down", 7, "vanished"), ("up", 23, "vanished")]
    assert "vanishes: 0 mm2" in result.stops[0].reason
    assert steps == [(n, None) for n in range(1, 16)]
    assert {n: s.source for n, s in result.slices.items()} == {
        n: "anchor" if n == 15 else "up" if n > 15 else "down" for n in SLICES
    }


@pytest.mark.parametrize("orientation", ["coronal", "sagittal"])
def test_it_goes_along_any_axis(orientation):
    stack, anchor = started(index=20, orientation=orientation)
    assert dice(propagate(stack, [anchor], DarkPool(), SETTINGS).mask().full(), BALL) > 0.99


@pytest.mark.parametrize("direction", ["up", "down"])
def test_one_direction_leaves_the_other_side_alone(direction):
    stack, anchor = started()
    result = propagate(stack, [anchor], DarkPool(), SETTINGS, direction=direction)
    assert result.reached == (SLICES[7:] if direction == "up" else SLICES[:8])
    assert [s.direction for s in result.stops] == [direction]


def test_a_mask_is_cut_at_the_liver_where_most_of_it_lies_inside():
    stack, anchor = started()
    liver = np.ones(BALL.shape, bool)
    liver[:, :, 27:] = False
    result = propagate(stack, [anchor], DarkPool(), SETTINGS, limits=Limits(liver=liver))
    mask = result.mask().full()
    assert np.array_equal(np.delete(mask, 15, axis=0), np.delete(BALL & liver, 15, axis=0))
    assert np.array_equal(mask[15], BALL[15]), "the user's own slice is not cut"


def test_a_dark_place_beside_the_tumor_is_left_out():
    # in the box's reach on slice 6, one pixel from a disc of radius 4, a third as large, and nothing of it on slice 5
    _, inside = ladder([4, 4, 4])
    beside = inside.copy()
    beside[6, 13:15, 18:27] = True
    stack, rules = PlaneStack(phantom_of(beside), "axial"), PropagationRules(margin_mm=4.0)
    anchor = Anchor(5, box_around(stack.slice_mask_of(inside, stack.plane(5))))
    assert np.array_equal(propagate(stack, [anchor], DarkPool(), SETTINGS, rules).mask().full(), inside)


def test_a_slice_left_empty_by_the_user_ends_it():
    stack, anchor = started()
    empty = Anchor(19, slice_mask=np.zeros((40, 44), bool))
    result = propagate(stack, [anchor, empty], DarkPool(), SETTINGS)
    assert result.reached == tuple(range(8, 19))
    assert [(s.direction, s.index) for s in result.stops] == [("down", 7)]


def test_invalid_anchors_are_refused_with_what_to_do():
    stack, anchor = started()
    for anchors, text in (
        ([], "prompt at least one"),
        ([anchor, anchor], "twice"),
        ([Anchor(99, anchor.prompts)], "99"),
    ):
        with pytest.raises(PromptError, match=text):
            propagate(stack, anchors, DarkPool(), SETTINGS)
    with pytest.raises(PromptError, match="add an include point or a box"):
        Anchor(3)
    with pytest.raises(PromptError, match="choose both, up or down"):
        propagate(stack, [anchor], DarkPool(), SETTINGS, direction="left")


def test_anchors_stay_as_they_are_bit_by_bit():
    stack, anchor = started()
    rng = np.random.default_rng(1)
    drawn = {n: rng.random((40, 44)) < 0.5 for n in (11, 19)}
    given = [Anchor(n, slice_mask=slice_mask) for n, slice_mask in drawn.items()]
    result = propagate(stack, [anchor, *given], DarkPool(), SETTINGS)
    mask = result.mask().full()
    for n, slice_mask in drawn.items():
        assert np.array_equal(result.slices[n].slice_mask, slice_mask)
        assert np.array_equal(stack.slice_mask_of(mask, stack.plane(n)), slice_mask)
    alone = segment_slice(stack.volume, stack.plane(15), anchor.prompts, DarkPool(), SETTINGS)
    assert np.array_equal(mask[15], alone.mask.full()[15])


def test_outlined_slices_are_filled_between():
    drawn = np.where(np.isin(np.arange(30), (10, 20))[:, None, None], BALL, False)
    volume = phantom_of(BALL)
    stack = PlaneStack(volume, "axial")
    anchors = anchors_of_mask(Mask.from_array(drawn, volume), stack)
    assert [a.index for a in anchors] == [10, 20]
    result = propagate(stack, anchors, DarkPool(), SETTINGS)
    assert np.array_equal(result.mask().full(), BALL)
    assert {result.slices[n].source for n in range(11, 20)} == {"between"}
    with pytest.raises(PromptError, match="outline the tumor"):
        anchors_of_mask(Mask.from_array(drawn & False, volume), stack)


def one(index, values, confidence):
    """A slice of given stored probabilities."""
    values = np.array([values], np.uint8)
    return SlicePropagation(index, values.shape, (0, 0), values, "up", confidence, SliceResult(index, "m", 1, 1, 1))


def test_between_anchors_slices_are_weighted_by_nearness_and_confidence():
    # slice 12 between anchors 10 and 18: 6/8 near the first, 2/8 near the second
    both = reconciled(12, (10, one(12, [200, 0, 240], 0.5)), (18, one(12, [0, 200, 240], 0.5)))
    assert both.probability.tolist() == [[150, 50, 240]]
    assert both.source == "between"
    assert both.confidence == pytest.approx(0.5)
    # with confidences 0.1 and 0.9 the weights are 0.075 and 0.225: a quarter and three quarters
    unsure = reconciled(12, (10, one(12, [200, 0, 240], 0.1)), (18, one(12, [0, 200, 240], 0.9)))
    assert unsure.probability.tolist() == [[50, 150, 240]]
    alone = one(12, [200, 0, 240], 0.1)
    assert reconciled(12, (10, alone), (18, None)) is alone
    assert reconciled(12, (10, None), (18, None)) is None


def test_steps_yield_each_slice_when_it_is_done():
    stack, anchor = started()
    propagator = Propagator(stack, [anchor], DarkPool(), SETTINGS)
    steps = propagator.steps()
    assert [next(steps).index for _ in range(4)] == [15, 14, 13, 12]
    assert sorted(propagator.result.slices) == [12, 13, 14, 15]
    assert [each.index for each in steps] == [11, 10, 9, 8, *range(16, 23)]


def test_probabilities_are_kept_in_their_box_and_agree_with_the_mask():
    stack, anchor = started()
    result = propagate(stack, [anchor], DarkPool(), SETTINGS)
    for each in result.slices.values():
        assert each.probability.dtype == np.uint8
        assert each.probability.size < 25 * 25
        assert each.result.pixels == np.count_nonzero(each.probabilities >= 128)
        assert 0.5 < each.confidence <= 1
    assert result.provenance["models"] == [{"id": "lite-medsam", "sha256": "0" * 64, "window": [0, 255]}]


def test_a_model_that_knows_points_and_masks_is_given_them():
    stack, anchor = started()
    pool = DarkPool("mobile-sam")
    rules = PropagationRules(center_point=True, mask_prompt=True)
    propagate(stack, [anchor], pool, replace(SETTINGS, model="mobile-sam"), rules, direction="up")
    kinds = [asked.kinds for asked in pool.network.asked]
    assert kinds[0] == {"box"}
    assert kinds[1] == {"box", "points"}, "the first step has no logits of a step before it"
    assert kinds[-1] == {"box", "points", "mask"}


def test_two_hundred_propagations_leave_no_memory_behind():
    small = ball((6, 24, 24), (2, 12, 12), (3, 6, 6))
    stack = PlaneStack(phantom_of(small), "axial")
    anchor = Anchor(2, box_around(small[2]))
    pool = DarkPool()

    def run():
        propagate(stack, [anchor], pool, SETTINGS, direction="up").mask()
        pool.network.asked.clear()

    def held():
        gc.collect()
        # pathlib's table of interned parts grows in jumps, with every path that any code touches
        others = tracemalloc.Filter(False, "*pathlib*")
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([others]).traces)

    for n in range(200):
        if n == 160:  # tracing is slow, and a leak in one run is a leak in every run
            tracemalloc.start()
            run()
            before = held()
        run()
    after = held()
    tracemalloc.stop()
    # one result holds some 5 kB; the 40 since then would be 200 kB
    assert after - before < 40_000


def test_any_of_the_48_axis_orders_gives_the_same_mask():
    lump = BALL.copy()
    lump[10:14, 14:20, 26:34] |= ball()[10:14, 14:20, 20:28]
    straight = phantom_of(lump)
    expected = None
    for order, signs in STORAGE_ORDERS:
        volume, to_original = reordered(straight, order, signs)
        stack = PlaneStack(volume, "axial")
        index = stack.index_at(ras_of(straight, 15, 20, 22))
        dark = stack.slice_mask_of(volume.array < 100, stack.plane(index))
        result = propagate(stack, [Anchor(index, box_around(dark))], DarkPool(), SETTINGS)
        mask = in_original_order(result.mask().full(), to_original, lump.shape)
        expected = mask if expected is None else expected
        assert np.array_equal(mask, expected), (order, signs)
        assert [s.direction for s in result.stops] == ["down", "up"]
    assert dice(expected, lump) > 0.9


@pytest.mark.parametrize("angle", [20, 45, 70])
def test_an_oblique_propagation_covers_the_ball_without_holes(angle):
    volume = phantom_of(ball(radii=(6, 11, 11)))
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    view = np.eye(4)
    view[:3, 0], view[:3, 1], view[:3, 2] = (-c, 0, s), (0, 1, 0), (s, 0, c)
    view[:3, 3] = ras_of(volume, 15, 20, 22)
    plane = oblique_plane(volume, view)
    stack = PlaneStack.through(volume, plane)
    assert stack.orientation == "oblique"
    dark = stack.slice_mask_of(volume.array < 100, plane)
    result = propagate(stack, [Anchor(0, box_around(dark))], DarkPool(), SETTINGS)
    mask = result.mask().full()
    assert dice(mask, volume.array < 100) > 0.95
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask)
    assert min(result.reached) < 0 < max(result.reached)
    assert stack.index_at(ras_of(volume, 15, 20, 22)) == 0
    with pytest.raises(PromptError, match="outside"):
        stack.index_at(ras_of(volume, 400, 20, 22))
