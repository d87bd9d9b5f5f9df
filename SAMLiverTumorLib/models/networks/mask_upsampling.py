"""From image tokens after the two-way transformer to mask logits, without the combs of transposed convolutions.

Where SAM's decoder upscales with transposed convolutions of stride 2, whose four positions are weights of their own
and show as a grid in masks (Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016), this resizes
bilinearly and convolves, and adds the encoder's finer features at each size. The heads of the masks stay SAM's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from SAMLiverTumorLib.models.networks.pyramid_encoder import EMBEDDING_CHANNELS, FINE_CHANNELS, FINEST_CHANNELS

HEAD_CHANNELS = 32
"""Length of what SAM's hypernetworks give for each mask."""


class MaskUpsampling(nn.Module):
    """Image tokens and finer features to logits.

    >>> upsampling = MaskUpsampling()
    >>> fine, finest = torch.zeros(1, 32, 128, 128), torch.zeros(1, 16, 256, 256)
    >>> upsampling(torch.zeros(2, 256, 64, 64), fine, finest, torch.zeros(2, 3, 32)).shape
    torch.Size([2, 3, 256, 256])
    """

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(EMBEDDING_CHANNELS, FINE_CHANNELS, 1)
        self.fine = nn.Conv2d(FINE_CHANNELS, FINE_CHANNELS, 3, padding=1)
        self.narrow = nn.Conv2d(FINE_CHANNELS, FINEST_CHANNELS, 1)
        self.finest = nn.Conv2d(FINEST_CHANNELS, FINEST_CHANNELS, 3, padding=1)
        # the logit of a mask is its head times this times the features
        self.heads = nn.Linear(HEAD_CHANNELS, FINEST_CHANNELS, bias=False)

    def forward(self, tokens: Tensor, fine: Tensor, finest: Tensor, heads: Tensor) -> Tensor:
        """Logits of m masks for each of b prompts.

        :param tokens: (b, 256, h, w), image tokens after the transformer.
        :param fine: (1 or b, 32, 2 h, 2 w) of the image.
        :param finest: (1 or b, 16, 4 h, 4 w) of the image.
        :param heads: (b, m, 32).
        :return: (b, m, 4 h, 4 w).
        """
        x = _doubled(self.coarse(tokens)) + fine
        x = x + F.relu(self.fine(F.relu(x)))
        x = F.relu(_doubled(self.narrow(x)) + finest)
        x = x + F.relu(self.finest(x))
        return torch.einsum("bmc,bchw->bmhw", self.heads(heads), x)


def _doubled(x: Tensor) -> Tensor:
    """Twice the rows and columns."""
    # mixed precision would take it for an operation that needs 32 bits
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def crisp_mask_decoder(transformer: nn.Module) -> nn.Module:
    """segment_anything's `MaskDecoder` for one mask, with `upsampling` in place of the transposed convolutions.

    It is taken apart by `inference/decoder.py`, and does not run by itself.
    """
    from segment_anything.modeling import MaskDecoder

    decoder = MaskDecoder(
        transformer_dim=EMBEDDING_CHANNELS,
        transformer=transformer,
        num_multimask_outputs=0,
        iou_head_depth=3,
        iou_head_hidden_dim=EMBEDDING_CHANNELS,
    )
    decoder.output_upscaling = nn.Identity()
    decoder.upsampling = MaskUpsampling()
    return decoder
