"""Slice images resized to the network's input size, as in its training."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional


def resize_image(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize images (b, c, rows, columns): area mean along axes that shrink, bilinear along those that grow.

    The filter is part of what a network learned: on LiTS case 7 LiteMedSAM's mean Dice with boxes is 0.90 when
    512 pixels are averaged to 256, as in its training (OpenCV's INTER_AREA), and 0.81 with a triangle filter.
    """
    rows, columns = image.shape[-2:]
    grown = (max(rows, size[0]), max(columns, size[1]))
    if grown != (rows, columns):
        image = functional.interpolate(image, size=grown, mode="bilinear", align_corners=False)
    if grown[0] != size[0]:
        image = _area_means(grown[0], size[0]).to(image) @ image
    if grown[1] != size[1]:
        image = image @ _area_means(grown[1], size[1]).to(image).T
    return image


@lru_cache(maxsize=16)
def _area_means(length: int, target: int) -> torch.Tensor:
    """Matrix (target, length) whose rows average the part of the axis each target pixel covers."""
    edges = torch.arange(target + 1, dtype=torch.float64) * (length / target)
    pixels = torch.arange(length, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (overlap.clamp(min=0.0) * (target / length)).float()
