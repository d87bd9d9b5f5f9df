"""The network that learns: encoder, prompt encoder, two-way decoder and upsampling, on crops of many images at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from SAMLiverTumorLib.inference.decoder import _image_after as image_after
from SAMLiverTumorLib.inference.decoder import _to_image as attend_to_image
from SAMLiverTumorLib.inference.decoder import _tokens as image_tokens
from SAMLiverTumorLib.models.builders import build_networks
from SAMLiverTumorLib.models.checkpoint import read_checkpoint
from SAMLiverTumorLib.models.networks.mask_upsampling import MaskUpsampling
from SAMLiverTumorLib.models.networks.pyramid_encoder import ImageFeatures, PyramidEncoder, Sizes
from SAMLiverTumorLib.models.text import TextTokens, split_text

FRAME, STRIDE = 512, 8
CONCEPTS = ("liver tumor", "liver")
"""What text can name."""


class Student(nn.Module):
    """All networks of the model; see `models/networks`.

    :param sizes: of the image encoder.
    """

    def __init__(self, sizes: Sizes = Sizes()) -> None:  # noqa: B008 - an immutable tuple
        super().__init__()
        networks = build_networks("tiny_vit", 256)
        self.image_encoder = PyramidEncoder(sizes)
        self.prompt_encoder, self.mask_decoder = networks["prompt_encoder"], networks["mask_decoder"]
        self.upsampling = MaskUpsampling()
        self.text = TextTokens({})

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take prompt encoder, decoder and text tokens of an earlier model's file."""
        rest, tokens = split_text(dict(weights))
        for name in ("prompt_encoder", "mask_decoder"):
            part = {
                key.removeprefix(f"{name}."): value.float() if value.is_floating_point() else value
                for key, value in rest.items()
                if key.startswith(f"{name}.")
            }
            getattr(self, name).load_state_dict(part, strict=True, assign=True)
        # its transposed convolutions are not used here
        self.mask_decoder.output_upscaling = nn.Identity()
        self.text = TextTokens({concept: value.float().clone() for concept, value in tokens.items()})
        self.text.add(CONCEPTS, device=torch.device("cpu"))
        # the decoder expects embeddings of the earlier encoder's mean and deviation, channel by channel
        norm = self.image_encoder.neck_norm
        for name in ("weight", "bias"):
            getattr(norm, name).data.copy_(rest[f"image_encoder.neck.3.{name}"].float())
        # prompts are in pixels of this model's input
        self.prompt_encoder.input_image_size = (FRAME, FRAME)
        for parameter in self.parameters():
            parameter.requires_grad_(True)

    def places(self, corners: Sequence[tuple[int, int]], size: int) -> Tensor:
        """Positional encoding (b, 256, n, n) of crops of `size` pixels that begin at `corners` (row, column)."""
        whole, n = self.prompt_encoder.get_dense_pe()[0], size // STRIDE
        parts = [whole[:, r // STRIDE : r // STRIDE + n, c // STRIDE : c // STRIDE + n] for r, c in corners]
        return torch.stack(parts)

    def prompt_tokens(self, places: Tensor, kinds: Tensor) -> Tensor:
        """Tokens (b, n, 256) of clicks and corners of boxes.

        :param places: (b, n, 2) as (u, v) in pixels of the frame.
        :param kinds: (b, n), see `prompts.py`.
        """
        encoder = self.prompt_encoder
        tokens = encoder.pe_layer.forward_with_coords(places + 0.5, (FRAME, FRAME))
        kinds = kinds[..., None]
        tokens = torch.where(kinds == -1, encoder.not_a_point_embed.weight, tokens)
        for number, embedding in enumerate(encoder.point_embeddings):
            tokens = tokens + (kinds == number) * embedding.weight
        return tokens

    def decode(
        self, features: ImageFeatures, places: Tensor, image: Tensor, tokens: Tensor, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits (p, 1, 4 n, 4 n) and predicted IoU (p, 1) of p prompts.

        :param features: of b images.
        :param places: (b, 256, n, n), see `places`.
        :param image: (p,) number of each prompt's image.
        :param tokens: (p, t, 256).
        :param before: (p, 1, 4 n, 4 n) logits of the mask so far, or None.
        """
        decoder, transformer = self.mask_decoder, self.mask_decoder.transformer
        embedding = features.embedding.index_select(0, image)
        if before is None:
            embedding = embedding + self.prompt_encoder.no_mask_embed.weight[..., None, None]
        else:
            embedding = embedding + self.prompt_encoder.mask_downscaling(before)
        p, c, h, w = embedding.shape
        keys, at = image_tokens(embedding), image_tokens(places).index_select(0, image)
        keys_at = keys + at
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight[:1]])
        queries = tokens = torch.cat([own.expand(p, -1, -1), tokens], dim=1)
        for layer in transformer.layers:
            if layer.skip_first_layer_pe:
                queries = layer.self_attn(queries, queries, queries)
            else:
                queries_at = queries + tokens
                queries = queries + layer.self_attn(queries_at, queries_at, queries)
            queries = layer.norm1(queries)
            queries = queries + attend_to_image(layer.cross_attn_token_to_image, queries + tokens, keys_at, keys)
            queries = layer.norm2(queries)
            queries = layer.norm3(queries + layer.mlp(queries))
            keys, keys_at = image_after(layer, keys, keys_at, at, queries + tokens, queries)
        queries = queries + attend_to_image(transformer.final_attn_token_to_image, queries + tokens, keys_at, keys)
        queries = transformer.norm_final_attn(queries)
        heads = decoder.output_hypernetworks_mlps[0](queries[:, 1])[:, None]
        fine, finest = (finer.index_select(0, image) for finer in (features.fine, features.finest))
        logits = self.upsampling(keys.view(p, h, w, c).permute(0, 3, 1, 2), fine, finest, heads)
        return logits, decoder.iou_prediction_head(queries[:, 0])[:, :1]


def student_from(path: Path, sizes: Sizes = Sizes()) -> Student:  # noqa: B008 - an immutable tuple
    """A student whose decoder is that of an earlier model's file."""
    student = Student(sizes)
    student.start_from(read_checkpoint(path))
    return student
