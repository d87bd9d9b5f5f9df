"""Input and output of the decoder: `Embedding` and `Prediction`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from SAMLiverTumorLib.models.preprocessing.input_geometry import InputGeometry

# Offset of the two thresholds whose masks the stability score compares, as in SAM's own mask generator.
_STABILITY_OFFSET = 1.0


@dataclass(frozen=True, eq=False)
class Embedding:
    """A slice image after the image encoder.

    :param packed: float16 tensor (1, 256, 64, 64), or (1, 640, 64, 64) with finer features, on the model's device. New
        embeddings are rounded to float16 as well, so that a mask does not depend on whether its embedding comes from
        the encoder or from disk.
    :param geometry: position of the slice image in the network's input.
    :param mirror: embedding of the mirror image, if both are to be averaged; see `mirror_averaging.py`.
    """

    packed: torch.Tensor
    geometry: InputGeometry
    mirror: Embedding | None = None

    @property
    def features(self) -> torch.Tensor:
        """The embedding as float32."""
        return self.packed.float()

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.packed.element_size() * self.packed.nelement()


@dataclass(frozen=True, eq=False)
class Prediction:
    """The decoder's output for one set of prompts.

    :param mask: bool (rows, columns) of the slice image.
    :param logits: float32 (rows, columns); the mask is where they exceed 0.
    :param predicted_iou: the network's own estimate of the mask's IoU.
    :param stability: IoU of the masks at logit thresholds +1 and -1 (Kirillov et al., 2023).
    :param low_resolution: float32 (1, 256, 256) logits to hand back as `PlanePrompts.mask`.
    """

    mask: np.ndarray
    logits: np.ndarray
    predicted_iou: float
    stability: float
    low_resolution: np.ndarray


def prediction_of(logits: torch.Tensor, iou: float, geometry: InputGeometry) -> Prediction:
    """A prediction from low-resolution logits (256, 256) and the network's estimate of the mask's IoU."""
    logits = logits.float()
    full = at_image_pixels(logits, geometry)
    return Prediction(
        mask=full > 0.0,
        logits=full,
        predicted_iou=iou,
        stability=stability_score(full),
        low_resolution=logits[None].cpu().numpy(),
    )


def stability_score(logits: np.ndarray) -> float:
    """IoU of the masks at logit thresholds +1 and -1: near 1 for a sharp border; 0 if both are empty."""
    inner = int(np.count_nonzero(logits > _STABILITY_OFFSET))
    outer = int(np.count_nonzero(logits > -_STABILITY_OFFSET))
    return inner / outer if outer else 0.0


def at_image_pixels(low_resolution: torch.Tensor, geometry: InputGeometry) -> np.ndarray:
    """Bilinear samples of low-resolution logits (m, m) at the slice image's pixel centers; float32 (rows, columns).

    SAM interpolates twice, to the network's input and then to the image. Once is enough: the values differ only by the
    second smoothing, and no large array is made.
    """
    edge = low_resolution.shape[-1]
    axes = []
    for size, scale in zip(geometry.shape, geometry.scale, strict=True):
        centers = (torch.arange(size, dtype=torch.float32, device=low_resolution.device) + 0.5) * scale
        axes.append(centers / geometry.input_size * 2.0 - 1.0)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)[None]
    sampled = functional.grid_sample(
        low_resolution.float().view(1, 1, edge, edge), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, 0].cpu().numpy()
