"""What goes into decoding and what comes out of it: `Embedding` and `Prediction`."""

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
    """A picture after the image encoder.

    :param packed: float16 tensor (1, 256, 64, 64), or (1, 640, 64, 64) with finer features, on the model's device. All
        embeddings are rounded so, the fresh ones too: a mask does not depend on whether its picture was encoded now or
        came from the disk.
    :param geometry: where the picture lies in the network's input.
    :param mirror: the mirror image's embedding, which prompts are decoded on as well; see `mirrored.py`.
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
        """Bytes that it takes."""
        return self.packed.element_size() * self.packed.nelement()


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the decoder says of one set of prompts.

    :param mask: bool (rows, columns) of the picture.
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
    full = to_picture(logits, geometry)
    return Prediction(
        mask=full > 0.0,
        logits=full,
        predicted_iou=iou,
        stability=stability_score(full),
        low_resolution=logits[None].cpu().numpy(),
    )


def stability_score(logits: np.ndarray) -> float:
    """IoU of the masks at logit thresholds +1 and -1: near 1 where the border is sharp; 0 if both are empty."""
    inner = int(np.count_nonzero(logits > _STABILITY_OFFSET))
    outer = int(np.count_nonzero(logits > -_STABILITY_OFFSET))
    return inner / outer if outer else 0.0


def to_picture(low_resolution: torch.Tensor, geometry: InputGeometry) -> np.ndarray:
    """Bilinear samples of low-resolution logits (m, m) at the picture's pixel centers; float32 numpy.

    One interpolation straight to the picture's grid replaces SAM's two (to the input, then to the
    picture): the same values but for the second smoothing, without the large picture in between.
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
