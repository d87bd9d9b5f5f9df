"""The network of whole lesions: a residual U-Net in three dimensions that is told where the lesion is.

Cicek et al., "3D U-Net", MICCAI 2016, with the residual units of He et al., CVPR 2016, and instance normalization as in
Isensee et al., "nnU-Net", Nature Methods 2021. At full resolution it is thin, since that is where a CPU spends its
time: one convolution of 8 channels before the pyramid and one after it. Skips are added, not stacked. Written for this
project.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 5
"""What it sees: CT, the mask so far, outlined slices, include clicks, exclude clicks; see `inference/whole_tumor`."""

WIDTHS = (8, 32, 64, 96, 160)
"""Channels at strides 1, 2, 4, 8 and 16."""

_SLOPE = 0.01


class LesionUnet(nn.Module):
    """Crops (b, 5, n, n, n) to logits (b, 1, n, n, n) of the lesion; n is a multiple of `stride`.

    >>> LesionUnet()(torch.zeros(1, 5, 48, 48, 48)).shape
    torch.Size([1, 1, 48, 48, 48])

    :param widths: channels at each resolution, from fine to coarse; each is half of the one before.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        finest, *coarser = widths
        self.stride = 2 ** len(coarser)
        self.stem = _ConvNorm(CHANNELS, finest)
        self.down = nn.ModuleList(_Unit(before, after, 2) for before, after in zip(widths, coarser, strict=False))
        self.lateral = nn.ModuleList(_Conv(after, before, 1) for before, after in zip(widths, coarser, strict=False))
        # a unit where a voxel has many channels, a single convolution where it has few
        self.up = nn.ModuleList([_ConvNorm(finest, finest), *(_Unit(width, width) for width in coarser[:-1])])
        self.head = nn.Linear(finest, 1)
        # nothing is marked at first, as almost nothing is in the end
        nn.init.constant_(self.head.bias, -2.0)

    def forward(self, crops: Tensor) -> Tensor:
        """Logits of crops.

        :raises ValueError: another shape.
        """
        if crops.ndim != 5 or crops.shape[1] != CHANNELS or any(side % self.stride for side in crops.shape[2:]):
            raise ValueError(f"crops (b, {CHANNELS}, n, n, n) have an n of a multiple of {self.stride}.")
        x = F.leaky_relu(self.stem(crops), _SLOPE)
        levels = []
        for unit in self.down:
            levels.append(x)
            x = unit(x)
        for number in range(len(levels) - 1, -1, -1):
            wide = F.interpolate(self.lateral[number](x), levels[number].shape[2:], mode="trilinear")
            x = F.leaky_relu(self.up[number](wide + levels[number]), _SLOPE)
        # a weighted sum: as a convolution of one channel its gradient alone took a tenth of a step
        return torch.einsum("bcxyz,oc->boxyz", x, self.head.weight) + self.head.bias[:, None, None, None]


class _Conv(nn.Conv3d):
    """A convolution without bias that keeps the size, or halves it.

    PyTorch 2 takes its slow path for a single crop and a single thread, 0.48 s instead of 0.1 s for all of them.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self._around = (kernel // 2,) * 3

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        return torch.mkldnn_convolution(x, self.weight, None, self._around, self.stride, self.dilation, 1)


class _ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = _Conv(inputs, outputs, 3, stride)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class _Unit(nn.Module):
    """Two convolutions beside the identity, or beside means of voxels where the resolution is halved."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = _ConvNorm(inputs, outputs, stride), _ConvNorm(outputs, outputs)
        self.beside = _Conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        beside = self.beside(F.avg_pool3d(x, self.stride) if self.stride > 1 else x)
        return F.leaky_relu(self.second(F.leaky_relu(self.first(x), _SLOPE)) + beside, _SLOPE)
