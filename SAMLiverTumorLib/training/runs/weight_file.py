"""What a trained model's weight file holds: with adapters only the weights that learned, else all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from SAMLiverTumorLib.models.builders import SamModel
from SAMLiverTumorLib.models.clip.clip_text import ClipText
from SAMLiverTumorLib.models.lora import DOWN, merged
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel


def file_content(model: SamModel, trainable: TrainableModel, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name for the file, and the entries of its header about them.

    Adapters of a registered model are saved alone, since everybody can get the model. Those of a user's own file are
    merged into the encoder, which then has plain layers.

    :param model: the model that the run started from; it shares its networks with `trainable`.
    :param rank: of the adapters, if there are any.
    """
    header = {"text_encoder": trainable.text.about} if isinstance(trainable.text, ClipText) else {}
    if trainable.train_part == "lora":
        known = load_registry().get(model.info.id)
        if known is not None and known.sha256 == model.sha256:
            vectors = {f"text.{name}": vector for name, vector in trainable.text.named_buffers()}
            adapter = {"base": known.id, "base_sha256": known.sha256, "rank": rank}
            return {**trainable.learnable(), **vectors}, {"adapter": adapter, **header}
        merged(model.image_encoder)
    parts = {
        "image_encoder": model.image_encoder,
        "prompt_encoder": model.prompt_encoder,
        "mask_decoder": model.mask_decoder,
        "text": trainable.text,
    }
    return {
        f"{part}.{name}": value for part, network in parts.items() for name, value in network.state_dict().items()
    }, header


def mixture(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the straight line from the old ones (share 0) to the new ones (share 1).

    Of an adapter B A that started with B = 0, only B is mixed: the product then has that share of what it learned.
    Mixing both would give the square of the share, plus a remainder of A's starting values.
    """
    return {name: new[name] if name.endswith(DOWN) else torch.lerp(old[name], new[name], share) for name in new}
