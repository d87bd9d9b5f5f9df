"""Corrective clicks on a propagated mask, with a network that segments dark pixels."""

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, box_around, dice, phantom_of, ras_of

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.click_corrections import Click, correct
from SAMLiverTumorLib.inference.propagation.geodesic_distance import geodesic_distance
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate

BALL = ball()


def propagated(inside=BALL, index=15, volume=None):
    """(stack, pool, result) of a box on a slice of a phantom."""
    stack, pool = PlaneStack(volume or phantom_of(inside), "axial"), DarkPool()
    anchor = Anchor(index, box_around(stack.slice_mask_of(inside, stack.plane(index))))
    return stack, pool, propagate(stack, [anchor], pool, SETTINGS)


def click(stack, k, j, i, include):
    return Click(ras_of(stack.volume, k, j, i), include)


def gapped():
    """The ball with slice 19 as bright as tissue: propagation stops there, short of slices 20 to 22."""
    volume = phantom_of(BALL & (np.arange(30) != 19)[:, None, None])
    return propagated(BALL, volume=volume)


def test_an_include_click_beyond_a_stop_continues_there():
    stack, pool, first = gapped()
    assert first.reached == tuple(range(8, 19))
    second = correct(first, click(stack, 21, 20, 22, True), pool, SETTINGS)
    mask = second.mask().full()
    assert second.reached == (*range(8, 19), *range(20, 23))
    for k in (20, 21, 22):
        assert dice(mask[k], BALL[k]) > 0.9
    # slices on the anchor's other side were not recomputed
    assert all(second.slices[n] is first.slices[n] for n in range(8, 19))
    assert [a.index for a in second.anchors] == [15, 21]


def test_an_exclude_click_in_the_middle_ends_the_tumor_there():
    stack, pool, first = propagated()
    before = pool.network.embedded
    second = correct(first, click(stack, 19, 20, 22, False), pool, SETTINGS)
    assert second.reached == tuple(range(8, 19))
    assert pool.network.embedded == before, "nothing is left to segment"
    assert not second.slices[19].slice_mask.any()


def leaking():
    """A ball that a second, smaller one touches from slice 13 to 17."""
    leak = ball(center=(15, 20, 33), radii=(3, 4, 4))
    return BALL | leak, leak & ~BALL


def test_an_exclude_click_in_a_leak_removes_the_leak_and_leaves_the_tumor():
    both, leak = leaking()
    stack, pool, first = propagated(both)
    assert first.mask().full()[leak].all()
    second = correct(first, click(stack, 15, 20, 34, False), pool, SETTINGS)
    mask = second.mask().full()
    assert not mask[15, 20, 34]
    assert np.count_nonzero(mask[15] & leak[15]) < 0.3 * np.count_nonzero(leak[15])
    assert np.count_nonzero(mask[15] & BALL[15]) > 0.9 * np.count_nonzero(BALL[15])


def test_an_include_click_adds_the_piece_that_the_box_had_cut_off():
    stack = PlaneStack(phantom_of(BALL), "axial")
    pool = DarkPool()
    half = BALL[15].copy()
    half[:, 24:] = False
    first = propagate(stack, [Anchor(15, slice_mask=half)], pool, SETTINGS)
    second = correct(first, click(stack, 15, 20, 27, True), pool, SETTINGS)
    mask = second.mask().full()
    assert mask[15][half].all()
    assert dice(mask[15], BALL[15]) > 0.95
    assert dice(mask, BALL) > dice(first.mask().full(), BALL)


def test_clicks_are_honored_wherever_they_are():
    both, _ = leaking()
    rng = np.random.default_rng(3)
    stack, pool, result = propagated(both)
    voxels = rng.integers((8, 8, 10), (23, 32, 40), (40, 3))
    for k, j, i in voxels:
        include = bool(rng.random() < 0.5)
        result = correct(result, click(stack, k, j, i, include), pool, SETTINGS)
        assert result.mask().full()[k, j, i] == include, (k, j, i)


def test_earlier_clicks_on_a_slice_still_count():
    stack, pool, first = propagated()
    second = correct(first, click(stack, 15, 20, 27, False), pool, SETTINGS)
    third = correct(second, click(stack, 15, 27, 22, True), pool, SETTINGS)
    fourth = correct(third, click(stack, 15, 14, 22, False), pool, SETTINGS)
    mask = fourth.mask().full()
    assert not mask[15, 20, 27]
    assert mask[15, 27, 22]
    assert not mask[15, 14, 22]
    (anchor,) = (a for a in fourth.anchors if a.index == 15)
    assert anchor.prompts.labels.tolist() == [0, 1, 0]


def test_an_include_click_beside_an_earlier_exclude_click_leaves_that_one_out():
    both, _ = leaking()
    stack, pool, first = propagated(both)
    second = correct(first, click(stack, 15, 20, 34, False), pool, SETTINGS)
    assert not second.mask().full()[15, 20, 31:36].any()
    third = correct(second, click(stack, 15, 20, 31, True), pool, SETTINGS)
    mask = third.mask().full()
    assert mask[15, 20, 31]
    assert not mask[15, 20, 34]
    assert not mask[15, 20, 36], "it lies behind the excluded point"
    # 2 mm from the excluded click and 3.6 mm from the included one, all as dark
    assert not mask[15, [18, 22], 34].any()


def test_a_click_that_agrees_with_the_mask_changes_no_voxel():
    stack, pool, first = propagated()
    for k, j, i, include in ((17, 20, 22, True), (17, 20, 40, False)):
        second = correct(first, click(stack, k, j, i, include), pool, SETTINGS)
        assert np.array_equal(second.mask().full(), first.mask().full())


def test_a_click_outside_the_volume_is_refused():
    _, pool, first = propagated()
    with pytest.raises(PromptError, match="outside"):
        correct(first, Click(np.array([0.0, 0.0, 900.0]), True), pool, SETTINGS)


def test_geodesic_distance_is_straight_on_flat_grey_and_longer_across_edges():
    flat = np.zeros((3, 5))
    seed = np.zeros((3, 5), bool)
    seed[1, 0] = True
    # 4 columns of 0.5 mm; one diagonal of a 2 x 0.5 mm pixel and 3 columns
    distance = geodesic_distance(flat, seed, (2.0, 0.5), 10.0)
    assert distance[1, 4] == pytest.approx(2.0)
    assert distance[0, 4] == pytest.approx(np.hypot(2.0, 0.5) + 1.5)
    step = flat.copy()
    step[:, 2:] = 30.0  # 30 grey values count as 3 mm
    assert geodesic_distance(step, seed, (2.0, 0.5), 10.0)[1, 4] == pytest.approx(1.5 + np.hypot(0.5, 3.0))
