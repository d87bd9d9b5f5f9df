"""Gradients of the reordered decoder are those of segment_anything's own."""

import pytest
import torch

from SAMLiverTumorLib.inference.decoder import Decoder
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.registry import get_model

POINTS = (torch.tensor([[[60.0, 70.0]], [[180.0, 90.0]]]), torch.ones(2, 1, dtype=torch.int32))
BOXES = torch.tensor([[20.0, 30.0, 90.0, 110.0], [100.0, 50.0, 220.0, 130.0]])
MASKS = torch.randn(2, 1, 256, 256, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def model(store):
    model = load_model(store.path(get_model("lite-medsam")), get_model("lite-medsam"), "cpu")
    model.prompt_encoder.requires_grad_(True)
    model.mask_decoder.requires_grad_(True)
    return model


def named(model):
    return {
        f"{part}.{name}": weight
        for part in ("prompt_encoder", "mask_decoder")
        for name, weight in getattr(model, part).named_parameters()
    }


@pytest.mark.parametrize(
    ("points", "boxes", "masks", "ambiguous"),
    [(POINTS, None, None, True), (POINTS, BOXES, MASKS, False)],
    ids=["a click", "click, box and mask"],
)
def test_gradients_of_all_weights_and_of_the_embedding_are_those_of_segment_anything(
    model, points, boxes, masks, ambiguous
):
    noise = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(3))
    decoder, found = Decoder(model.prompt_encoder, model.mask_decoder), []
    for ours in (False, True):
        features = noise.clone().requires_grad_()
        for weight in named(model).values():
            weight.grad = None
        if ours:
            logits, iou = decoder.decode(decoder.image_side(features), points, boxes, masks, ambiguous)
        else:
            sparse, dense = model.prompt_encoder(points=points, boxes=boxes, masks=masks)
            places = model.prompt_encoder.get_dense_pe()
            logits, iou = model.mask_decoder(features, places, sparse, dense, multimask_output=ambiguous)
        (logits.square().mean() + iou.sum()).backward()
        grads = {name: weight.grad for name, weight in named(model).items() if weight.grad is not None}
        found.append({**grads, "embedding": features.grad, "logits": logits.detach()})
    theirs, ours = found
    largest = max(float(theirs[name].norm()) for name in ours)
    # the keys' biases cancel in the softmax, and unrequested masks have no part in the loss: there their gradients are
    # rounding errors and zeros, and ours are missing
    assert set(ours) <= set(theirs) and len(ours) > 60
    for name in set(theirs) - set(ours):
        assert name.endswith("k_proj.bias") or "output_hypernetworks_mlps" in name, name
        assert float(theirs[name].norm()) <= 1e-5 * largest, name
    for name in ours:
        off = float((ours[name] - theirs[name]).norm())
        assert off <= 1e-3 * float(theirs[name].norm()) + 1e-7 * largest, name
