"""SAM's mask decoder, with its arithmetic reordered for few prompts on one slice image.

The networks and their weights are segment_anything's (Kirillov et al., "Segment Anything", ICCV 2023). There are about
ten prompt tokens and 4096 image tokens. Where a projection of the image tokens is only multiplied with prompt tokens
next, the prompt tokens are projected instead: (image W) prompt = image (W prompt). The masks are the same up to
rounding, for a third of the arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from SAMLiverTumorLib.models.networks.pyramid_encoder import PACKED_CHANNELS, ImageFeatures
from SAMLiverTumorLib.models.networks.row_bands import in_parallel

# Image tokens per task on a CPU, so that intermediate results stay in a core's cache. The result does not depend on the
# number of cores.
_TOKENS = 1024


@dataclass(frozen=True, eq=False)
class ImageSide:
    """The decoder's input that does not depend on prompts, made once for each slice image.

    :param keys: image tokens (1, n, c), with the embedding for "no mask prompt", or of the mask prompt, added.
    :param keys_at: the same with their positional encoding added.
    :param places: positional encoding (1, n, c).
    :param features: the embedding (1, c, rows, columns) itself.
    :param finer: the embedding and finer features, of an encoder that has these; None of SAM's own.
    """

    keys: Tensor
    keys_at: Tensor
    places: Tensor
    features: Tensor
    finer: ImageFeatures | None = None


class Decoder:
    """Decodes prompts with a loaded model's prompt encoder and mask decoder, whose weights may change.

    :param prompt_encoder: segment_anything's `PromptEncoder`.
    :param mask_decoder: segment_anything's `MaskDecoder`, or `crisp_mask_decoder`. If any of its layers were replaced,
        as by adapters, it runs unmodified.
    """

    def __init__(self, prompt_encoder: nn.Module, mask_decoder: nn.Module) -> None:
        self.prompt_encoder, self.mask_decoder = prompt_encoder, mask_decoder
        self._places: Tensor | None = None

    def image_side(self, features: Tensor) -> ImageSide:
        """Prepare the embedding (1, c, rows, columns), or `ImageFeatures.packed`, of a slice image.

        During training, the result is valid until the weights change.
        """
        finer = None
        if features.shape[1] == PACKED_CHANNELS:
            finer = ImageFeatures.unpacked(features)
            features = finer.embedding
        if self._places is None or self._places.device != features.device:
            self._places = image_tokens(self.prompt_encoder.get_dense_pe())
        keys = image_tokens(features) + self.prompt_encoder.no_mask_embed.weight
        return ImageSide(keys, keys + self._places, self._places, features, finer)

    def decode(
        self,
        image: ImageSide,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        ambiguous: bool,
        text: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mask logits and predicted IoU for b sets of prompts of the same kinds.

        :param points: coordinates (b, p, 2) in input pixels and labels (b, p).
        :param boxes: (b, 4) corners in input pixels.
        :param masks: (b, 1, 256, 256) logits.
        :param ambiguous: three masks for each set of prompts instead of one, if the decoder has them.
        :param text: tokens (n, c) of a text prompt, added to all sets of prompts.
        :return: logits (b, m, 256, 256) and IoU (b, m).
        """
        sparse, dense = self.prompt_encoder(points=points, boxes=boxes, masks=masks)
        if text is not None:
            sparse = torch.cat([sparse, text[None].expand(len(sparse), -1, -1)], dim=1)
        if image.finer is None and not _is_plain(self.mask_decoder):
            places = self.prompt_encoder.get_dense_pe()
            return self.mask_decoder(image.features, places, sparse, dense, multimask_output=ambiguous)
        keys, keys_at = image.keys, image.keys_at
        if masks is not None:
            keys = image_tokens(image.features) + image_tokens(dense)
            keys_at = keys + image.places
        several = ambiguous and self.mask_decoder.num_mask_tokens > 1
        image = replace(image, keys=keys, keys_at=keys_at)
        return self.answer(image, sparse, slice(1, None) if several else slice(0, 1))

    def answer(self, image: ImageSide, sparse: Tensor, wanted: slice) -> tuple[Tensor, Tensor]:
        """Masks and their predicted IoU for b prompts' tokens, as `decode` gives them.

        :param image: of one image, or of b: one for each of the prompts.
        :param sparse: (b, n, c).
        :param wanted: which of the decoder's masks.
        """
        keys, keys_at = image.keys, image.keys_at
        decoder, transformer = self.mask_decoder, self.mask_decoder.transformer
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        queries = tokens
        for layer in transformer.layers:
            if layer.skip_first_layer_pe:
                queries = layer.self_attn(queries, queries, queries)
            else:
                at = queries + tokens
                queries = queries + layer.self_attn(at, at, queries)
            queries = layer.norm1(queries)
            queries = queries + _to_image(layer.cross_attn_token_to_image, queries + tokens, keys_at, keys)
            queries = layer.norm2(queries)
            queries = layer.norm3(queries + layer.mlp(queries))
            keys, keys_at = _image_after(layer, keys, keys_at, image.places, queries + tokens, queries)
        queries = queries + _to_image(transformer.final_attn_token_to_image, queries + tokens, keys_at, keys)
        queries = transformer.norm_final_attn(queries)
        iou = decoder.iou_prediction_head(queries[:, 0])[:, wanted]
        numbers = range(decoder.num_mask_tokens)[wanted]
        heads = [decoder.output_hypernetworks_mlps[n](queries[:, 1 + n]) for n in numbers]
        heads, (rows, columns) = torch.stack(heads, dim=1), image.features.shape[-2:]
        if image.finer is not None:
            tokens = keys.view(len(keys), rows, columns, -1).permute(0, 3, 1, 2)
            return decoder.upsampling(tokens, image.finer.fine, image.finer.finest, heads), iou
        return _masks(decoder.output_upscaling, keys, heads, (rows, columns)), iou


