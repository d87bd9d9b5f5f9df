"""TinyViT-5M as the image encoder of MobileSAM and LiteMedSAM, which segment_anything does not have.

The architecture is from Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision
Transformers", ECCV 2022, changed to SAM's embedding by Zhang et al., "Faster Segment Anything"
(MobileSAM), arXiv 2306.14289, and to 256-pixel input by MedSAM's LiteMedSAM. Written for this project;
the parameter names are those of the published files, so that both load strictly.

The published weights were trained without dropout and stochastic depth, so there are none here.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from SAMLiverTumorLib.models.networks.row_bands import (
    bands,
    convolve_band,
    convolved_size,
    gelu_in_place,
    in_parallel,
    workers,
    worth_bands,
)
from SAMLiverTumorLib.models.networks.tiny_vit_layers import EXPANSION, Attention, ChannelNorm, ConvNorm, Mlp

_DIMENSIONS = (64, 128, 160, 320)
_DEPTHS = (2, 2, 6, 2)
_HEADS = (2, 4, 5, 10)
_WINDOWS = (7, 7, 14, 7)
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
            ChannelNorm(_OUT_CHANNELS, eps=1e-6),
            nn.Conv2d(_OUT_CHANNELS, _OUT_CHANNELS, 3, padding=1, bias=False),
            ChannelNorm(_OUT_CHANNELS, eps=1e-6),
        )

    def forward(self, images: Tensor) -> Tensor:
        size = self.input_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(f"{self.variant} encodes images (b, 3, {size}, {size}), not {tuple(images.shape)}.")
        if not worth_bands(images, self.training):
            return self._encode(images)
        with workers():
            return torch.cat([self._encode(image) for image in images.split(1)])

    def _encode(self, images: Tensor) -> Tensor:
        return self.from_trunk(self.trunk(images))

    def trunk(self, images: Tensor) -> Tensor:
        """All but the last stage and the neck: images (b, 3, size, size) to tokens (b, 320, 64, 64)."""
        # With the channels last in memory, convolution and attention read the same tensor without a copy.
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        for layer in self.layers[:-1]:
            x = layer(x)
        return x

    def from_trunk(self, x: Tensor) -> Tensor:
        """The last stage and the neck: what `trunk` gave to the embedding (b, 256, 64, 64)."""
        return self.neck(self.layers[-1](x)).contiguous()


class _Stem(nn.Module):
    """Two convolutions: (b, 3, size, size) to (b, 64, 256, 256)."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        half = _DIMENSIONS[0] // 2
        self.seq = nn.Sequential(
            ConvNorm(3, half, kernel, stride), nn.GELU(), ConvNorm(half, _DIMENSIONS[0], kernel, stride)
        )

    def forward(self, images: Tensor) -> Tensor:
        if not worth_bands(images, self.training):
            return self.seq(images)
        first, second = cast(ConvNorm, self.seq[0]), cast(ConvNorm, self.seq[2])
        tokens, weights, second_weights = images.permute(0, 2, 3, 1), first.folded(), second.folded()
        rows, between = tokens.shape[1], convolved_size(first.c, tokens.shape[1])

        def middle(start: int, stop: int) -> Tensor:
            band = convolve_band(lambda low, high: tokens[:, low:high], rows, first.c, weights, (start, stop))
            return gelu_in_place(band)

        size = convolved_size(second.c, between)
        out = tokens.new_empty(1, size, size, _DIMENSIONS[0])

        def work(start: int, stop: int) -> None:
            out[:, start:stop] = convolve_band(middle, between, second.c, second_weights, (start, stop))

        in_parallel(work, bands(size, tokens.shape[2] * _DIMENSIONS[0]))
        return out.permute(0, 3, 1, 2)


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
        self.conv1 = ConvNorm(inputs, outputs, 1)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not worth_bands(x, self.training):
            return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return _bottleneck(x.permute(0, 2, 3, 1), self).permute(0, 3, 1, 2)


def _bottleneck(tokens: Tensor, block: _Merge | _ConvBlock, residual: bool = False) -> Tensor:
    """A block's three convolutions with GELU between, and after them where the tokens are added; in bands."""
    (wide, wide_bias), (narrow, narrow_bias) = block.conv1.folded_linear(), block.conv3.folded_linear()
    conv, weights = block.conv2.c, block.conv2.folded()
    rows, columns = tokens.shape[1:3]
    size = convolved_size(conv, rows)
    out = tokens.new_empty(1, size, convolved_size(conv, columns), len(narrow))

    def hidden(start: int, stop: int) -> Tensor:
        return gelu_in_place(F.linear(tokens[:, start:stop], wide, wide_bias))

    def work(start: int, stop: int) -> None:
        band = gelu_in_place(convolve_band(hidden, rows, conv, weights, (start, stop)))
        band = F.linear(band, narrow, narrow_bias)
        if residual:
            band = gelu_in_place(band.add_(tokens[:, start:stop]))
        out[:, start:stop] = band

    in_parallel(work, bands(size, columns * conv.stride[0] * len(wide)))
    return out


class _ConvBlock(nn.Module):
    """Inverted bottleneck (MBConv) with a residual, shape unchanged."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim * EXPANSION
        self.conv1 = ConvNorm(dim, hidden, 1)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not worth_bands(x, self.training):
            return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))
        return _bottleneck(x.permute(0, 2, 3, 1), self, residual=True).permute(0, 3, 1, 2)


class _AttentionBlock(nn.Module):
    """Attention within windows, a depthwise convolution across them, then an MLP; (b, c, h, w) unchanged."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(dim, heads, window)
        self.mlp = Mlp(dim)
        self.local_conv = ConvNorm(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        if worth_bands(x, self.training):
            return self._in_bands(tokens).permute(0, 3, 1, 2)
        tokens = tokens + self._attend(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)

    def _in_bands(self, tokens: Tensor) -> Tensor:
        rows, columns, dim = tokens.shape[1:]
        attended, out = torch.empty_like(tokens), torch.empty_like(tokens)
        weights = self.local_conv.folded()
        half = -(-columns // (2 * self.window)) * self.window

        def attend(start: int, stop: int, left: int, right: int) -> None:
            part = tokens[:, start:stop, left:right]
            torch.add(part, self._attend(part), out=attended[:, start:stop, left:right])

        def finish(start: int, stop: int) -> None:
            part = convolve_band(
                lambda low, high: attended[:, low:high], rows, self.local_conv.c, weights, (start, stop)
            )
            out[:, start:stop] = self.mlp(part).add_(part)

        parts = bands(rows, 3 * columns * dim, self.window)
        sides = [(0, half), (half, columns)] if half < columns else [(0, columns)]
        in_parallel(attend, [(*band, *side) for band in parts for side in sides])
        in_parallel(finish, bands(rows, columns * dim * EXPANSION))
        return out

    def _attend(self, tokens: Tensor) -> Tensor:
        """Attention of (b, h, w, c) within its windows; zeros fill the last row and column of them."""
        b, h, w, c = tokens.shape
        size = self.window
        padded = F.pad(tokens, (0, 0, 0, -w % size, 0, -h % size))
        rows, columns = padded.shape[1] // size, padded.shape[2] // size
        windows = padded.reshape(b, rows, size, columns, size, c).transpose(2, 3).reshape(-1, size * size, c)
        attended = self.attn(windows).reshape(b, rows, columns, size, size, c).transpose(2, 3)
        return attended.reshape(b, rows * size, columns * size, c)[:, :h, :w]
