"""The mask of a network for clicks on a corrected slice is taken if it agrees with the clicks and is plausible."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from propagation_case import SETTINGS, DarkPool, ball, phantom_of, ras_of

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.inference.mask_prompts import mask_prompt
from SAMLiverTumorLib.inference.propagation.anchors import Anchor
from SAMLiverTumorLib.inference.propagation.click_corrections import Click, correct
from SAMLiverTumorLib.inference.propagation.network_corrections import NOT_USED
from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
from SAMLiverTumorLib.inference.propagation.propagator import propagate
from SAMLiverTumorLib.inference.propagation.slice_step import Limits
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.volume import Volume

BALL = ball()
HALF = BALL[15].copy()
HALF[:, 24:] = False
CLICKS = replace(get_model("mobile-sam"), id="file:clicks.safetensors")
MODEL = "clicks.safetensors"


class ClickPool(DarkPool):
    """Its network segments dark pixels for a box, and gives the test's mask for clicks."""

    def __init__(self, info=CLICKS, mask=None):
        super().__init__()
        self.network.model = SimpleNamespace(info=info, sha256="0" * 64)
        self.mask, self.loaded, self.clicks = mask, [], []
        self._dark = self.network.predict
        self.network.predict = self._predict

    def predictor(self, model):
        self.loaded.append(model)
        return super().predictor(model)

    def _predict(self, embedding, prompts):
        prediction = self._dark(embedding, prompts)
        if "points" in prompts.kinds:
            self.clicks.append(prompts)
            prediction.mask = self.mask
        return prediction


def corrected(pool, k, j, i, include, start=HALF, model=MODEL, limits=None):
    """Half of the ball on its middle slice, propagated, and corrected by one click."""
    stack = PlaneStack(phantom_of(BALL), "axial")
    settings = replace(SETTINGS, model=model)
    first = propagate(stack, [Anchor(15, slice_mask=start)], pool, settings, limits=limits)
    return correct(first, Click(ras_of(stack.volume, k, j, i), include), pool, settings, limits=limits)


def by_grey_values(*click):
    """The same correction without a network for clicks."""
    return corrected(ClickPool(get_model("lite-medsam")), *click, model="lite-medsam")


def a_little_more():
    """The ball's slice, and a rim that grey values do not support."""
    mask = BALL[15].copy()
    mask[10:12, 20:25] = True
    return mask


def test_the_networks_mask_becomes_the_slice_and_provenance_names_the_network():
    pool = ClickPool(mask=a_little_more())
    result = corrected(pool, 15, 20, 27, True)
    assert np.array_equal(result.slices[15].slice_mask, a_little_more())
    (anchor,) = result.anchors
    assert anchor.model == result.slices[15].result.model == MODEL
    assert [model["id"] for model in result.provenance["models"]] == [CLICKS.id]
    assert result.provenance["anchors"][0]["model"] == MODEL
    assert not np.array_equal(by_grey_values(15, 20, 27, True).slices[15].slice_mask, a_little_more())


def test_it_is_prompted_with_all_clicks_of_the_slice_a_box_and_the_mask_before():
    pool = ClickPool(mask=a_little_more())
    stack, settings = PlaneStack(phantom_of(BALL), "axial"), replace(SETTINGS, model=MODEL)
    first = propagate(stack, [Anchor(15, slice_mask=HALF)], pool, settings)
    second = correct(first, Click(ras_of(stack.volume, 15, 20, 27), True), pool, settings)
    correct(second, Click(ras_of(stack.volume, 15, 12, 22), False), pool, settings)
    one, two = pool.clicks
    assert one.points.tolist() == [[27, 20]] and one.labels.tolist() == [1]
    assert two.points.tolist() == [[27, 20], [22, 12]] and two.labels.tolist() == [1, 0]
    # the ball's slice spans columns 14 to 30; grey values find it whole
    assert one.box[0] <= 13.5 and one.box[2] >= 30.5
    # the slice image of 40 x 44 pixels fills the network's input but for four rows: 256 / 44 logits to a pixel
    inside = one.mask[0] > 0
    assert one.mask.shape == (1, 256, 256)
    assert inside.sum() == pytest.approx(HALF.sum() * (256 / 44) ** 2, rel=0.03)
    assert inside[int(20.5 * 256 / 44), int(18.5 * 256 / 44)] and not inside[int(20.5 * 256 / 44), int(27.5 * 256 / 44)]


def test_a_click_on_an_empty_slice_is_sent_without_a_mask():
    # the ball ends with slice 22: on 23 the user's click alone says that there is tumor
    pool = ClickPool(mask=BALL[22])
    corrected(pool, 23, 20, 22, True, start=BALL[15])
    assert [prompts.kinds for prompts in pool.clicks] == [{"points", "box"}]