def image_tokens(feature_map: Tensor) -> Tensor:
    """(b, c, h, w) to (b, h * w, c), contiguous."""
    return feature_map.flatten(2).transpose(1, 2).contiguous()


def prompt_tokens(prompt_encoder: nn.Module, places: Tensor, kinds: Tensor) -> Tensor:
    """Tokens (b, n, c) of clicks and corners of boxes, as segment_anything's `PromptEncoder` makes them; mixed kinds.

    :param places: (b, n, 2) as (u, v) in pixels of the input.
    :param kinds: (b, n): 0 exclude, 1 include, 2 and 3 first and last corner of a box, -1 nothing.
    """
    tokens = prompt_encoder.pe_layer.forward_with_coords(places + 0.5, prompt_encoder.input_image_size)
    kinds = kinds[..., None]
    tokens = torch.where(kinds == -1, prompt_encoder.not_a_point_embed.weight, tokens)
    for number, embedding in enumerate(prompt_encoder.point_embeddings):
        tokens = tokens + (kinds == number) * embedding.weight
    return tokens


def _is_plain(decoder: nn.Module) -> bool:
    """Whether all layers that `_decode` takes apart are segment_anything's own; adapters replace some."""
    attentions = [
        attention
        for layer in decoder.transformer.layers
        for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token)
    ]
    attentions.append(decoder.transformer.final_attn_token_to_image)
    parts = [part for a in attentions for part in (a.q_proj, a.k_proj, a.v_proj, a.out_proj)]
    upscaling = [type(part).__name__ for part in decoder.output_upscaling]
    return (
        all(type(part) is nn.Linear for part in parts)
        and upscaling == ["ConvTranspose2d", "LayerNorm2d", "GELU", "ConvTranspose2d", "GELU"]
        and not any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    )


def _chunks(keys: Tensor) -> list[slice]:
    """Ranges of the image tokens (b, n, c) to process one by one; a single range on a graphics card."""
    n = keys.shape[1]
    step = _TOKENS if keys.device.type == "cpu" else n
    return [slice(start, start + step) for start in range(0, n, step)]


def _to_image(attention: nn.Module, queries: Tensor, keys_at: Tensor, keys: Tensor) -> Tensor:
    """Attention of queries (b, t, c) to image tokens (b or 1, n, c); (b, t, c).

    The softmax is combined from ranges of tokens as in Milakov and Gimelshein, "Online normalizer calculation for
    softmax", arXiv 1805.02867.
    """
    b, t, c = queries.shape
    heads = attention.num_heads
    query = attention.q_proj(queries).reshape(b, t, heads, -1)
    width = query.shape[-1]
    key_weight = attention.k_proj.weight.view(heads, width, c)
    # the key's bias adds the same to all of a query's scores, so the softmax cancels it
    seeking = torch.einsum("bthd,hdc->bthc", query, key_weight).reshape(b, t * heads, c) / math.sqrt(width)
    value_weight = attention.v_proj.weight.view(heads, width, c)
    if torch.is_grad_enabled():
        mean = torch.softmax(seeking @ keys_at.transpose(1, 2), dim=-1) @ keys
        return _out(attention, torch.einsum("bthc,hdc->bthd", mean.view(b, t, heads, c), value_weight))
    chunks = _chunks(keys)
    most = keys.new_empty(len(chunks), b, t * heads, 1)
    total = torch.empty_like(most)
    mixed = keys.new_empty(len(chunks), b, t * heads, c)

    def work(number: int) -> None:
        scores = seeking @ keys_at[:, chunks[number]].transpose(1, 2)
        torch.amax(scores, dim=-1, keepdim=True, out=most[number])
        weights = scores.sub_(most[number]).exp_()
        torch.sum(weights, dim=-1, keepdim=True, out=total[number])
        mixed[number] = weights @ keys[:, chunks[number]]

    in_parallel(work, [(number,) for number in range(len(chunks))])
    share = torch.exp(most - most.amax(dim=0))
    mean = (mixed * share).sum(dim=0) / (total * share).sum(dim=0)
    return _out(attention, torch.einsum("bthc,hdc->bthd", mean.view(b, t, heads, c), value_weight))


