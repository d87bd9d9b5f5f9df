"""What of a trained network goes into its file: with adapters what has learned alone, else all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from SAMLiverTumorLib.models.builders import SamModel
from SAMLiverTumorLib.models.clip.clip_text import ClipText
from SAMLiverTumorLib.models.lora import DOWN, merged
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.training.optimization.trainee import Trainee


def file_content(model: SamModel, trainee: Trainee, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name for a file, and what its header has to say of them.

    Adapters go alone where everybody has what they belong to, a registered model. Those on a user's own file are
    merged into it, after which the encoder has plain layers.

    :param model: the one that the training began with; its networks are the trainee's.
    :param rank: of the adapters, where there are any.
    """
    told = {"text_encoder": trainee.text.about} if isinstance(trainee.text, ClipText) else {}
    if trainee.train_part == "lora":
        known = load_registry().get(model.info.id)
        if known is not None and known.sha256 == model.sha256:
            vectors = {f"text.{name}": vector for name, vector in trainee.text.named_buffers()}
            adapter = {"base": known.id, "base_sha256": known.sha256, "rank": rank}
            return {**trainee.learning(), **vectors}, {"adapter": adapter, **told}
        merged(model.image_encoder)
    parts = {
        "image_encoder": model.image_encoder,
        "prompt_encoder": model.prompt_encoder,
        "mask_decoder": model.mask_decoder,
        "text": trainee.text,
    }
    return {
        f"{part}.{name}": value for part, network in parts.items() for name, value in network.state_dict().items()
    }, told


def mixture(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the straight way from old (share 0) to new ones (share 1).

    Of an adapter B A that began with B = 0, B alone is mixed: the product then has that share of what it learned,
    where mixing both would leave the square of it and a rest of what A began with.
    """
    return {name: new[name] if name.endswith(DOWN) else torch.lerp(old[name], new[name], share) for name in new}
