"""`Predictor`: a picture and prompts in, a mask at the picture's resolution out.

The prompt encoder and mask decoder are those of segment_anything (Kirillov et al., "Segment Anything",
ICCV 2023); the image encoder is the model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from SAMLiverTumorLib.image.resize import resize_picture
from SAMLiverTumorLib.inference.cache import EmbeddingCache, picture_key
from SAMLiverTumorLib.inference.cancellable import cancelled_by, make_cancellable
from SAMLiverTumorLib.inference.pool import check_prompts
from SAMLiverTumorLib.prompts import PlanePrompts

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)

# Offset of the two thresholds whose masks the stability score compares, as in SAM's own mask generator.
_STABILITY_OFFSET = 1.0


@dataclass(frozen=True)
class InputGeometry:
    """How a picture lies in the network's square input.

    :param shape: (rows, columns) of the picture.
    :param resized: (rows, columns) that the picture fills in the input, from its upper left corner.
    :param input_size: edge of the square input in pixels.
    """

    shape: tuple[int, int]
    resized: tuple[int, int]
    input_size: int

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per picture pixel along (rows, columns)."""
        return self.resized[0] / self.shape[0], self.resized[1] / self.shape[1]

    def to_input(self, uv: np.ndarray) -> np.ndarray:
        """Picture coordinates (n, 2) as (u, v) to the input's, pixel centers being integers in both."""
        scale_v, scale_u = self.scale
        return (np.asarray(uv, float) + 0.5) * (scale_u, scale_v) - 0.5


