"""The reordered decoder against segment_anything's own, and what it keeps of a slice image."""

import numpy as np
import pytest
import torch
from torch import nn

from SAMLiverTumorLib.inference.decoder import Decoder
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.prompts import PlanePrompts


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """An embedding of a real one's shape and magnitude."""
    noise = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(noise, (64, 64), mode="bilinear")


@pytest.fixture(scope="module")
def decoder(mobile_sam) -> Decoder:
    return Decoder(mobile_sam.prompt_encoder, mobile_sam.mask_decoder)


BOXES = torch.tensor([[100.0, 120.0, 300.0, 290.0], [500.0, 400.0, 900.0, 600.0]])
POINTS = (torch.tensor([[[200.0, 210.0], [90.0, 700.0]]]), torch.tensor([[1, 0]]))
MASK = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("points", "boxes", "masks", "ambiguous"),
    [
        (None, BOXES[:1], None, False),
        (None, BOXES, None, False),
        (POINTS, None, None, True),
        (POINTS, BOXES[:1], None, False),
        (POINTS, BOXES[:1], MASK, False),
    ],
    ids=["box", "two boxes", "points", "points and box", "points, box and mask"],
)
@torch.inference_mode()
def test_logits_and_scores_are_those_of_segment_anythings_decoder(
    decoder, mobile_sam, features, points, boxes, masks, ambiguous
):
    sparse, dense = mobile_sam.prompt_encoder(points=points, boxes=boxes, masks=masks)
    place = mobile_sam.prompt_encoder.get_dense_pe()
    expected, scores = mobile_sam.mask_decoder(features, place, sparse, dense, multimask_output=ambiguous)
    logits, iou = decoder.decode(decoder.image_side(features), points, boxes, masks, ambiguous)
    assert expected.abs().max() > 3
    assert (logits - expected).abs().max() <= 1e-3
    assert (iou - scores).abs().max() <= 1e-4


@torch.inference_mode()
def test_a_slice_image_prompted_again_gives_the_same_mask(decoder, features):
    image = decoder.image_side(features)
    first, _ = decoder.decode(image, None, BOXES[:1], None, False)
    decoder.decode(image, None, BOXES[1:], None, False)
    again, _ = decoder.decode(image, None, BOXES[:1], None, False)
    assert torch.equal(first, again)


class Adapted(nn.Module):
    """A linear layer wrapped in another module, as by adapters."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, x):
        return 1.5 * self.base(x)


def test_replaced_layers_run_unmodified(mobile_sam, features):
    attention = mobile_sam.mask_decoder.transformer.final_attn_token_to_image
    decoder = Decoder(mobile_sam.prompt_encoder, mobile_sam.mask_decoder)
    with torch.inference_mode():
        image = decoder.image_side(features)
        before, _ = decoder.decode(image, None, BOXES[:1], None, False)
    plain = attention.k_proj
    attention.k_proj = Adapted(plain)
    try:
        with torch.inference_mode():
            after, _ = decoder.decode(image, None, BOXES[:1], None, False)
            sparse, dense = mobile_sam.prompt_encoder(points=None, boxes=BOXES[:1], masks=None)
            place = mobile_sam.prompt_encoder.get_dense_pe()
            expected, _ = mobile_sam.mask_decoder(features, place, sparse, dense, multimask_output=False)
    finally:
        attention.k_proj = plain
    assert (after - expected).abs().max() <= 1e-4
    assert (after - before).abs().max() > 1e-2


def test_prompts_decoded_together_give_the_same_as_alone_and_in_order(pool):
    predictor = pool.predictor("mobile-sam")
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    embedding = predictor.embed(rgb, (1.0, 1.0))
    batch = [
        PlanePrompts(box=(10, 10, 30, 40)),
        PlanePrompts([(20, 30)], [1]),
        PlanePrompts(box=(40, 5, 60, 25)),
        PlanePrompts([(50, 12), (3, 3)], [1, 0]),
        PlanePrompts([(5, 50)], [1]),
    ]
    together = predictor.predict_batch(embedding, batch)
    assert len(together) == len(batch)
    for prompts, prediction in zip(batch, together, strict=True):
        alone = predictor.predict(embedding, prompts)
        assert np.abs(prediction.logits - alone.logits).max() <= 1e-3
        assert prediction.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-5)
    assert predictor.predict_batch(embedding, []) == []


def test_the_decoders_input_is_made_once_for_a_slice_image(mobile_sam, monkeypatch):
    predictor = Predictor(mobile_sam)
    made = []
    original = predictor._decoder.image_side
    monkeypatch.setattr(predictor._decoder, "image_side", lambda *args: made.append(1) or original(*args))
    embedding = predictor.embed(np.zeros((8, 8, 3), np.uint8), (1.0, 1.0))
    for _ in range(3):
        predictor.predict(embedding, PlanePrompts(box=(1, 1, 5, 5)))
    assert made == [1]
