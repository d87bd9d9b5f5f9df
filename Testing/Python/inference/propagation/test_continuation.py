"""What a propagation takes over from an earlier one: everything that would come out the same, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, box_around, phantom_of

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.volume import Volume

BALL = ball()
ANCHOR = Anchor(15, box_around(BALL[15]))
# anchor, slices 8 to 22 but for it, and 7 and 23 where it ends
WHOLE = 17


def encoded_again(pool, stack, previous, anchors=(ANCHOR,), **options):
    """Slices that the network looked at for a second propagation, and that one."""
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


def test_weights_that_are_gone_keep_nothing_and_say_so_where_they_are_needed(first):
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
