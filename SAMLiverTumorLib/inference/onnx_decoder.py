"""What answers prompts as an ONNX file, beside the image encoder's, for programs without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from SAMLiverTumorLib.inference.decoder import Decoder, image_tokens, prompt_tokens
from SAMLiverTumorLib.models.networks.pyramid_encoder import EMBEDDING_CHANNELS, PACKED_CHANNELS
from SAMLiverTumorLib.models.onnx_export import write_graph

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel


def export_decoder(model: SamModel, path: Path | str, overwrite: bool = False) -> Path:
    """Write what answers prompts: `embedding`, `points`, `kinds`, `mask`, `has_mask` to `logits` and `iou`.

    `points`, float32 (1, n, 2), are (u, v) in pixels of the encoder's input; `kinds`, int64 (1, n), are 0 exclude, 1
    include, 2 and 3 first and last corner of a box, -1 nothing, which stands behind clicks without a box. From 4 on
    they are the tokens of text, four for each of the model's concepts. `mask`, float32 (1, 1, 256, 256), are logits of
    the mask so far, which count where `has_mask`, float32 (1,), is 1. `logits` are (1, 1, 256, 256), `iou` (1, 1).

    :param path: as with `models.onnx_export.export_encoder`, and the same errors.
    """
    side = 64
    channels = PACKED_CHANNELS if model.info.architecture == "pyramid" else EMBEDDING_CHANNELS
    inputs = {
        "embedding": torch.zeros(1, channels, side, side, device=model.device),
        "points": torch.full((1, 2, 2), 100.0, device=model.device),
        "kinds": torch.tensor([[1, -1]], device=model.device),
        "mask": torch.zeros(1, 1, 4 * side, 4 * side, device=model.device),
        "has_mask": torch.zeros(1, device=model.device),
    }
    axes = {"points": {1: "prompts"}, "kinds": {1: "prompts"}}
    return write_graph(_Answers(model), inputs, ["logits", "iou"], model, path, overwrite, axes)


class _Answers(nn.Module):
    """Prompt encoder and mask decoder as one graph; see `export_decoder`."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.prompt_encoder, self.mask_decoder = model.prompt_encoder, model.mask_decoder
        self.decoder = Decoder(model.prompt_encoder, model.mask_decoder)
        concepts = () if model.text is None else model.info.concepts
        table = [model.text(concept).detach() for concept in concepts]
        width = model.prompt_encoder.embed_dim
        self.register_buffer("text", torch.cat(table) if table else torch.zeros(1, width, device=model.device))
        self.training = False

    def forward(
        self, embedding: Tensor, points: Tensor, kinds: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():  # which goes over the whole image at once
            image = self.decoder.image_side(embedding)
            sparse = prompt_tokens(self.prompt_encoder, points, kinds)
            words = self.text[(kinds - 4).clamp(min=0, max=len(self.text) - 1)]
            sparse = torch.where(kinds[..., None] >= 4, words, sparse)
            without = self.prompt_encoder.no_mask_embed.weight[..., None, None]
            dense = torch.lerp(without, self.prompt_encoder.mask_downscaling(mask), has_mask)
            keys = image_tokens(image.features) + image_tokens(dense)
            image = replace(image, keys=keys, keys_at=keys + image.places)
            return self.decoder.answer(image, sparse, slice(0, 1))
