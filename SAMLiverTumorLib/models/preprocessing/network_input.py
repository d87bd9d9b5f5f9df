"""A slice image as the network's input: resized, normalized, padded."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from SAMLiverTumorLib.models.preprocessing.input_geometry import InputGeometry
from SAMLiverTumorLib.models.preprocessing.resize import resize_image
from SAMLiverTumorLib.models.registry import ModelInfo

# Grey of the wide window, 0..255, that "liver" brings to 0, and that it brings to 1 more; liver is 150 to 200.
LIVER_GREY, LIVER_STEP = 150.0, 50.0
# Mean and deviation of ImageNet's colors on 0..255, with which SAM was trained.
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)


def network_input(rgb: np.ndarray, geometry: InputGeometry, info: ModelInfo, device: torch.device) -> torch.Tensor:
    """Float32 (1, 3, input_size, input_size).

    :param rgb: uint8 (rows, columns, 3).
    :param geometry: where the slice image lies in the network's input.
    """
    image = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)[None].float()
    rows, columns = geometry.resized
    image, beside = resize_image(image, (rows, columns)), 0.0
    if info.normalization == "unit":
        low, high = image.min(), image.max()
        image = (image - low) / torch.clamp(high - low, min=1e-8)
    elif info.normalization == "liver":
        image, beside = (image - LIVER_GREY) / LIVER_STEP, -LIVER_GREY / LIVER_STEP
    else:
        mean = torch.tensor(_IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
        std = torch.tensor(_IMAGENET_STD, device=device).view(1, 3, 1, 1)
        image = (image - mean) / std
    return functional.pad(image, (0, info.input_size - columns, 0, info.input_size - rows), value=beside)
