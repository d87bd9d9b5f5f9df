"""Weight files that describe themselves: safetensors whose header says how to use them and where they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.io.safe_names import readable_name

if TYPE_CHECKING:
    from torch import Tensor

    from SAMLiverTumorLib.models.registry import ModelInfo

HEADER = "sam-liver-tumor"
# The fields of ModelInfo that a file's header holds; size and hash are the file's own.
_USE = (
    "title",
    "architecture",
    "input_size",
    "normalization",
    "resize",
    "default_window",
    "channels",
    "licence",
    "citation",
    "notes",
)

# What files say that were written before it was asked.
_EARLIER = {"channels": "single"}


def describe(info: ModelInfo) -> dict[str, Any]:
    """The header of a weight file that is to be used as `info` says."""
    use = {name: getattr(info, name) for name in _USE}
    return {**use, "prompts": sorted(info.prompts), "concepts": list(info.concepts)}


def save_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any], half: bool = False) -> None:
    """Write a .safetensors file, whole or not at all.

    :param about: goes into the header as JSON: see `describe`, and whatever a card should say. With "adapter",
        {"base": model id, "base_sha256": of its weights, "rank": of the adapters}, `weights` are added to the base's,
        see `lora.py`.
    :param half: 16 bits a weight, which halves the file; masks of TinyViT change by less than by an embedding's
        rounding.
    :raises OutputError: the disk is full, or refuses.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for name, weight in weights.items():
        value = weight.detach().to("cpu").contiguous().clone()
        tensors[name] = value.to(torch.float16) if half and value.is_floating_point() else value
    with atomic_path(path, overwrite=True) as temporary:
        save_file(tensors, str(temporary), metadata={HEADER: json.dumps(about, sort_keys=True)})


def read_about(path: Path) -> dict[str, Any] | None:
    """The header of a weight file; None for a file that does not come from `save_weights`.

    :raises ModelError: the header is damaged.
    """
    if Path(path).suffix.lower() != ".safetensors":
        return None
    import safetensors

    try:
        with readable_name(Path(path)) as readable, safetensors.safe_open(str(readable), "pt") as file:
            text = (file.metadata() or {}).get(HEADER)
        about = None if text is None else parse_json(text)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"The weight file '{Path(path).name}' is damaged or incomplete; copy it again.") from error
    if about is not None and not isinstance(about, dict):
        raise ModelError(f"The weight file '{Path(path).name}' has a damaged header; copy it again.")
    return about


def info_from(about: Mapping[str, Any], path: Path, sha256: str) -> ModelInfo:
    """The model that a header describes.

    :raises ModelError: the header lacks something or is inconsistent.
    """
    from SAMLiverTumorLib.models.registry import ModelInfo, check_use

    try:
        about = {**_EARLIER, **about}
        prompts, concepts = frozenset(about["prompts"]), tuple(about["concepts"])
        check_use(about, prompts, concepts)
        return ModelInfo(
            id=f"file:{path.name}",
            **{name: about[name] for name in _USE},
            prompts=prompts,
            concepts=concepts,
            open_text="text_encoder" in about,
            file_name=path.name,
            size=path.stat().st_size,
            sha256=sha256,
            sources=(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The weight file '{path.name}' has a damaged header ({error}); copy it again.") from error
