"""`SegmentationRequest` and `run_request`: what each mode takes, gives and refuses; the network marks what is dark."""

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, dice, phantom_of, ras_of

from SAMLiverTumorLib.errors import Cancelled, InputError, PromptError
from SAMLiverTumorLib.inference import Box, Ensemble, Prompts, SegmentationRequest, Settings, run_request
from SAMLiverTumorLib.mask import Mask

TUMOR = ball()
VOLUME = phantom_of(TUMOR)
# on the ball's middle slice, two pixels outside of it
PROMPTS = Prompts(box=Box.from_corners(ras_of(VOLUME, 15, 9, 11), ras_of(VOLUME, 15, 31, 33)))


def test_slices_are_the_prompted_ones_alone():
    result = run_request(VOLUME, SegmentationRequest(prompts=PROMPTS, settings=SETTINGS), DarkPool())
    assert np.array_equal(result.mask.full(), TUMOR & (np.indices(TUMOR.shape)[0] == 15))
    assert [(s.index, s.pixels, s.source) for s in result.slices] == [(15, np.count_nonzero(TUMOR[15]), None)]
    assert (result.slices_seen, result.cancelled, result.stops) == (1, False, ())
    assert result.probability is result.uncertainty is result.next_best_slice is result.lesions is None


def test_a_volume_comes_with_stops_maps_and_the_next_best_slice():
    counted = []
    request = SegmentationRequest("volume", PROMPTS, settings=SETTINGS, ensemble=Ensemble(("coronal",)))
    result = run_request(VOLUME, request, DarkPool(), progress=lambda *step: counted.append(step))
    assert dice(result.mask.full(), TUMOR) > 0.9
    assert {stop.direction for stop in result.stops} == {"up", "down"}
    assert [each["orientation"] for each in result.passes] == ["axial", "coronal"]
    assert np.array_equal(result.probability.inside().full(), result.mask.full())
    assert result.uncertainty.array.shape == result.probability.array.shape
    assert result.next_best_slice.index != 15, "slice 15 is prompted already"
    assert {s.index: s.source for s in result.slices}[15] == "anchor"
    assert result.slices_seen == len(result.slices)
    assert [done for done, _ in counted] == list(range(1, len(counted) + 1)), "the passes count on"
    assert len(counted) > len(result.slices)


def test_cancel_keeps_what_is_done_of_a_volume_and_nothing_of_slices():
    pool = DarkPool()

    def cancel():
        return pool.calls > 3

    result = run_request(VOLUME, SegmentationRequest("volume", PROMPTS, settings=SETTINGS), pool, cancel=cancel)
    assert result.cancelled and result.mask.count
    for mode in ("slices", "volume"):
        with pytest.raises(Cancelled):
            run_request(VOLUME, SegmentationRequest(mode, PROMPTS), DarkPool(), cancel=lambda: True)


@pytest.mark.parametrize("mode", ["slices", "volume"])
def test_a_network_that_marks_nothing_is_an_error_not_an_empty_mask(mode):
    healthy = phantom_of(np.zeros_like(TUMOR))
    with pytest.raises(PromptError, match="marked no voxel"):
        run_request(healthy, SegmentationRequest(mode, PROMPTS, settings=SETTINGS), DarkPool())


LIVER = np.ones(TUMOR.shape, bool)
START = Mask.from_array(TUMOR, VOLUME)


@pytest.mark.parametrize(
    ("mode", "given", "name"),
    [
        ("slices", {"liver": LIVER}, "liver"),
        ("slices", {"start": START}, "start"),
        ("slices", {"direction": "up"}, "direction"),
        ("slices", {"ensemble": Ensemble(("coronal",))}, "ensemble"),
        ("text", {"prompts": PROMPTS}, "prompts"),
        ("text", {"start": START}, "start"),
        ("text", {"settings": Settings(orientation="coronal")}, "orientation"),
    ],
)
def test_what_a_mode_has_no_use_for_is_refused(mode, given, name):
    with pytest.raises(InputError, match=f"Mode '{mode}' has no use for '{name}'"):
        SegmentationRequest(mode, **given)


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="Unknown mode 'slice'; choose one of slices, volume, text"):
        SegmentationRequest("slice")
