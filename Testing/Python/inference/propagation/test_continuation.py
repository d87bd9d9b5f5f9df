"""What a propagation reuses of an earlier one: everything that would come out the same, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, box_around, ladder, phantom_of

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.volume import Volume

BALL = ball()
ANCHOR = Anchor(15, box_around(BALL[15]))
# the anchor, the other slices from 8 to 22, and 7 and 23 where it stops
WHOLE = 17


def encoded_again(pool, stack, previous, anchors=(ANCHOR,), **options):
    """Number of slices that the network encoded for a second propagation, and its result."""
    before = pool.network.embedded
    second = propagate(stack, anchors, pool, SETTINGS, previous=previous, **options)
    return pool.network.embedded - before, second


def stack_of(volume):
    return PlaneStack(volume, "axial")


@pytest.fixture
def first():
    pool, stack = DarkPool(), stack_of(phantom_of(BALL))
    result = propagate(stack, [ANCHOR], pool, SETTINGS)
    assert pool.network.embedded == WHOLE
    return pool, stack, result


def test_the_same_voxels_read_again_keep_all_of_it(first):
    pool, stack, result = first
    volume = stack.volume
    # as files keep an affine: to rounding
    again = Volume(volume.array.copy(), volume.ijk_to_ras + 1e-9, "read again")
    assert encoded_again(pool, stack_of(again), result)[0] == 0


def test_one_voxel_of_another_value_keeps_nothing_of_it(first):
    pool, stack, result = first
    array = stack.volume.array.copy()
    array[0, 0, 0] += 1
    assert encoded_again(pool, stack_of(replace(stack.volume, array=array)), result)[0] == WHOLE


def test_another_liver_of_as_many_voxels_keeps_nothing_of_it():
    pool, stack = DarkPool(), stack_of(phantom_of(BALL))
    liver = np.zeros(BALL.shape, bool)
    liver[10:] = True
    result = propagate(stack, [ANCHOR], pool, SETTINGS, limits=Limits(liver))
    assert min(result.reached) == 10
    assert encoded_again(pool, stack, result, limits=Limits(liver.copy()))[0] == 0
    other = liver[::-1].copy()
    assert other.sum() == liver.sum()
    again, second = encoded_again(pool, stack, result, limits=Limits(other))
    assert again > 0 and (min(second.reached), max(second.reached)) == (8, 19)


def test_other_weights_of_the_same_name_keep_nothing_of_it(first):
    pool, stack, result = first
    pool.network.model.sha256 = "1" * 64
    again, second = encoded_again(pool, stack, result)
    assert again == WHOLE
    assert [model["sha256"] for model in second.provenance["models"]] == ["1" * 64]


def test_without_its_weights_nothing_is_reused_and_the_error_says_so(first):
    pool, stack, result = first

    def gone(model):
        raise ModelError(f"'{model}' is gone; choose it again.")

    pool.predictor = gone
    with pytest.raises(ModelError, match="choose it again"):
        propagate(stack, [ANCHOR], pool, SETTINGS, previous=result)


@pytest.mark.parametrize("gap", [None, 13])
def test_between_anchors_without_reconciling_an_unchanged_run_does_nothing_again(gap):
    inside = BALL & (np.arange(len(BALL)) != gap)[:, None, None]
    pool, stack, rules = DarkPool(), stack_of(phantom_of(inside)), PropagationRules(reconcile=False)
    anchors = [Anchor(10, box_around(BALL[10])), Anchor(18, box_around(BALL[18]))]
    first = propagate(stack, anchors, pool, SETTINGS, rules)
    assert set(range(8, 23)) - set(first.reached) == ({gap} if gap else set())
    second = first
    for _ in range(2):
        again, second = encoded_again(pool, stack, second, anchors, rules=rules)
        assert again == 0
        assert second.slices.keys() == first.slices.keys()
        assert all(second.slices[n] is first.slices[n] for n in first.slices)


def test_after_a_corrected_slice_only_the_slices_beyond_are_recomputed():
    stack, anchor = stack_of(phantom_of(BALL)), ANCHOR
    pool, rules = DarkPool(), PropagationRules(reconcile=False)
    first = propagate(stack, [anchor], pool, SETTINGS, rules)
    before = pool.network.embedded
    again = propagate(stack, [anchor], pool, SETTINGS, rules, previous=first)
    assert pool.network.embedded == before, "nothing has changed"
    assert np.array_equal(again.mask().full(), first.mask().full())
    corrected = stack.slice_mask_of(BALL, stack.plane(18)).copy()
    corrected[:, :22] = False
    second = propagate(stack, [anchor, Anchor(18, slice_mask=corrected)], pool, SETTINGS, rules, previous=first)
    # slices 19 to 22, and 23 where it stops; the corrected slice itself was given
    assert pool.network.embedded - before == 5
    for n in range(8, 18):
        assert second.slices[n] is first.slices[n]
    whole = propagate(stack, [anchor, Anchor(18, slice_mask=corrected)], DarkPool(), SETTINGS, rules)
    assert np.array_equal(second.mask().full(), whole.mask().full())


def test_with_reconciling_only_the_direction_back_to_the_anchor_is_added():
    stack, anchor = stack_of(phantom_of(BALL)), ANCHOR
    pool = DarkPool()
    first = propagate(stack, [anchor], pool, SETTINGS)
    before = pool.network.embedded
    corrected = stack.slice_mask_of(BALL, stack.plane(18))
    second = propagate(stack, [anchor, Anchor(18, slice_mask=corrected)], pool, SETTINGS, previous=first)
    # 16 and 17 on the way back, 19 to 23 beyond
    assert pool.network.embedded - before == 7
    assert {n: second.slices[n].source for n in (16, 17)} == {16: "between", 17: "between"}
    assert all(second.slices[n] is first.slices[n] for n in range(8, 16))


def test_other_settings_or_rules_reuse_nothing_of_the_previous_result():
    stack, anchor = stack_of(phantom_of(BALL)), ANCHOR
    pool = DarkPool()
    first = propagate(stack, [anchor], pool, SETTINGS)
    before = pool.network.embedded
    propagate(stack, [anchor], pool, SETTINGS, PropagationRules(sigma_mm=2.0), previous=first)
    assert pool.network.embedded == 2 * before


def test_cancel_keeps_the_finished_slices_and_continuing_gives_the_same():
    stack, anchor = stack_of(phantom_of(BALL)), ANCHOR
    pool = DarkPool()
    cancelled = propagate(stack, [anchor], pool, SETTINGS, cancel=lambda: pool.network.embedded >= 6)
    assert cancelled.cancelled
    assert cancelled.provenance["cancelled"]
    assert cancelled.notes == ("Cancelled; the slices done until then are kept.",)
    assert cancelled.reached == (10, 11, 12, 13, 14, 15)
    assert cancelled.stops[-1].kind == "cancelled"
    whole = propagate(stack, [anchor], DarkPool(), SETTINGS)
    before = pool.network.embedded
    resumed = propagate(stack, [anchor], pool, SETTINGS, previous=cancelled)
    assert not resumed.cancelled
    assert resumed.reached == whole.reached
    for n in range(8, 23):
        assert np.array_equal(resumed.slices[n].probabilities, whole.slices[n].probabilities), n
    # 8 and 9 are left below, with 7 where it stops, and 16 to 23 above
    assert pool.network.embedded - before == 11


def test_continuing_starts_from_the_last_slice_not_from_the_anchor():
    # a disc of radius 4 that moves by 1.5 pixels a slice: 9 pixels in six slices, out of the anchor's reach
    volume, inside = ladder([4] * 12, centers=[(20, 12 + 1.5 * n) for n in range(12)])
    stack, pool = PlaneStack(volume, "axial"), DarkPool()
    anchor = Anchor(5, box_around(stack.slice_mask_of(inside, stack.plane(5))))
    cancelled = propagate(stack, [anchor], pool, SETTINGS, cancel=lambda: pool.network.embedded >= 8)
    assert cancelled.reached == tuple(range(5, 12))
    resumed = propagate(stack, [anchor], pool, SETTINGS, previous=cancelled)
    assert resumed.reached == tuple(range(5, 17))
