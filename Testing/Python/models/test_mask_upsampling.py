"""From image tokens to logits: shapes, smoothness, and that single prompts and batches agree."""

import pytest
import torch

from SAMLiverTumorLib.models.networks.mask_upsampling import MaskUpsampling


@pytest.fixture
def upsampling() -> MaskUpsampling:
    torch.manual_seed(0)
    return MaskUpsampling().eval()


def _inputs(prompts: int, generator: int = 0) -> tuple[torch.Tensor, ...]:
    drawn = torch.Generator().manual_seed(generator)
    shapes = (prompts, 256, 8, 12), (1, 32, 16, 24), (1, 16, 32, 48), (prompts, 3, 32)
    return tuple(torch.randn(shape, generator=drawn) for shape in shapes)


def test_logits_have_four_times_the_tokens_rows_and_columns(upsampling):
    assert upsampling(*_inputs(2)).shape == (2, 3, 32, 48)


def test_a_prompt_gives_the_same_alone_and_in_a_batch(upsampling):
    tokens, fine, finest, heads = _inputs(3)
    together = upsampling(tokens, fine, finest, heads)
    for number in range(3):
        one = slice(number, number + 1)
        torch.testing.assert_close(upsampling(tokens[one], fine, finest, heads[one])[0], together[number])


def test_even_tokens_give_even_logits_without_a_checkerboard(upsampling):
    """A transposed convolution gives each of its four positions a value of its own even here."""
    tokens = torch.randn(1, 256, 1, 1).expand(1, 256, 8, 8)
    fine, finest = torch.zeros(1, 32, 16, 16), torch.zeros(1, 16, 32, 32)
    with torch.no_grad():
        logits = upsampling(tokens, fine, finest, torch.randn(1, 1, 32))[0, 0]
    inner = logits[4:-4, 4:-4]
    assert float(inner.std()) <= 1e-5 * float(inner.abs().mean())


def test_finer_features_move_the_outline(upsampling):
    tokens, fine, finest, heads = _inputs(1)
    with torch.no_grad():
        logits = upsampling(tokens, fine, finest, heads)
        for changed in ((fine + 1.0, finest), (fine, finest + 1.0)):
            assert not torch.allclose(logits, upsampling(tokens, *changed, heads), atol=1e-3)


def test_every_weight_learns(upsampling):
    upsampling(*_inputs(2)).square().mean().backward()
    still = [name for name, weight in upsampling.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []
