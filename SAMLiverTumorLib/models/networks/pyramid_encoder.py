"""The bundled model's image encoder: a convolutional pyramid, a seventh of the arithmetic of SAM's small encoders.

Blocks are those of Liu et al., "A ConvNet for the 2020s", CVPR 2022 (a depthwise convolution, then two pointwise
ones), with batch normalization and ReLU instead of layer normalization and GELU: the former are folded into the
convolutions for use (`PyramidEncoder.fold`), the latter costs a CPU nothing. The pyramid is that of Lin et al.,
"Feature pyramid networks for object detection", CVPR 2017. Besides SAM's embedding it hands finer features to the
decoder, as Ke et al., "Segment anything in high quality", 2023, and Ravi et al., "SAM 2", 2024, do. Written for this
project.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EMBEDDING_CHANNELS, FINE_CHANNELS, FINEST_CHANNELS = 256, 32, 16
"""Channels at strides 8, 4 and 2."""

INPUT_SIZE = 512
"""Pixels along the side of a whole image; any multiple of 32 can be encoded, as training on parts of images does."""


PACKED_CHANNELS = EMBEDDING_CHANNELS + 4 * FINE_CHANNELS + 16 * FINEST_CHANNELS
"""Channels of all of them as one tensor at stride 8, which is how they are kept; see `ImageFeatures.packed`."""


class ImageFeatures(NamedTuple):
    """What the encoder makes of images (b, 3, rows, columns).

    :param embedding: (b, 256, rows / 8, columns / 8), as SAM's decoder wants it.
    :param fine: (b, 32, rows / 4, columns / 4).
    :param finest: (b, 16, rows / 2, columns / 2).
    """

    embedding: Tensor
    fine: Tensor
    finest: Tensor

    def packed(self) -> Tensor:
        """All of it as one tensor (b, 640, rows / 8, columns / 8), finer pixels as channels of the coarse ones."""
        return torch.cat([self.embedding, F.pixel_unshuffle(self.fine, 2), F.pixel_unshuffle(self.finest, 4)], dim=1)

    @classmethod
    def unpacked(cls, packed: Tensor) -> ImageFeatures:
        """The reverse of `packed`."""
        embedding, fine, finest = packed.split([EMBEDDING_CHANNELS, 4 * FINE_CHANNELS, 16 * FINEST_CHANNELS], dim=1)
        return cls(embedding, F.pixel_shuffle(fine, 2), F.pixel_shuffle(finest, 4))


class Sizes(NamedTuple):
    """The size of the network.

    :param channels: at strides 2, 4, 8, 16 and 32.
    :param depths: blocks at strides 4, 8, 16 and 32.
    :param kernels: edges of the depthwise convolutions there.
    :param expansion: channels between the pointwise convolutions by those around them.
    :param pyramid: channels of the pyramid.
    """

    channels: tuple[int, int, int, int, int] = (24, 40, 80, 160, 256)
    depths: tuple[int, int, int, int] = (2, 3, 5, 2)
    kernels: tuple[int, int, int, int] = (5, 7, 7, 7)
    expansion: int = 3
    pyramid: int = 96


class PyramidEncoder(nn.Module):
    """The image encoder: images (b, 3, 512, 512) to all that the decoder wants of them, (b, 640, 64, 64), both float32.

    >>> PyramidEncoder(normalizes=False)(torch.zeros(1, 3, 512, 512)).shape
    torch.Size([1, 640, 64, 64])

    :param sizes: how large the network is.
    :param normalizes: with batch normalization, as to learn from the beginning; without, as it is used: see `fold`.
    """

    def __init__(self, sizes: Sizes = Sizes(), normalizes: bool = True) -> None:  # noqa: B008 - an immutable tuple
        super().__init__()
        stem, *widths = sizes.channels
        self.input_size = INPUT_SIZE
        self.stem = _ConvNorm(3, stem, 3, stride=2)
        befores = (stem, *widths[:-1])
        self.steps = nn.ModuleList(
            _ConvNorm(before, after, 3, stride=2) for before, after in zip(befores, widths, strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width, kernel, sizes.expansion) for _ in range(depth)))
            for width, kernel, depth in zip(widths, sizes.kernels, sizes.depths, strict=True)
        )
        wide = sizes.pyramid
        self.lateral = nn.ModuleList(_ConvNorm(width, wide, 1) for width in widths[1:])
        self.smooth = nn.ModuleList(_ConvNorm(wide, wide, 3) for _ in widths[1:-1])
        self.neck = nn.Conv2d(wide, EMBEDDING_CHANNELS, 1)
        self.neck_norm = nn.LayerNorm(EMBEDDING_CHANNELS)
        self.fine = nn.Conv2d(widths[0], FINE_CHANNELS, 1)
        self.finest = nn.Conv2d(stem, FINEST_CHANNELS, 1)
        if not normalizes:
            self.fold()

    def forward(self, images: Tensor) -> Tensor:
        """Encode images; see `features`."""
        return self.features(images).packed()

    def features(self, images: Tensor) -> ImageFeatures:
        """Encode images.

        :param images: (b, 3, rows, columns), slices below, at and above; rows and columns multiples of 32.
        :raises ValueError: another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
            raise ValueError(f"images (b, 3, rows, columns) have sides of a multiple of 32, not {tuple(images.shape)}.")
        # with the channels last in memory convolutions are fastest on a CPU
        x = F.relu(self.stem(images.contiguous(memory_format=torch.channels_last)))
        finest, levels = self.finest(x), []
        for step, stage in zip(self.steps, self.stages, strict=True):
            x = stage(F.relu(step(x)))
            levels.append(x)
        fine, x = self.fine(levels[0]), self.lateral[-1](levels[-1])
        for number in range(len(self.smooth) - 1, -1, -1):
            x = self.lateral[number](levels[number + 1]) + F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.relu(self.smooth[number](F.relu(x)))
        embedding = self.neck_norm(self.neck(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return ImageFeatures(embedding, fine, finest)

    @torch.no_grad()
    def fold(self) -> PyramidEncoder:
        """Take the batch normalizations into their convolutions, in place: the same in evaluation mode, but faster."""
        for part in self.modules():
            if isinstance(part, _ConvNorm):
                part.fold()
        return self


class _ConvNorm(nn.Module):
    """Convolution, then batch normalization, which `fold` takes into the convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def fold(self) -> None:
        """Put the normalization's statistics into the convolution; the same result, for use only."""
        if isinstance(self.norm, nn.Identity):
            return
        norm, conv = self.norm, self.conv
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None])
        conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = nn.Identity()


class _Block(nn.Module):
    """A depthwise convolution and two pointwise ones beside the identity; (b, c, h, w) unchanged."""

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.spread = _ConvNorm(width, width, kernel, groups=width)
        self.widen = _ConvNorm(width, width * expansion, 1)
        self.narrow = _ConvNorm(width * expansion, width, 1)
        # a block begins as the identity, so that a deep network learns from the first step
        if isinstance(self.narrow.norm, nn.BatchNorm2d):
            nn.init.zeros_(self.narrow.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.relu_(self.widen(self.spread(x))))
