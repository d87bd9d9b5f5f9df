"""The network that learns: encoder, prompt encoder, two-way decoder and upsampling, on crops of many images at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from SAMLiverTumorLib.inference.decoder import Decoder, ImageSide, image_tokens, prompt_tokens
from SAMLiverTumorLib.models.networks.mask_upsampling import crisp_mask_decoder
from SAMLiverTumorLib.models.networks.pyramid_encoder import (
    EMBEDDING_CHANNELS,
    INPUT_SIZE,
    ImageFeatures,
    PyramidEncoder,
    Sizes,
)
from SAMLiverTumorLib.models.networks.text_tokens import TextTokens, split_text
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports

STRIDE = 8
"""Pixels from one image token to the next."""

CONCEPTS = ("liver tumor", "liver")
"""What text can name."""


class Student(nn.Module):
    """All networks of the model; see `models/networks`.

    :param sizes: of the image encoder.
    """

    def __init__(self, sizes: Sizes = Sizes()) -> None:  # noqa: B008 - an immutable tuple
        super().__init__()
        ensure_torchvision_imports()
        from segment_anything.modeling import PromptEncoder, TwoWayTransformer

        self.image_encoder = PyramidEncoder(sizes)
        self.prompt_encoder = PromptEncoder(
            embed_dim=EMBEDDING_CHANNELS,
            image_embedding_size=(INPUT_SIZE // STRIDE,) * 2,
            input_image_size=(INPUT_SIZE, INPUT_SIZE),
            mask_in_chans=16,
        )
        self.mask_decoder = crisp_mask_decoder(TwoWayTransformer(2, EMBEDDING_CHANNELS, 8, 2048))
        self.text = TextTokens({})
        self.text.add(CONCEPTS)

    @torch.no_grad()
    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take prompt encoder, decoder and text tokens of a model of SAM's structure."""
        rest, tokens = split_text(dict(weights))
        own = self.state_dict()
        for name, value in rest.items():
            if name.startswith(("prompt_encoder.", "mask_decoder.")) and name in own:
                # of four masks' weights the first are those of the one mask that is left
                own[name].copy_(value[: len(own[name])])
        # the decoder expects embeddings of the earlier encoder's mean and deviation, channel by channel
        for name in ("weight", "bias"):
            own[f"image_encoder.neck_norm.{name}"].copy_(rest[f"image_encoder.neck.3.{name}"])
        self.text = TextTokens({concept: value.float().clone() for concept, value in tokens.items()})
        self.text.add(CONCEPTS)

    def model_weights(self) -> dict[str, Tensor]:
        """Weights by name as in a model's file, without batch normalizations; of a student in evaluation mode."""
        copy = deepcopy(self).eval()
        copy.image_encoder.fold()
        # text tokens stand under "text." in files
        return {name.replace("text.tokens.", "text."): value for name, value in copy.state_dict().items()}

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
        return prompt_tokens(self.prompt_encoder, places, kinds)

    def decode(
        self,
        features: ImageFeatures,
        places: Tensor,
        image: Tensor,
        tokens: Tensor,
        before: Tensor | None,
        has_before: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (p, 1, 4 n, 4 n) and predicted IoU (p, 1) of p prompts.

        :param features: of b images.
        :param places: (b, 256, n, n), see `places`.
        :param image: (p,) number of each prompt's image.
        :param tokens: (p, t, 256).
        :param before: (p, 1, 4 n, 4 n) logits of the mask so far, or None.
        :param has_before: bool (p,): which prompts have such a mask; all if not given.
        """
        # the widest tensors of training: in the precision of the encoder's output, whichever that is
        embedding = features.embedding.index_select(0, image)
        dense = self.prompt_encoder.no_mask_embed.weight[..., None, None]
        if before is not None:
            drawn = self.prompt_encoder.mask_downscaling(before)
            dense = drawn if has_before is None else torch.where(has_before[:, None, None, None], drawn, dense)
        embedding = embedding + dense.to(embedding.dtype)
        fine, finest = (finer.index_select(0, image) for finer in (features.fine, features.finest))
        keys, at = image_tokens(embedding), image_tokens(places.to(embedding.dtype)).index_select(0, image)
        side = ImageSide(keys, keys + at, at, embedding, ImageFeatures(embedding, fine, finest))
        return Decoder(self.prompt_encoder, self.mask_decoder).answer(side, tokens, slice(0, 1))
