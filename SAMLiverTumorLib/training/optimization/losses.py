"""Losses of masks, and of the IoU that the network predicts for them; by MONAI."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Weights of focal and Dice loss as in Kirillov et al., "Segment Anything", 2023.
_FOCAL = 20.0


def mask_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice plus focal loss of each mask.

    :param logits: (n, m, rows, columns), m proposals for each of n lesions.
    :param targets: (n, rows, columns), 0 or 1; an empty one rewards an empty mask.
    :return: (n, m).
    """
    from monai.losses import DiceLoss, FocalLoss

    wanted = targets[:, None].expand_as(logits).to(logits.dtype)
    n, m = logits.shape[:2]
    flat, flat_wanted = logits.reshape(n * m, 1, *logits.shape[2:]), wanted.reshape(n * m, 1, *logits.shape[2:])
    # smoothing by one pixel gives empty targets a gradient
    dice = DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, reduction="none")(flat, flat_wanted).reshape(n, m)
    focal = FocalLoss(gamma=2.0, reduction="none")(flat, flat_wanted).mean(dim=(1, 2, 3)).reshape(n, m)
    return dice + _FOCAL * focal


def iou_losses(predicted: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the predicted IoU; (n, m) as the masks.

    :param predicted: (n, m).
    """
    with torch.no_grad():
        marked, wanted = logits > 0, targets[:, None] > 0.5
        shared = (marked & wanted).sum(dim=(2, 3)).float()
        either = (marked | wanted).sum(dim=(2, 3)).float()
        true = torch.where(either > 0, shared / either.clamp(min=1), 1.0)
    return functional.mse_loss(predicted.float(), true, reduction="none")


def balanced_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in which foreground and background weigh half each, however small the foreground; a scalar.

    :param logits: of any shape.
    :param targets: 0 or 1, of the same shape.
    """
    wanted = targets > 0.5
    losses = functional.binary_cross_entropy_with_logits(logits.float(), wanted.float(), reduction="none")
    return torch.stack([losses[side].mean() for side in (wanted, ~wanted) if bool(side.any())]).mean()


def to_frame(low_resolution: Tensor, edge: int) -> Tensor:
    """Low-resolution logits (n, m, 256, 256) resampled to the frame (n, m, edge, edge)."""
    return functional.interpolate(low_resolution.float(), (edge, edge), mode="bilinear", align_corners=False)
