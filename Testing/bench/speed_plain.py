"""The plain implementation to compare with: segment_anything's own SamPredictor with the same weights.

TinyViT runs as in published code: channels first, every convolution, normalization and activation on its own over the
whole image, and attention as two matrix products with a softmax between them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from SAMLiverTumorLib.models.builders import SamModel
from SAMLiverTumorLib.models.networks.tiny_vit import TinyViT


class PlainTinyViT(nn.Module):
    """Images (b, 3, size, size) to embeddings (b, 256, 64, 64), with the weights of another TinyViT."""

    def __init__(self, encoder: TinyViT) -> None:
        super().__init__()
        self.encoder, self.img_size = encoder, encoder.input_size
        stages = list(encoder.layers)[1:]
        self.biases = [[block.attn.attention_biases[:, block.attn._bias_index] for block in s.blocks] for s in stages]

    def forward(self, images: Tensor) -> Tensor:
        stem, first, *stages = self.encoder.patch_embed.seq, *self.encoder.layers
        x = _normalized(stem[2], F.gelu(_normalized(stem[0], images)))
        for block in first.blocks:
            x = F.gelu(x + _bottleneck(block, x))
        x = _bottleneck(first.downsample, x)
        for stage, biases in zip(stages, self.biases, strict=True):
            for block, bias in zip(stage.blocks, biases, strict=True):
                x = _attention_block(block, x, bias)
            if stage.downsample is not None:
                x = _bottleneck(stage.downsample, x)
        neck = self.encoder.neck
        return _channel_norm(neck[3], neck[2](_channel_norm(neck[1], neck[0](x))))


def sam_predictor(model: SamModel):
    """segment_anything's SamPredictor with a MobileSAM model's weights."""
    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam

    mean, deviation = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    encoder = PlainTinyViT(model.image_encoder)
    return SamPredictor(Sam(encoder, model.prompt_encoder, model.mask_decoder, mean, deviation).eval())


def _normalized(part: nn.Module, x: Tensor) -> Tensor:
    return part.bn(part.c(x))


def _bottleneck(block: nn.Module, x: Tensor) -> Tensor:
    x = F.gelu(_normalized(block.conv1, x))
    return _normalized(block.conv3, F.gelu(_normalized(block.conv2, x)))


def _attention_block(block: nn.Module, x: Tensor, bias: Tensor) -> Tensor:
    b, c, h, w = x.shape
    size = block.window
    tokens = x.permute(0, 2, 3, 1).contiguous()
    padded = F.pad(tokens, (0, 0, 0, -w % size, 0, -h % size))
    rows, columns = padded.shape[1] // size, padded.shape[2] // size
    windows = padded.view(b, rows, size, columns, size, c).transpose(2, 3).reshape(-1, size * size, c)
    windows = _attention(block.attn, windows, bias)
    joined = windows.view(b, rows, columns, size, size, c).transpose(2, 3).reshape(b, rows * size, columns * size, c)
    tokens = tokens + joined[:, :h, :w]
    x = _normalized(block.local_conv, tokens.permute(0, 3, 1, 2).contiguous())
    tokens = x.flatten(2).transpose(1, 2).contiguous()
    tokens = tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.mlp.norm(tokens))))
    return tokens.transpose(1, 2).reshape(b, c, h, w)


def _attention(attention: nn.Module, windows: Tensor, bias: Tensor) -> Tensor:
    n, positions, c = windows.shape
    qkv = attention.qkv(attention.norm(windows)).view(n, positions, attention.heads, -1).transpose(1, 2)
    query, key, value = qkv.chunk(3, dim=-1)
    weights = ((query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5 + bias).softmax(dim=-1)
    return attention.proj((weights @ value).transpose(1, 2).reshape(n, positions, c))


def _channel_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + norm.eps)
    return norm.weight[:, None, None] * x + norm.bias[:, None, None]
