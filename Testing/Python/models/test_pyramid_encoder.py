"""The bundled model's image encoder: shapes, cost, folding, and that every part of it learns."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from SAMLiverTumorLib.models.networks.pyramid_encoder import ImageFeatures, PyramidEncoder


@pytest.fixture
def encoder() -> PyramidEncoder:
    """With random weights, and statistics as after some training."""
    torch.manual_seed(0)
    encoder = PyramidEncoder()
    for part in encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2.0)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.uniform_(-0.5, 0.5)
    return encoder.eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(1))


def test_a_whole_slice_costs_at_most_ten_gflop_and_gives_sams_embedding(encoder):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = encoder.features(torch.zeros(1, 3, 512, 512))
    assert counter.get_total_flops() <= 10e9
    assert [tuple(part.shape) for part in features] == [(1, 256, 64, 64), (1, 32, 128, 128), (1, 16, 256, 256)]


def test_a_part_of_a_slice_keeps_the_strides(encoder, images):
    with torch.no_grad():
        features = encoder.features(images)
    assert [tuple(part.shape) for part in features] == [(2, 256, 16, 12), (2, 32, 32, 24), (2, 16, 64, 48)]


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 40)])
def test_other_shapes_are_refused(encoder, shape):
    with pytest.raises(ValueError, match="multiple of 32"):
        encoder(torch.zeros(shape))


def test_an_image_gives_the_same_alone_and_in_a_batch(encoder, images):
    with torch.no_grad():
        together = encoder.features(images)
        for number in range(len(images)):
            alone = encoder.features(images[number : number + 1])
            for one, all_ in zip(alone, together, strict=True):
                torch.testing.assert_close(one[0], all_[number], atol=1e-4, rtol=1e-4)


def test_folding_the_normalizations_changes_nothing_but_rounding(encoder, images):
    with torch.no_grad():
        before = encoder.features(images)
        after = encoder.fold().features(images)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in encoder.modules())
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_every_weight_learns(encoder, images):
    encoder.train()
    sum(part.square().mean() for part in encoder.features(images)).backward()
    still = [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_the_neighbor_slices_are_seen(encoder, images):
    other = images.clone()
    other[:, 0] += 1.0
    with torch.no_grad():
        assert not torch.allclose(encoder.features(images).embedding, encoder.features(other).embedding, atol=1e-2)


def test_what_is_packed_for_keeping_comes_out_as_it_was(encoder, images):
    with torch.no_grad():
        features, packed = encoder.features(images), encoder(images)
    assert packed.shape == (2, 640, 16, 12)
    for one, other in zip(features, ImageFeatures.unpacked(packed), strict=True):
        assert torch.equal(one, other)
