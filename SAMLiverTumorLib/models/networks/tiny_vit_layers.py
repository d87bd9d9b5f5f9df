"""The layers that TinyViT's stages are built of; `tiny_vit.py` says where they are from."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from SAMLiverTumorLib.models.networks.row_bands import gelu_in_place, worth_bands

EXPANSION = 4

# Tokens that an MLP takes at a time on the CPU; see `row_bands.py`. Measured best among 256 to 4096.
_TOKENS = 1024


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch normalization: (b, c, h, w) to (b, c', h', w')."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.bn.training:
            return super().forward(x)
        weight, offset = self.folded()
        return F.conv2d(x, weight, offset, self.c.stride, self.c.padding, self.c.dilation, self.c.groups)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that both layers are while the statistics are fixed.

        The normalization is then one factor and one offset per channel. Folded into the weights, it costs no
        pass over the image; folding anew each time costs next to nothing and keeps the gradients of both.
        """
        mean, variance = self.bn.running_mean, self.bn.running_var
        assert mean is not None and variance is not None, "statistics are kept"
        factor = self.bn.weight * torch.rsqrt(variance + self.bn.eps)
        offset = self.bn.bias - mean * factor
        return self.c.weight * factor[:, None, None, None], offset

    def folded_linear(self) -> tuple[Tensor, Tensor]:
        """As `folded` for a 1 x 1 convolution of tokens with the channels last: weight (c', c) and bias."""
        weight, offset = self.folded()
        return weight[:, :, 0, 0], offset


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of (b, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with a learned bias for each distance between two positions of a window.

    Windows (n, size * size, c) to the same shape.
    """

    _bias_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        # One value per head and distance (rows apart, columns apart), row by row.
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        # The device is named so that an encoder built on the meta device has true indices too.
        step = torch.arange(window, device="cpu")
        apart = (step[:, None] - step[None, :]).abs()
        index = apart[:, None, :, None] * window + apart[None, :, None, :]
        self.register_buffer("_bias_index", index.reshape(window**2, window**2), persistent=False)
        self._cached_bias: Tensor | None = None
        self.register_load_state_dict_post_hook(_forget_bias)

    def forward(self, windows: Tensor) -> Tensor:
        n, positions, dim = windows.shape
        # Along the last axis lie, head by head, that head's query, key and value.
        qkv = self.qkv(self.norm(windows)).reshape(n, positions, self.heads, -1).transpose(1, 2)
        query, key, value = qkv.chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias().to(query.dtype))
        return self.proj(mixed.transpose(1, 2).reshape(n, positions, dim))

    def train(self, mode: bool = True) -> Attention:
        self._cached_bias = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Attention:
        # the way of .to(), .cuda() and .half(): the weights move or change type
        self._cached_bias = None
        return super()._apply(*args, **kwargs)

    def _bias(self) -> Tensor:
        """The biases spread out to (1, heads, positions, positions).

        They are kept while the weights are frozen; weights that can learn change without notice. PyTorch's
        fused attention on the CPU takes a bias of four dimensions only; with three it falls back to the
        plain one, and the encoder takes a quarter longer.
        """
        if self.training or self.attention_biases.requires_grad:
            self._cached_bias = None
            return self.attention_biases[None, :, self._bias_index]
        if self._cached_bias is None:
            # Made outside inference mode, else a later pass with gradients could not use it.
            with torch.inference_mode(False):
                self._cached_bias = self.attention_biases[None, :, self._bias_index]
        return self._cached_bias


def _forget_bias(module: Attention, _keys: object) -> None:
    module._cached_bias = None


class Mlp(nn.Module):
    """Normalization and two linear layers over the last axis, shape unchanged."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * EXPANSION)
        self.fc2 = nn.Linear(dim * EXPANSION, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        if not worth_bands(tokens, self.training):
            return self.fc2(F.gelu(self.fc1(self.norm(tokens))))
        parts = tokens.reshape(-1, tokens.shape[-1]).split(_TOKENS)
        parts = [self.fc2(gelu_in_place(self.fc1(self.norm(part)))) for part in parts]
        return torch.cat(parts).reshape(tokens.shape)