@dataclass(frozen=True, eq=False)
class Embedding:
    """A picture after the image encoder.

    :param features: tensor (1, 256, 64, 64) on the model's device.
    :param geometry: where the picture lies in the network's input.
    """

    features: torch.Tensor
    geometry: InputGeometry


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the decoder says of one set of prompts.

    :param mask: bool (rows, columns) of the picture.
    :param logits: float32 (rows, columns); the mask is where they exceed 0.
    :param predicted_iou: the network's own estimate of the mask's IoU.
    :param stability: IoU of the masks at logit thresholds +1 and -1 (Kirillov et al., 2023).
    :param low_resolution: float32 (1, 256, 256) logits to hand back as `PlanePrompts.mask`.
    """

    mask: np.ndarray
    logits: np.ndarray
    predicted_iou: float
    stability: float
    low_resolution: np.ndarray


class Predictor:
    """Encodes pictures, once each, and decodes prompts on them.

    :param model: a loaded model.
    :param cache: shared between predictors if given; otherwise the predictor keeps its own.

    >>> predictor = Predictor(load_model(path, info))                           # doctest: +SKIP
    >>> embedding = predictor.embed(rgb, (0.8, 0.8))                            # doctest: +SKIP
    >>> predictor.predict(embedding, PlanePrompts(box=(60, 40, 90, 75))).mask   # doctest: +SKIP
    """

    def __init__(self, model: SamModel, cache: EmbeddingCache | None = None) -> None:
        self.model = model
        self.cache = cache if cache is not None else EmbeddingCache()
        make_cancellable(model.image_encoder)
        self.encoded = 0
        """Number of pictures the image encoder has run on, cached ones not counted."""

    def embed(
        self, rgb: np.ndarray, spacing: tuple[float, float], cancel: Callable[[], bool] | None = None
    ) -> Embedding:
        """The embedding of a picture, from the cache if it was encoded before.

        :param rgb: uint8, shape (rows, columns, 3).
        :param spacing: millimeters per pixel along (rows, columns); pictures with oblong pixels reach the
            network in their true proportions.
        :param cancel: asked before every layer of the encoder.
        :raises Cancelled: when `cancel` says so; nothing of the picture is kept.
        """
        key = picture_key(rgb, spacing, self.model.sha256)
        with cancelled_by(cancel):
            return self.cache.get_or_make(
                key, lambda: self._encode(rgb, spacing), lambda e: e.features.element_size() * e.features.nelement()
            )

    @torch.inference_mode()
    def _encode(self, rgb: np.ndarray, spacing: tuple[float, float]) -> Embedding:
        info, device = self.model.info, self.model.device
        geometry = input_geometry(rgb.shape[:2], spacing, info.input_size, info.resize)
        picture = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)[None].float()
        picture = resize_picture(picture, geometry.resized)
        if info.normalization == "unit":
            low, high = picture.min(), picture.max()
            picture = (picture - low) / torch.clamp(high - low, min=1e-8)
        else:
            mean = torch.tensor(_IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
            std = torch.tensor(_IMAGENET_STD, device=device).view(1, 3, 1, 1)
            picture = (picture - mean) / std
        rows, columns = geometry.resized
        picture = functional.pad(picture, (0, info.input_size - columns, 0, info.input_size - rows))
        self.encoded += 1
        return Embedding(self.model.image_encoder(picture), geometry)

    @torch.inference_mode()
    def predict(self, embedding: Embedding, prompts: PlanePrompts) -> Prediction:
        """Decode one set of prompts.

        One point alone is ambiguous, so the best of three masks by predicted IoU is taken; a box, several
        points or an earlier mask name one structure, for which SAM has its single-mask output.

        :raises PromptError: nothing says where the structure is, or the model was not trained for a kind
            of prompt given.
        """
        check_prompts(prompts, self.model.info)
        device, geometry = self.model.device, embedding.geometry
        points = boxes = masks = None
        if len(prompts.points):
            coordinates = torch.as_tensor(geometry.to_input(prompts.points), dtype=torch.float32, device=device)
            labels = torch.as_tensor(prompts.labels, dtype=torch.int32, device=device)
            points = (coordinates[None], labels[None])
        if prompts.box is not None:
            corners = geometry.to_input(np.array(prompts.box).reshape(2, 2))
            boxes = torch.as_tensor(corners.reshape(1, 4), dtype=torch.float32, device=device)
        if prompts.mask is not None:
            masks = torch.as_tensor(prompts.mask, dtype=torch.float32, device=device)[None]
        sparse, dense = self.model.prompt_encoder(points=points, boxes=boxes, masks=masks)
        ambiguous = prompts.kinds == {"points"} and len(prompts.points) == 1
        logits, iou = self.model.mask_decoder(
            image_embeddings=embedding.features,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=ambiguous,
        )
        best = int(iou[0].argmax())
        low_resolution = logits[0, best]
        full = _to_picture(low_resolution, geometry)
        return Prediction(
            mask=full > 0.0,
            logits=full,
            predicted_iou=float(iou[0, best]),
            stability=stability_score(full),
            low_resolution=low_resolution[None].float().cpu().numpy(),
        )


def input_geometry(
    shape: tuple[int, int], spacing: tuple[float, float], input_size: int, resize: str = "longest"
) -> InputGeometry:
    """Place a picture in the network's square input.

    :param shape: (rows, columns).
    :param spacing: millimeters per pixel along (rows, columns).
    :param resize: "longest" scales the side that is longest in millimeters to the input's edge and keeps
        the true proportions; "square" fills the input, as MedSAM's training did.
    """
    if resize == "square":
        return InputGeometry(shape, (input_size, input_size), input_size)
    extent = (shape[0] * spacing[0], shape[1] * spacing[1])
    resized = tuple(max(1, round(input_size * side / max(extent))) for side in extent)
    return InputGeometry(shape, resized, input_size)


def stability_score(logits: np.ndarray) -> float:
    """IoU of the masks at logit thresholds +1 and -1: near 1 where the border is sharp; 0 if both are empty."""
    inner = int(np.count_nonzero(logits > _STABILITY_OFFSET))
    outer = int(np.count_nonzero(logits > -_STABILITY_OFFSET))
    return inner / outer if outer else 0.0


def _to_picture(low_resolution: torch.Tensor, geometry: InputGeometry) -> np.ndarray:
    """Bilinear samples of low-resolution logits (m, m) at the picture's pixel centers; float32 numpy.

    One interpolation straight to the picture's grid replaces SAM's two (to the input, then to the
    picture): the same values but for the second smoothing, without the large picture in between.
    """
    edge = low_resolution.shape[-1]
    axes = []
    for size, scale in zip(geometry.shape, geometry.scale, strict=True):
        centers = (torch.arange(size, dtype=torch.float32, device=low_resolution.device) + 0.5) * scale
        axes.append(centers / geometry.input_size * 2.0 - 1.0)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)[None]
    sampled = functional.grid_sample(
        low_resolution.float().view(1, 1, edge, edge), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, 0].cpu().numpy()
