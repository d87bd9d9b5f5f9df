"""Where a propagation stops, with a network that segments dark pixels: each rule, and the reason reported."""

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, box_around, ladder, ras_of

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.inference.propagation.stopping_rules import PropagationRules
from SAMLiverTumorLib.prompts import Box


def upper_stop(volume, inside, network=None, **options):
    """The upper stop of a propagation from slice 5 upward."""
    stack, pool = PlaneStack(volume, "axial"), DarkPool()
    for name, value in (network or {}).items():
        setattr(pool.network, name, value)
    anchor = Anchor(5, box_around(stack.slice_mask_of(inside, stack.plane(5))))
    result = propagate(stack, [anchor, *options.pop("more", [])], pool, SETTINGS, direction="up", **options)
    (stop,) = result.stops
    assert stop.direction == "up"
    assert result.reached[-1] < stop.index
    return stop.kind, stop.index


def test_it_stops_where_the_tumor_vanishes_jumps_or_fades():
    assert upper_stop(*ladder([8, 8, 8])) == ("vanished", 8)
    # pi 2^2 = 13 to pi 3.4^2 = 37: more than twice the area, within the box's margin
    assert upper_stop(*ladder([2, 2, 3.4]), rules=PropagationRules(margin_mm=3.0)) == ("jumped", 7)
    # 80 against 160 is the anchor's contrast, of which 119 keeps half
    assert upper_stop(*ladder([8, 8, 8], shades=[80, 80, 119]), rules=PropagationRules(least_contrast=0.6)) == (
        "contrast",
        7,
    )
    assert upper_stop(*ladder([8, 8, 8], shades=[80, 80, 119]), rules=PropagationRules(least_confidence=0.95)) == (
        "unsure",
        7,
    )


def test_it_stops_where_the_mask_leaves_the_last_one():
    # a disc of radius 3 whose center moves by 6 pixels: nothing of it lies over the last one
    volume, inside = ladder([3, 3, 3], centers=[(20, 22), (20, 22), (20, 28)])
    assert upper_stop(volume, inside, rules=PropagationRules(margin_mm=8.0)) == ("left", 7)


def test_it_stops_where_the_network_is_unsure():
    volume, inside = ladder([8, 8, 8])
    # logits of 0.4 lie between -1 and 1: no pixel is stable. Grey values do not count here.
    assert upper_stop(volume, inside, {"sharpness": 0.4}, rules=PropagationRules(intensity_weight=0.0)) == (
        "unstable",
        6,
    )


def test_it_stops_at_the_borders_of_liver_box_and_volume():
    volume, inside = ladder([8] * 25)
    liver = np.ones(inside.shape, bool)
    liver[9:] = False
    assert upper_stop(volume, inside, limits=Limits(liver=liver)) == ("liver", 9)
    roi = Box.from_corners(ras_of(volume, 0, 0, 0), ras_of(volume, 11, 39, 43))
    assert upper_stop(volume, inside, limits=Limits(roi=roi)) == ("roi", 12)
    assert upper_stop(volume, inside) == ("edge", 30)


@pytest.mark.parametrize("name", ["margin_mm", "decodes", "most_growth"])
def test_rules_refuse_values_out_of_range(name):
    with pytest.raises(InputError, match="Propagation"):
        PropagationRules(**{name: -1 if name != "most_growth" else 1})