@pytest.mark.parametrize("what", ["leaves the click out", "marks everything", "marks next to nothing", "is empty"])
def test_a_mask_that_contradicts_the_click_or_is_implausible_is_not_taken(what):
    whole, disc = np.ones_like(HALF), np.zeros_like(HALF)
    disc[19:22, 26:29] = True
    mask = {
        "leaves the click out": HALF,
        "marks everything": whole,
        "marks next to nothing": disc,
        "is empty": np.zeros_like(HALF),
    }[what]
    pool = ClickPool(mask=mask)
    result, expected = corrected(pool, 15, 20, 27, True), by_grey_values(15, 20, 27, True)
    assert len(pool.clicks) == 1
    assert np.array_equal(result.mask().full(), expected.mask().full())
    assert result.anchors[0].model is None


def test_a_mask_that_keeps_an_excluded_point_is_not_taken():
    pool = ClickPool(mask=BALL[15])
    result = corrected(pool, 15, 20, 29, False, start=BALL[15])
    assert len(pool.clicks) == 1 and not result.slices[15].slice_mask[20, 29]


def test_the_networks_mask_is_clipped_to_the_liver():
    liver = np.zeros(BALL.shape, bool)
    liver[:, 12:] = True
    result = corrected(ClickPool(mask=a_little_more()), 15, 20, 27, True, limits=Limits(liver))
    assert result.anchors[0].model == MODEL
    assert np.array_equal(result.slices[15].slice_mask, a_little_more() & liver[15])


def test_the_network_does_not_run_on_a_slice_that_a_click_leaves_empty():
    pool = ClickPool(mask=BALL[19])
    result = corrected(pool, 19, 20, 22, False, start=BALL[15])
    assert not pool.clicks and not result.slices[19].slice_mask.any()


@pytest.mark.parametrize("model", sorted(NOT_USED))
def test_networks_that_correct_no_better_than_grey_values_are_not_used(model):
    pool = ClickPool(get_model(model), mask=a_little_more())
    result = corrected(pool, 15, 20, 27, True, model=model)
    assert not pool.clicks and result.anchors[0].model is None


def test_auto_loads_no_network_for_clicks_that_is_not_used(monkeypatch):
    from SAMLiverTumorLib.inference.propagation import network_corrections

    monkeypatch.setattr(network_corrections, "NOT_USED", frozenset({"liver-tumor"}))
    pool = ClickPool(get_model("lite-medsam"))
    corrected(pool, 15, 20, 27, True, model="auto")
    assert set(pool.loaded) == {"lite-medsam"}


def test_provenance_names_both_networks_where_another_one_corrects_than_propagates():
    pool = ClickPool(mask=a_little_more())

    def predictor(model):
        pool.network.model.info = get_model(model)
        return pool.network

    pool.predictor = predictor
    result = corrected(pool, 15, 20, 27, True, model="auto")
    assert result.slices[15].result.model == "liver-tumor" and result.slices[16].result.model == "lite-medsam"
    assert {model["id"] for model in result.provenance["models"]} == {"lite-medsam", "liver-tumor"}


def test_without_the_weights_on_this_computer_grey_values_correct():
    pool = ClickPool(get_model("lite-medsam"), mask=a_little_more())
    usual = pool.predictor

    def predictor(model):
        if model == "liver-tumor":
            raise ModelError("not on this computer yet")
        return usual(model)

    pool.predictor = predictor
    result = corrected(pool, 15, 20, 27, True, model="auto")
    assert np.array_equal(result.mask().full(), by_grey_values(15, 20, 27, True).mask().full())


def test_a_mask_prompt_is_aligned_with_the_slice_image_in_the_networks_input():
    # 128 x 256 pixels fill the upper half of the input, one logit to a pixel
    volume = Volume(np.zeros((1, 128, 256), np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]))
    probabilities = np.zeros((128, 256), np.uint8)
    probabilities[30:40, 100:120] = 255
    probabilities[50, 60] = 128
    prompt = mask_prompt(probabilities, slice_plane(volume, "axial", 0), CLICKS)
    assert prompt.shape == (1, 256, 256) and prompt.dtype == np.float32
    assert np.argwhere(prompt[0] > 0).tolist() == np.argwhere(probabilities >= 128).tolist()
    assert prompt[0, 35, 110] == 6.0 and prompt[0, 10, 10] == -6.0 and (prompt[0, 128:] == -6.0).all()
    assert prompt[0, 50, 60] == pytest.approx(np.log(128 / 127), abs=1e-4)
