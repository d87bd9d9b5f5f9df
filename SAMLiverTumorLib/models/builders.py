"""`load_model`: from a weight file to networks ready to run.

Prompt encoder, mask decoder and the ViT image encoders are those of segment_anything (Kirillov et al.,
"Segment Anything", ICCV 2023), with the sizes that its published weights have; the bundled model's image encoder and
upsampling are this project's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.models.checkpoint import detect_architecture, read_checkpoint, sha256_of
from SAMLiverTumorLib.models.clip.clip_text import ClipText, clip_text_of_file
from SAMLiverTumorLib.models.devices import resolve_device
from SAMLiverTumorLib.models.networks import pyramid_encoder
from SAMLiverTumorLib.models.networks.mask_upsampling import crisp_mask_decoder
from SAMLiverTumorLib.models.networks.text_tokens import TextTokens, split_text
from SAMLiverTumorLib.models.networks.tiny_vit import TinyViT
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports
from SAMLiverTumorLib.models.registry import INPUT_SIZES, ModelInfo, load_registry
from SAMLiverTumorLib.models.state_dicts import PARTS, parts_of, spell_out, starts_of
from SAMLiverTumorLib.models.weights import info_from, read_about

_EMBEDDING_CHANNELS = 256
_EMBEDDING_SIZE = (64, 64)
# width, depth, heads, and the blocks that attend to the whole image
_VITS = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
_TINY_VITS = {1024: "mobile-sam", 256: "lite-medsam"}
# Constants of the normalization that some training scripts save with the weights.
_NOT_WEIGHTS = ("pixel_mean", "pixel_std")


@dataclass(frozen=True, eq=False)
class SamModel:
    """A loaded model: three networks on one device, in evaluation mode, their weights without gradients.

    :param info: how images and prompts have to be made for it.
    :param sha256: of the weight file, 64 hexadecimal digits; part of the key of each embedding.
    :param image_encoder: images (b, 3, input_size, input_size) to embeddings (b, 256, 64, 64), or with finer features
        (b, 640, 64, 64), see `pyramid_encoder.ImageFeatures`.
    :param prompt_encoder: segment_anything's `PromptEncoder`.
    :param mask_decoder: segment_anything's `MaskDecoder`, or `crisp_mask_decoder`.
    :param device: where they are.
    :param text: tokens for the phrases of text prompts; None where the model takes no text.
    """

    info: ModelInfo
    sha256: str
    image_encoder: nn.Module
    prompt_encoder: nn.Module
    mask_decoder: nn.Module
    device: torch.device
    text: TextTokens | ClipText | None = None


def load_model(
    path: Path,
    info: ModelInfo | None = None,
    device: str = "auto",
    confirm: Callable[[str], bool] = lambda question: False,
) -> SamModel:
    """Load a weight file.

    >>> model = load_model(store.path(info), info)                              # doctest: +SKIP
    >>> model.image_encoder(images)                                             # doctest: +SKIP

    :param path: a PyTorch checkpoint or a `.safetensors` file. One of a training run with adapters needs its base
        in the store.
    :param info: the registered model that the file was verified to be; None for a user's own file, whose
        network is then known by its SHA-256 if it is a registered one's and by its shapes if not.
    :param device: "auto", "cpu", "cuda", "cuda:1" or "mps", see `resolve_device`.
    :param confirm: asked before CLIP is downloaded, which phrases need that were not among the trained ones.
    :raises ModelError: the file is missing or damaged, or its weights are not exactly the network's.
    :raises InputError: the device does not exist.
    """
    path = Path(path)
    target = resolve_device(device)
    state = read_checkpoint(path)
    about = read_about(path)
    if info is None:
        info = _info_of_file(path, state, about)
    if about is not None and "adapter" in about:
        from SAMLiverTumorLib.models.lora import with_base

        state = with_base(state, about["adapter"], path.name)
    text: TextTokens | ClipText | None = None
    if about is not None and "text_encoder" in about:
        text = clip_text_of_file(state, about["text_encoder"], path, confirm)
    state, tokens = split_text(state)
    networks = build_networks(info.architecture, info.input_size)
    weights = {
        name: weight.float() if weight.is_floating_point() else weight
        for name, weight in state.items()
        if name not in _NOT_WEIGHTS
    }
    _check_names_and_shapes(networks, weights, path, info)
    networks.load_state_dict(weights, strict=True, assign=True)
    networks.to(target).eval().requires_grad_(False)
    if info.architecture == "pyramid":
        # as its images are; else each convolution reorders its weights with every image
        networks["image_encoder"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if text is None and tokens:
        text = TextTokens({concept: value.float() for concept, value in tokens.items()})
    if text is not None:
        text.to(target).eval().requires_grad_(False)
    return SamModel(info=info, sha256=info.sha256, device=target, text=text, **networks)


def build_networks(architecture: str, input_size: int) -> nn.ModuleDict:
    """A model's networks as `image_encoder`, `prompt_encoder` and `mask_decoder`, without weights.

    They are on PyTorch's meta device, which takes neither time nor memory for weights that the file's
    replace anyway: fill them by `load_state_dict(..., assign=True)`.

    :raises ValueError: there is no such architecture for that input size.
    """
    if input_size not in INPUT_SIZES.get(architecture, ()):
        raise ValueError(f"There is no {architecture} for images of {input_size} x {input_size} pixels.")
    ensure_torchvision_imports()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer

    with torch.device("meta"):
        image_encoder: nn.Module
        if architecture == "tiny_vit":
            image_encoder = TinyViT(_TINY_VITS[input_size])
        elif architecture == "pyramid":
            image_encoder = pyramid_encoder.PyramidEncoder(normalizes=False)
        else:
            width, depth, heads, whole_image = _VITS[architecture]
            image_encoder = ImageEncoderViT(
                img_size=input_size,
                patch_size=16,
                embed_dim=width,
                depth=depth,
                num_heads=heads,
                mlp_ratio=4,
                out_chans=_EMBEDDING_CHANNELS,
                norm_layer=partial(nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=14,
                global_attn_indexes=whole_image,
            )
        transformer = TwoWayTransformer(depth=2, embedding_dim=_EMBEDDING_CHANNELS, num_heads=8, mlp_dim=2048)
        if architecture == "pyramid":
            mask_decoder = crisp_mask_decoder(transformer)
        else:
            mask_decoder = MaskDecoder(
                transformer_dim=_EMBEDDING_CHANNELS,
                transformer=transformer,
                num_multimask_outputs=3,
                iou_head_depth=3,
                iou_head_hidden_dim=256,
            )
        return nn.ModuleDict(
            {
                "image_encoder": image_encoder,
                "prompt_encoder": PromptEncoder(
                    embed_dim=_EMBEDDING_CHANNELS,
                    image_embedding_size=_EMBEDDING_SIZE,
                    input_image_size=(input_size, input_size),
                    mask_in_chans=16,
                ),
                "mask_decoder": mask_decoder,
            }
        )


def _info_of_file(path: Path, state: dict[str, torch.Tensor], about: dict[str, Any] | None) -> ModelInfo:
    """What is known of a user's own file: from the registry, from its header, or from its shapes."""
    digest = sha256_of(path)
    for info in load_registry().values():
        if info.sha256 == digest:
            return info
    if about is not None:
        return info_from(about, path, digest)
    detected = detect_architecture(state)
    return ModelInfo(
        id=f"file:{path.name}",
        title=path.name,
        architecture=detected.architecture,
        input_size=detected.input_size,
        prompts=detected.prompts,
        normalization=detected.normalization,
        resize=detected.resize,
        file_name=path.name,
        size=path.stat().st_size,
        sha256=digest,
        licence="unknown",
        citation="",
        notes="A file of the user's own; its network was recognized by the shapes of its weights.",
        sources=(),
    )


