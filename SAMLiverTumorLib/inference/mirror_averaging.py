"""Best quality: average the network's logits for a slice image and for its mirror image.

Networks are not symmetric in left and right, and averaging reduces errors that occur on one side only. This is
test-time augmentation as in Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
NeurIPS 2012. It takes twice the time.

LiteMedSAM and models fine-tuned from it improve: `liver-tumor` of 0.1.0 on its validation patient (LiTS 1, 30 tumors on
16 slices) 0.786 -> 0.807 with one click and 0.842 -> 0.855 with a box; LiteMedSAM with boxes 0.902 -> 0.905, 0.906 ->
0.910 and 0.873 -> 0.890 on every fifth slice of LiTS 6, 7 and 2 (2026-11-29; `sam-liver-tumor compare ... --quality
best`). Flipping upside down as well gains nothing more. MobileSAM loses (0.831 -> 0.818 with boxes on LiTS 7), and so
do text prompts, which depend on where the liver is (0.655 -> 0.589): neither is averaged.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from SAMLiverTumorLib.models.preprocessing.input_geometry import InputGeometry
from SAMLiverTumorLib.models.registry import ModelInfo
from SAMLiverTumorLib.prompts import PlanePrompts


def gains_from_mirror(info: ModelInfo) -> bool:
    """Whether averaging improves this model: true of LiteMedSAM's network, by the figures above."""
    return info.architecture == "tiny_vit" and info.input_size == 256


def mirrored_image(rgb: np.ndarray) -> np.ndarray:
    """A slice image with left and right exchanged, (rows, columns, 3)."""
    return np.ascontiguousarray(rgb[:, ::-1])


def mirrored_prompts(prompts: PlanePrompts, geometry: InputGeometry) -> PlanePrompts:
    """The same prompts on the mirror image of a slice image."""
    last = geometry.shape[1] - 1
    points = np.array(prompts.points, float).reshape(-1, 2)
    points[:, 0] = last - points[:, 0]
    box = prompts.box
    if box is not None:
        u0, v0, u1, v1 = box
        box = (last - u1, v0, last - u0, v1)
    mask = prompts.mask
    if mask is not None:
        mask = mirrored_logits(torch.from_numpy(np.array(mask, np.float32)), geometry).numpy()
    return replace(prompts, points=points, box=box, mask=mask)


def mirrored_logits(logits: Tensor, geometry: InputGeometry) -> Tensor:
    """Low-resolution logits (..., rows, columns) of the network's input, mirrored within the slice image.

    The padding beside the slice image stays in place.
    """
    edge = logits.shape[-1]
    filled = geometry.resized[1] * edge / geometry.input_size
    # if the image's right edge lies within a column, two columns are interpolated
    place = filled - 1.0 - torch.arange(edge, device=logits.device, dtype=torch.float32)
    outside = place < -0.5
    place = place.clamp(0.0, edge - 1.0)
    low = place.floor().long()
    high = (low + 1).clamp(max=edge - 1)
    share = (place - low).to(logits.dtype)
    mirrored = logits[..., low] * (1.0 - share) + logits[..., high] * share
    return torch.where(outside, logits, mirrored)
