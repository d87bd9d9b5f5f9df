"""TinyViT-5M as the image encoder of MobileSAM and LiteMedSAM, which segment_anything does not have.

The architecture is from Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision
Transformers", ECCV 2022, changed to SAM's embedding by Zhang et al., "Faster Segment Anything"
(MobileSAM), arXiv 2306.14289, and to 256-pixel input by MedSAM's LiteMedSAM. Written for this project;
the parameter names are those of the published files, so that both load strictly.

The published weights were trained without dropout and stochastic depth, so there are none here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_DIMENSIONS = (64, 128, 160, 320)
_DEPTHS = (2, 2, 6, 2)
_HEADS = (2, 4, 5, 10)
_WINDOWS = (7, 7, 14, 7)
_EXPANSION = 4
_OUT_CHANNELS = 256


class _Variant(NamedTuple):
    input_size: int
    stem_kernel: int
    stem_stride: int
    classifier: bool


# Both stems hand 256 x 256 positions to the first stage, and both encoders end at 64 x 64.
_VARIANTS = {
    "mobile-sam": _Variant(1024, 3, 2, True),
    "lite-medsam": _Variant(256, 1, 1, False),
}


class TinyViT(nn.Module):
    """The image encoder: images (b, 3, size, size) to embeddings (b, 256, 64, 64), both float32.

    >>> encoder = TinyViT("lite-medsam").eval()
    >>> encoder(torch.zeros(1, 3, 256, 256)).shape
    torch.Size([1, 256, 64, 64])

    :param variant: "mobile-sam" (input 1024 x 1024) or "lite-medsam" (input 256 x 256).
    :raises ValueError: the variant is neither, or `forward` gets images of another shape.
    """

    def __init__(self, variant: str) -> None:
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"'{variant}' is not a TinyViT variant; there are {', '.join(_VARIANTS)}.")
        settings = _VARIANTS[variant]
        self.variant = variant
        self.input_size = settings.input_size
        self.patch_embed = _Stem(settings.stem_kernel, settings.stem_stride)
        self.layers = nn.ModuleList(_Stage(n) for n in range(len(_DEPTHS)))
        if settings.classifier:
            # The ImageNet classifier is in MobileSAM's file but no part of the embedding.
            self.norm_head = nn.LayerNorm(_DIMENSIONS[-1])
            self.head = nn.Linear(_DIMENSIONS[-1], 1000)
        self.neck = nn.Sequential(
            nn.Conv2d(_DIMENSIONS[-1], _OUT_CHANNELS, 1, bias=False),
            _ChannelNorm(_OUT_CHANNELS, eps=1e-6),
            nn.Conv2d(_OUT_CHANNELS, _OUT_CHANNELS, 3, padding=1, bias=False),
            _ChannelNorm(_OUT_CHANNELS, eps=1e-6),
        )

    def forward(self, images: Tensor) -> Tensor:
        size = self.input_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(f"{self.variant} encodes images (b, 3, {size}, {size}), not {tuple(images.shape)}.")
        # With the channels last in memory, convolution and attention read the same tensor without a copy.
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        for layer in self.layers:
            x = layer(x)
        return self.neck(x).contiguous()


class _ConvNorm(nn.Sequential):
    """Convolution without bias, then batch normalization: (b, c, h, w) to (b, c', h', w')."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.bn.training:
            return super().forward(x)
        # With fixed statistics the normalization is one factor and one offset per channel. Folded into
        # the weights, it costs no pass over the image; folding anew each time costs next to nothing
        # and keeps the gradients of both.
        factor = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        offset = self.bn.bias - self.bn.running_mean * factor
        weight = self.c.weight * factor[:, None, None, None]
        return F.conv2d(x, weight, offset, self.c.stride, self.c.padding, self.c.dilation, self.c.groups)


class _ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of (b, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Stem(nn.Module):
    """Two convolutions: (b, 3, size, size) to (b, 64, 256, 256)."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        half = _DIMENSIONS[0] // 2
        self.seq = nn.Sequential(
            _ConvNorm(3, half, kernel, stride), nn.GELU(), _ConvNorm(half, _DIMENSIONS[0], kernel, stride)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.seq(images)


class _Stage(nn.Module):
    """One of the four stages, and but for the last the step down to the next one's size."""

    def __init__(self, number: int) -> None:
        super().__init__()
        dim = _DIMENSIONS[number]
        if number == 0:
            self.blocks = nn.ModuleList(_ConvBlock(dim) for _ in range(_DEPTHS[number]))
        else:
            heads, window = _HEADS[number], _WINDOWS[number]
            self.blocks = nn.ModuleList(_AttentionBlock(dim, heads, window) for _ in range(_DEPTHS[number]))
        last = len(_DIMENSIONS) - 1
        self.downsample = None
        if number < last:
            # SAM wants 64 x 64 positions, so the step into the last stage does not halve them again.
            self.downsample = _Merge(dim, _DIMENSIONS[number + 1], 1 if number + 1 == last else 2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _Merge(nn.Module):
    """Between stages: (b, c, h, w) to (b, c', h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(inputs, outputs, 1)
        self.conv2 = _ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = _ConvNorm(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class _ConvBlock(nn.Module):
    """Inverted bottleneck (MBConv) with a residual, shape unchanged."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim * _EXPANSION
        self.conv1 = _ConvNorm(dim, hidden, 1)
        self.conv2 = _ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = _ConvNorm(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class _AttentionBlock(nn.Module):
    """Attention within windows, a depthwise convolution across them, then an MLP; (b, c, h, w) unchanged."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(dim, heads, window)
        self.mlp = _Mlp(dim)
        self.local_conv = _ConvNorm(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self._attend(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)

    def _attend(self, tokens: Tensor) -> Tensor:
        """Attention of (b, h, w, c) within its windows; zeros fill the last row and column of them."""
        b, h, w, c = tokens.shape
        size = self.window
        padded = F.pad(tokens, (0, 0, 0, -w % size, 0, -h % size))
        rows, columns = padded.shape[1] // size, padded.shape[2] // size
        windows = padded.reshape(b, rows, size, columns, size, c).transpose(2, 3).reshape(-1, size * size, c)
        attended = self.attn(windows).reshape(b, rows, columns, size, size, c).transpose(2, 3)
        return attended.reshape(b, rows * size, columns * size, c)[:, :h, :w]


class _Attention(nn.Module):
    """Multi-head self-attention with a learned bias for each distance between two positions of a window.

    Windows (n, size * size, c) to the same shape.
    """

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
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias())
        return self.proj(mixed.transpose(1, 2).reshape(n, positions, dim))

    def train(self, mode: bool = True) -> _Attention:
        self._cached_bias = None
        return super().train(mode)

    def _apply(self, *args, **kwargs) -> _Attention:
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


def _forget_bias(module: _Attention, _keys: object) -> None:
    module._cached_bias = None


class _Mlp(nn.Module):
    """Normalization and two linear layers over the last axis, shape unchanged."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * _EXPANSION)
        self.fc2 = nn.Linear(dim * _EXPANSION, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(tokens))))
