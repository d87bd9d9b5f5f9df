"""An image encoder split before its last stage: the first part is frozen and runs once per slice image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Of a ViT's twelve blocks or more, as many as make a stage.
_LAST_BLOCKS = 2


def last_parts(encoder: Any) -> list[nn.Module]:
    """An encoder's last stage (of a ViT the last two blocks) and its neck."""
    if hasattr(encoder, "layers"):
        return [encoder.layers[-1], encoder.neck]
    return [*encoder.blocks[-_LAST_BLOCKS:], encoder.neck]


def before_last(encoder: Any, images: Tensor) -> Tensor:
    """What of encoding images (b, 3, size, size) comes before `last_parts`; the second axis or the last is the longest.

    TinyViT gives (b, 320, 64, 64), a ViT (b, 64, 64, width).
    """
    if hasattr(encoder, "layers"):
        return encoder.trunk(images)
    x = encoder.patch_embed(images)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block in encoder.blocks[:-_LAST_BLOCKS]:
        x = block(x)
    return x


def from_last(encoder: Any, x: Tensor) -> Tensor:
    """The embedding (b, 256, 64, 64) of what `before_last` gave."""
    if hasattr(encoder, "layers"):
        return encoder.from_trunk(x.contiguous(memory_format=torch.channels_last))
    for block in encoder.blocks[-_LAST_BLOCKS:]:
        x = block(x)
    return encoder.neck(x.permute(0, 3, 1, 2))
