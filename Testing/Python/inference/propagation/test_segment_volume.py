"""What prompts on a volume mean when a tumor is propagated through it, with a network that segments dark pixels."""

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, dice, phantom_of, ras_of

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.segment_volume import segment_volume
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.prompts import Box, Prompts

BALL = ball()
VOLUME = phantom_of(BALL)
STACK = PlaneStack(VOLUME, "axial")


def box(first, last, margin=11):
    """A box around the ball's center from slice `first` to `last`."""
    return Box.from_corners(
        ras_of(VOLUME, first, 20 - margin, 22 - margin), ras_of(VOLUME, last, 20 + margin, 22 + margin)
    )


def test_a_flat_box_prompts_its_slice_and_the_tumor_is_propagated_to_its_ends():
    result = segment_volume(STACK, Prompts(box=box(13, 13)), DarkPool(), SETTINGS)
    assert [a.index for a in result.anchors] == [13]
    assert dice(result.mask().full(), BALL) > 0.99
    assert result.provenance["prompts"]["box"]["size"][2] == 0


def test_a_box_through_slices_prompts_its_middle_and_the_tumor_ends_at_its_faces():
    result = segment_volume(STACK, Prompts(box=box(12, 18)), DarkPool(), SETTINGS)
    assert [a.index for a in result.anchors] == [15]
    assert result.reached == tuple(range(12, 19))
    assert {stop.kind for stop in result.stops} == {"roi"}


def test_the_first_point_starts_and_points_elsewhere_correct():
    include = [ras_of(VOLUME, 15, 20, 22), ras_of(VOLUME, 18, 20, 22)]
    pool = DarkPool("mobile-sam")
    result = segment_volume(STACK, Prompts(include, [ras_of(VOLUME, 11, 20, 22)]), pool, SETTINGS)
    assert result.reached == tuple(range(12, 23))
    assert [a.index for a in result.anchors] == [11, 15, 18]
    assert result.slices[11].result.pixels == 0


def test_outlined_slices_start_and_are_kept():
    drawn = BALL & np.isin(np.arange(30), (12, 17))[:, None, None]
    drawn[12, 20, 22] = False
    result = segment_volume(STACK, Prompts(), DarkPool(), SETTINGS, start=Mask.from_array(drawn, VOLUME))
    mask = result.mask().full()
    assert np.array_equal(mask[[12, 17]], drawn[[12, 17]])
    assert dice(mask, BALL) > 0.99


def test_it_stays_in_the_liver():
    liver = np.zeros(BALL.shape, bool)
    liver[10:] = True
    result = segment_volume(STACK, Prompts(box=box(15, 15)), DarkPool(), SETTINGS, liver=liver)
    assert result.reached[0] == 10
    assert result.stops[0].kind == "liver"


def test_progress_and_cancel_reach_through_corrections():
    steps, pool = [], DarkPool()
    prompts = Prompts([ras_of(VOLUME, 18, 20, 22)], box=box(15, 15))
    whole = segment_volume(STACK, prompts, pool, SETTINGS, progress=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    cancelled = segment_volume(STACK, prompts, DarkPool(), SETTINGS, cancel=lambda: True)
    assert cancelled.cancelled
    assert cancelled.provenance["cancelled"]
    assert cancelled.mask().count < whole.mask().count


def test_prompts_without_an_include_point_or_a_box_are_refused():
    for prompts, text in (
        (Prompts(), "no prompts"),
        (Prompts(exclude=[ras_of(VOLUME, 15, 20, 22)]), "Exclude points alone"),
    ):
        with pytest.raises(PromptError, match=text):
            segment_volume(STACK, prompts, DarkPool(), SETTINGS)