def _check_names_and_shapes(networks: nn.Module, weights: dict[str, torch.Tensor], path: Path, info: ModelInfo) -> None:
    """Make sure that a file holds each of the networks' weights and nothing else.

    :raises ModelError: naming the first that are wrong.
    """
    there = parts_of(weights)
    if absent := [part for part in PARTS if part not in there]:
        raise ModelError(
            f"'{path.name}' holds the weights of {spell_out(there) or starts_of(weights)} alone, without "
            f"{spell_out(absent)}; save the state_dict of the whole network, frozen parts included."
        )
    floating = {name for name, weight in networks.state_dict().items() if weight.is_floating_point()}
    expected = {name: tuple(weight.shape) for name, weight in networks.state_dict().items()}
    faults = [
        ("missing", [name for name in expected if name not in weights]),
        ("unknown", [name for name in weights if name not in expected]),
        ("in whole numbers", [name for name in weights if name in floating and not weights[name].is_floating_point()]),
        (
            "of another shape",
            [
                f"{name} {tuple(weights[name].shape)} instead of {shape}"
                for name, shape in expected.items()
                if name in weights and tuple(weights[name].shape) != shape
            ],
        ),
    ]
    reasons = [f"{len(names)} {fault} ({listed(names, 3)})" for fault, names in faults if names]
    if reasons:
        raise ModelError(
            f"The weights in '{path.name}' are not those of {info.title} ({info.architecture}, {info.input_size} "
            f"pixels): {'; '.join(reasons)}."
        )
