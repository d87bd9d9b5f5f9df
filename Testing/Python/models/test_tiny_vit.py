"""TinyViT against the reference implementations with the published weights; `Testing/Data/README.md` says how."""

import numpy as np
import pytest
import torch
from random_weights import random_state
from reference_images import formula_image, slice_image

from SAMLiverTumorLib.models.networks.tiny_vit import TinyViT

IMAGES = {"formula": formula_image, "slice": slice_image}


@pytest.fixture
def encoder() -> TinyViT:
    """LiteMedSAM's encoder with random weights."""
    prefix = "image_encoder."
    state = random_state("tiny_vit", input_size=256)
    encoder = TinyViT("lite-medsam")
    encoder.load_state_dict({name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)})
    return encoder


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.from_numpy(slice_image("lite-medsam"))[None]


@pytest.mark.parametrize("variant", ["lite-medsam", "mobile-sam"])
def test_published_weights_give_the_embeddings_of_the_reference_implementation(variant, root, request):
    encoder = request.getfixturevalue(variant.replace("-", "_")).image_encoder
    with np.load(root / "Testing" / "Data" / f"embedding-{variant}.npz") as reference:
        for kind, make in IMAGES.items():
            with torch.inference_mode():
                embedding = encoder(torch.from_numpy(make(variant))[None]).numpy()
            assert embedding.shape == (1, 256, 64, 64) and embedding.dtype == np.float32
            assert np.abs(embedding[0, 3::8, 1::4, 2::4] - reference[f"{kind}_subset"]).max() <= 1e-4
            # the rest of the embedding, channel by channel
            assert np.abs(embedding[0].mean(axis=(1, 2)) - reference[f"{kind}_mean"]).max() <= 1e-4
            assert np.abs(embedding[0].std(axis=(1, 2)) - reference[f"{kind}_std"]).max() <= 1e-4


@torch.inference_mode()
def test_images_of_a_batch_do_not_influence_each_other(lite_medsam):
    images = torch.from_numpy(np.stack([make("lite-medsam") for make in IMAGES.values()]))
    together = lite_medsam.image_encoder(images)
    for image, embedding in zip(images, together, strict=True):
        assert (lite_medsam.image_encoder(image[None])[0] - embedding).abs().max() <= 1e-5
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_every_parameter_that_has_a_part_in_the_embedding(encoder, image, training):
    encoder.train(training)
    encoder(image).square().mean().backward()
    without = [
        name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert without == []


def test_the_unused_classifier_of_mobile_sam_gets_no_gradient():
    with torch.device("meta"):
        encoder = TinyViT("mobile-sam")
    unused = {name for name, _ in encoder.named_parameters() if "head" in name.split(".")[0]}
    assert unused == {"norm_head.weight", "norm_head.bias", "head.weight", "head.bias"}


def test_statistics_of_the_training_images_count_in_training_and_not_in_evaluation(encoder, image):
    before = encoder.patch_embed.seq[0].bn.running_mean.clone()
    with torch.no_grad():
        fixed = encoder.eval()(image)
        assert torch.equal(encoder.patch_embed.seq[0].bn.running_mean, before)
        trained = encoder.train()(image)
    assert not torch.equal(encoder.patch_embed.seq[0].bn.running_mean, before)
    assert (trained - fixed).abs().max() > 1e-3


@torch.no_grad()
def test_new_attention_biases_count_at_once(encoder, image):
    encoder.eval().requires_grad_(False)
    bias = encoder.layers[1].blocks[0].attn.attention_biases
    first = encoder(image)
    state = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    state["layers.1.blocks.0.attn.attention_biases"][:, 1] += 5
    encoder.load_state_dict(state)
    second = encoder(image)
    assert (second - first).abs().max() > 1e-4

    # fine-tuning in evaluation mode: an optimizer's step between two passes
    encoder.requires_grad_(True)
    encoder(image)
    bias[:, 1] -= 5
    encoder.requires_grad_(False)
    assert (encoder(image) - first).abs().max() <= 1e-5


def test_a_pass_without_gradients_does_not_forbid_one_with_them(encoder, image):
    encoder.eval().requires_grad_(False)
    with torch.inference_mode():
        encoder(image)
    image = image.clone().requires_grad_()
    encoder(image).sum().backward()
    assert image.grad.abs().sum() > 0


def test_other_variants_and_image_sizes_are_refused(encoder):
    with pytest.raises(ValueError, match="mobile-sam, lite-medsam"):
        TinyViT("tiny")
    with pytest.raises(ValueError, match=r"\(b, 3, 256, 256\), not \(1, 3, 1024, 1024\)"):
        encoder(torch.zeros(1, 3, 1024, 1024))