def _out(attention: nn.Module, value: Tensor) -> Tensor:
    """Output (b, t, c) of an attention from its mean values (b, t, heads, width), without their bias."""
    return attention.out_proj(value.flatten(2) + attention.v_proj.bias)


def _image_after(layer: nn.Module, keys: Tensor, keys_at: Tensor, places: Tensor, tokens_at: Tensor, tokens: Tensor):
    """Image tokens (b, n, c) after attention to prompt tokens (b, t, c); and the same with positional encoding."""
    attention = layer.cross_attn_image_to_token
    b, t, c = tokens.shape
    heads = attention.num_heads
    key = attention.k_proj(tokens_at).reshape(b, t, heads, -1)
    width = key.shape[-1]
    scale = 1.0 / math.sqrt(width)
    sought = torch.einsum("bthd,hdc->bhtc", key * scale, attention.q_proj.weight.view(heads, width, c))
    sought = sought.reshape(b, heads * t, c)
    offset = torch.einsum("bthd,hd->bht", key * scale, attention.q_proj.bias.view(heads, width))[..., None]
    value = attention.v_proj(tokens).reshape(b, t, heads, width)
    given = torch.einsum("bthd,chd->bhtc", value, attention.out_proj.weight.view(c, heads, width))
    given = given.reshape(b, heads * t, c)
    if torch.is_grad_enabled():
        scores = (sought @ keys_at.transpose(1, 2)).view(b, heads, t, -1) + offset
        weights = torch.softmax(scores, dim=2).view(b, heads * t, -1).transpose(1, 2)
        after = layer.norm4(weights @ given + attention.out_proj.bias.to(keys.dtype) + keys)
        return after, after + places
    after = keys.new_empty(b, *keys.shape[1:])
    after_at = torch.empty_like(after)

    def work(chunk: slice) -> None:
        # with the image tokens last, the softmax is vectorized over eight of them: a tenth of the time
        scores = (sought @ keys_at[:, chunk].transpose(1, 2)).view(b, heads, t, -1).add_(offset)
        weights = torch.softmax(scores, dim=2).view(b, heads * t, -1).transpose(1, 2)
        attended = (weights @ given).add_(attention.out_proj.bias).add_(keys[:, chunk])
        after[:, chunk] = layer.norm4(attended)
        torch.add(after[:, chunk], places[:, chunk], out=after_at[:, chunk])

    in_parallel(work, [(chunk,) for chunk in _chunks(keys)])
    return after, after_at


def _masks(upscaling: nn.Sequential, keys: Tensor, heads: Tensor, size: tuple[int, int]) -> Tensor:
    """Upscale image tokens (b, n, c) fourfold and multiply with each mask's head: logits (b, m, 4 rows, 4 columns).

    Both convolutions turn each position into 2 x 2 independent ones. So image tokens are processed separately, and only
    the masks are rearranged.
    """
    first, norm, _, second, _ = upscaling
    b, n, _ = keys.shape
    weight1, bias1 = _as_linear(first)
    weight2, bias2 = _as_linear(second)
    if torch.is_grad_enabled():
        x = F.linear(keys, weight1, bias1).view(b, n, 4, first.out_channels)
        x = F.gelu(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
        x = F.gelu(F.linear(x, weight2, bias2)).view(b, n, 16, second.out_channels)
        return _in_order(torch.einsum("bnqc,bmc->bnqm", x, heads), size)
    logits = keys.new_empty(b, n, 16, heads.shape[1])

    def work(item: int, chunk: slice) -> None:
        x = F.linear(keys[item, chunk], weight1, bias1).view(-1, 4, first.out_channels)
        x = torch.ops.aten.gelu_(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
        x = torch.ops.aten.gelu_(F.linear(x, weight2, bias2)).view(-1, 16, second.out_channels)
        logits[item, chunk] = x @ heads[item].T

    in_parallel(work, [(item, chunk) for item in range(b) for chunk in _chunks(keys)])
    return _in_order(logits, size)


def _in_order(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Rearrange logits (b, n, 16, m), 4 x 4 for each image token, to (b, m, 4 rows, 4 columns)."""
    b, (rows, columns) = len(logits), size
    # (row, column, half of the row, of the column, quarter of the row, of the column, mask)
    logits = logits.view(b, rows, columns, 2, 2, 2, 2, -1).permute(0, 7, 1, 3, 5, 2, 4, 6)
    return logits.reshape(b, -1, 4 * rows, 4 * columns)


def _as_linear(conv: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution of one position to 2 x 2 as a linear layer: weight (4 c', c) and bias (4 c')."""
    weight = conv.weight.permute(2, 3, 1, 0).reshape(-1, conv.in_channels)
    return weight, conv.bias.repeat(4)
