"""Low-rank adapters: an encoder's attention is trained through two thin matrices beside each of its frozen weights.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685. A layer W x becomes W x + B A x with
A (rank, inputs) and B (outputs, rank). A starts at random and B at zero, so that nothing changes at first. Adapted are
the linear layers `qkv` and `proj` of each attention, in TinyViT and in segment_anything's ViT.

A training run with adapters writes a file of the trained weights alone; the others are its base's, see `with_base`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.checkpoint import read_checkpoint
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.registry import load_registry

DOWN, UP = ".lora_a", ".lora_b"
"""Ends of the names of A and B; before them stands the name of the adapted layer."""

_LAYERS = ("qkv", "proj")


class LowRank(nn.Module):
    """A linear layer with an adapter beside it; x (..., inputs) to (..., outputs).

    :param base: the layer, which is frozen.
    :param down: A (rank, inputs).
    :param up: B (outputs, rank).
    """

    def __init__(self, base: nn.Linear, down: Tensor, up: Tensor) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a, self.lora_b = nn.Parameter(down), nn.Parameter(up)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + functional.linear(functional.linear(x, self.lora_a), self.lora_b)


def add_lora(encoder: nn.Module, rank: int, seed: int = 0) -> None:
    """Freeze an encoder and set an adapter beside every linear layer of its attention.

    >>> from SAMLiverTumorLib.models.networks.tiny_vit import TinyViT
    >>> encoder = TinyViT("lite-medsam")
    >>> add_lora(encoder, rank=4)
    >>> encoder.layers[1].blocks[0].attn.qkv.lora_a.shape
    torch.Size([4, 128])

    :param rank: of B A; where a layer is thinner, no more than that.
    :param seed: of A, which is normal with a deviation of 1 / sqrt(inputs).
    :raises ValueError: there are no such layers, or they have adapters already.
    """
    generator = torch.Generator().manual_seed(seed)
    encoder.requires_grad_(False)
    found = list(_attentions(encoder, nn.Linear))
    if not found:
        raise ValueError("The encoder has no attention to adapt, or its adapters already.")
    for attention, name in found:
        base = getattr(attention, name)
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        thin = min(rank, base.in_features, base.out_features)
        down = torch.randn(thin, base.in_features, generator=generator) * base.in_features**-0.5
        setattr(attention, name, LowRank(base, down.to(**like), torch.zeros(base.out_features, thin, **like)))


@torch.no_grad()
def merged(encoder: nn.Module) -> nn.Module:
    """The same encoder with plain layers again, each with its adapter's product in its weight.

    It is changed in place. What works on layers one by one (bands of rows, export to ONNX, files) then sees no
    adapters.
    """
    for attention, name in list(_attentions(encoder, LowRank)):
        layer = getattr(attention, name)
        layer.base.weight += layer.lora_b @ layer.lora_a
        setattr(attention, name, layer.base)
    return encoder


def with_base(state: Mapping[str, Tensor], adapter: Any, file_name: str) -> dict[str, Tensor]:
    """All weights of a model, given a file of adapters and other trained weights.

    :param state: the file's weights by name.
    :param adapter: what its header says of its base: "base" (model id) and "base_sha256".
    :return: the base's weights, float32, with products added and trained ones exchanged.
    :raises ModelError: the base is unknown, not in the store, or not the one that was adapted.
    """
    if not isinstance(adapter, Mapping) or not {"base", "base_sha256"} <= adapter.keys():
        raise ModelError(f"The weight file '{file_name}' has a damaged header (adapter); copy it again.")
    info = load_registry().get(str(adapter["base"]))
    if info is None:
        raise ModelError(
            f"'{file_name}' adapts the model '{adapter['base']}', which this version does not know; update the "
            "extension."
        )
    if info.sha256 != adapter["base_sha256"]:
        raise ModelError(
            f"'{file_name}' adapts other weights of {info.title} than those that this version uses; train it again, "
            "or use the version that it was trained with."
        )
    store = ModelStore()
    try:
        store.verify(info)
    except ModelError as error:
        raise ModelError(f"'{file_name}' needs the model that it adapts. {error}") from error
    return applied(read_checkpoint(store.path(info)), state, file_name)


def applied(base: Mapping[str, Tensor], learned: Mapping[str, Tensor], file_name: str | Path) -> dict[str, Tensor]:
    """A base's weights with the adapters' products added and the other trained weights in place of its own.

    :raises ModelError: an adapter lacks its other half, or fits no weight of the base.
    """
    weights = dict(base)
    for name, value in learned.items():
        if not name.endswith((DOWN, UP)):
            weights[name] = value
    for name, down in learned.items():
        if not name.endswith(DOWN):
            continue
        layer = name.removesuffix(DOWN)
        up, weight = learned.get(layer + UP), base.get(f"{layer}.weight")
        if up is None or weight is None or (len(up), *down.shape[1:]) != weight.shape or up.shape[1:] != down.shape[:1]:
            raise ModelError(f"The adapter {layer} in '{file_name}' does not fit its base; train it again.")
        weights[f"{layer}.weight"] = weight.float() + up.float() @ down.float()
    return weights


def _attentions(encoder: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, str]]:
    """Each attention with the name of each of its layers that is of exactly that kind."""
    for part in encoder.modules():
        if all(hasattr(part, name) for name in _LAYERS):
            yield from ((part, name) for name in _LAYERS if type(getattr(part, name)) is kind)
