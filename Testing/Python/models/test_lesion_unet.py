"""The network of whole lesions: its shapes, and that its fast path is the same convolution."""

import pytest
import torch

from SAMLiverTumorLib.models.networks.lesion_unet import CHANNELS, LesionUnet


def test_every_multiple_of_its_stride_is_a_crop():
    network = LesionUnet((4, 8, 8, 8, 8))
    assert network.stride == 16
    for side in (32, 48):
        assert network(torch.zeros(2, CHANNELS, side, side, side)).shape == (2, 1, side, side, side)
    for shape in ((1, 5, 40, 40, 40), (1, 4, 32, 32, 32), (5, 32, 32, 32)):
        with pytest.raises(ValueError, match="multiple of 16"):
            network(torch.zeros(shape))


def test_it_has_the_size_that_a_cpu_affords():
    parameters = sum(weight.numel() for weight in LesionUnet().parameters())
    assert 2.0e6 < parameters < 3.0e6


def test_a_single_crop_without_gradients_gives_what_it_gives_with_them():
    torch.manual_seed(1)
    network = LesionUnet((4, 8, 8))
    crop = torch.randn(1, CHANNELS, 16, 16, 16)
    with torch.inference_mode():
        fast = network(crop)
    torch.testing.assert_close(fast, network(crop).detach(), atol=1e-4, rtol=1e-4)


def test_every_weight_learns():
    network = LesionUnet((4, 8, 8))
    network(torch.randn(2, CHANNELS, 16, 16, 16)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.parameters())
