"""`Predictor`: from a slice image and prompts to a mask at the image's resolution.

Prompt encoder and mask decoder are segment_anything's (Kirillov et al., "Segment Anything", ICCV 2023); the image
encoder is the model's own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from SAMLiverTumorLib.inference.decoder import Decoder, ImageSide
from SAMLiverTumorLib.inference.embeddings.cancellable_encoder import cancelled_by, make_cancellable
from SAMLiverTumorLib.inference.embeddings.memory_cache import EmbeddingCache, image_key
from SAMLiverTumorLib.inference.mirror_averaging import (
    gains_from_mirror,
    mirrored_image,
    mirrored_logits,
    mirrored_prompts,
)
from SAMLiverTumorLib.inference.model_choice import check_concept, check_prompts
from SAMLiverTumorLib.inference.prediction import Embedding, Prediction, prediction_of
from SAMLiverTumorLib.models.networks.row_bands import workers
from SAMLiverTumorLib.models.preprocessing.input_geometry import InputGeometry, input_geometry
from SAMLiverTumorLib.models.preprocessing.network_input import network_input
from SAMLiverTumorLib.prompts import PlanePrompts

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel

# Part of the disk cache's keys; raise it whenever the same slice image and weights give another embedding.
_ENCODING = 1
# Slice images whose decoder input is kept in memory; each takes 8 MiB.
_PREPARED = 4


class Predictor:
    """Encodes slice images, each once, and decodes prompts on them.

    :param model: a loaded model.
    :param cache: of embeddings, shared between predictors; the predictor's own if not given.

    >>> predictor = Predictor(load_model(path, info))                           # doctest: +SKIP
    >>> embedding = predictor.embed(rgb, (0.8, 0.8))                            # doctest: +SKIP
    >>> predictor.predict(embedding, PlanePrompts(box=(60, 40, 90, 75))).mask   # doctest: +SKIP
    """

    def __init__(self, model: SamModel, cache: EmbeddingCache | None = None) -> None:
        self.model = model
        self.cache = cache if cache is not None else EmbeddingCache()
        make_cancellable(model.image_encoder)
        self.encoded = 0
        """Number of times the image encoder has run; cached embeddings do not count."""
        self._decoder = Decoder(model.prompt_encoder, model.mask_decoder)
        self._prepared: OrderedDict[int, tuple[torch.Tensor, ImageSide]] = OrderedDict()
        self._lock = threading.Lock()

    def embed(
        self,
        rgb: np.ndarray,
        spacing: tuple[float, float],
        cancel: Callable[[], bool] | None = None,
        mirrored: bool = False,
    ) -> Embedding:
        """The embedding of a slice image, from memory or disk if it was encoded before.

        :param rgb: uint8, shape (rows, columns, 3).
        :param spacing: millimeters per pixel along (rows, columns); images with oblong pixels are resized to their true
            proportions.
        :param cancel: called before every layer of the encoder.
        :param mirrored: encode the mirror image as well, if that improves the model's masks.
        :raises Cancelled: when `cancel` returns true; nothing is cached then.
        """
        info = self.model.info
        if mirrored and gains_from_mirror(info):
            mirror = self.embed(mirrored_image(rgb), spacing, cancel)
            return replace(self.embed(rgb, spacing, cancel), mirror=mirror)
        geometry = input_geometry(rgb.shape[:2], spacing, info.input_size, info.resize)
        key = image_key(rgb, spacing, self.model.sha256)

        def make() -> Embedding:
            disk = self.cache.disk
            if disk is not None and (kept := disk.get(f"{_ENCODING} {key}")) is not None:
                return Embedding(torch.tensor(kept, device=self.model.device), geometry)
            embedding = self._encode(rgb, geometry)
            if disk is not None:
                disk.put(f"{_ENCODING} {key}", embedding.packed.cpu().numpy())
            return embedding

        with cancelled_by(cancel), self._cores():
            return self.cache.get_or_make(key, make, lambda embedding: embedding.nbytes)

    @torch.inference_mode()
    def _encode(self, rgb: np.ndarray, geometry: InputGeometry) -> Embedding:
        info, device = self.model.info, self.model.device
        self.encoded += 1
        # graphics cards are faster in half precision, to which embeddings are rounded anyway
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            features = self.model.image_encoder(network_input(rgb, geometry, info, device))
        return Embedding(features.half(), geometry)

    @torch.inference_mode()
    def predict(self, embedding: Embedding, prompts: PlanePrompts) -> Prediction:
        """Decode one set of prompts.

        A single point is ambiguous, so the one of three masks with the highest predicted IoU is taken. For a box,
        several points or an earlier mask, SAM's single-mask output is taken.

        :raises PromptError: there is no include point or box, or the model was not trained for a kind of prompt given.
        """
        return self.predict_batch(embedding, [prompts])[0]

    @torch.inference_mode()
    def predict_batch(self, embedding: Embedding, batch: Sequence[PlanePrompts]) -> list[Prediction]:
        """As `predict`, for several sets of prompts on one slice image; those of one form are decoded together."""
        with self._cores():
            return self._predict_batch(embedding, batch)

    @torch.inference_mode()
    def predict_text(self, embedding: Embedding, concept: str) -> Prediction:
        """Segment everything in the slice image that a concept such as "liver tumor" names, by text alone.

        :raises PromptError: the model has no text prompts, or not this concept.
        """
        text = check_concept(concept, self.model.info)
        with self._cores():
            tokens = self.model.text(text)
            logits, iou = self._decoder.decode(self._image_side(embedding), None, None, None, False, tokens)
            return prediction_of(logits[0, 0], float(iou[0, 0]), embedding.geometry)

    def _cores(self) -> AbstractContextManager:
        """Split work among cores in large tasks; split by operation, they would often wait for each other."""
        return workers() if self.model.device.type == "cpu" else nullcontext()

    def _predict_batch(self, embedding: Embedding, batch: Sequence[PlanePrompts]) -> list[Prediction]:
        forms = defaultdict(list)
        for number, prompts in enumerate(batch):
            check_prompts(prompts, self.model.info)
            forms[len(prompts.points), prompts.box is None, prompts.mask is None].append(number)
        predictions: dict[int, Prediction] = {}
        for numbers in forms.values():
            decoded = self._decode(embedding, [batch[number] for number in numbers])
            predictions.update(zip(numbers, decoded, strict=True))
        return [predictions[number] for number in range(len(batch))]

    def _image_side(self, embedding: Embedding) -> ImageSide:
        """The decoder's input for a slice image; kept for the images prompted last."""
        key = id(embedding.packed)  # the tensor is kept as well, so that its id stays unique
        with self._lock:
            if key in self._prepared:
                self._prepared.move_to_end(key)
                return self._prepared[key][1]
        image = self._decoder.image_side(embedding.features)
        with self._lock:
            self._prepared[key] = (embedding.packed, image)
            while len(self._prepared) > _PREPARED:
                self._prepared.popitem(last=False)
        return image

    def _decode(self, embedding: Embedding, batch: list[PlanePrompts]) -> list[Prediction]:
        """Decode sets of prompts with the same number of points, all with or without a box, likewise a mask."""
        logits, iou = self._logits(embedding, batch)
        if embedding.mirror is not None:
            geometry = embedding.geometry
            second, second_iou = self._logits(embedding.mirror, [mirrored_prompts(each, geometry) for each in batch])
            logits, iou = (logits + mirrored_logits(second, geometry)) / 2.0, (iou + second_iou) / 2.0
        best = iou.argmax(dim=1).tolist()
        each = enumerate(best)
        return [prediction_of(logits[n, chosen], float(iou[n, chosen]), embedding.geometry) for n, chosen in each]

    def _logits(self, embedding: Embedding, batch: list[PlanePrompts]) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits (n, m, 256, 256) and predicted IoU (n, m) of a batch as in `_decode`."""
        device, geometry, first = self.model.device, embedding.geometry, batch[0]
        points = boxes = masks = None
        if len(first.points):
            coordinates = np.stack([geometry.to_input(prompts.points) for prompts in batch])
            labels = np.stack([prompts.labels for prompts in batch])
            points = (
                torch.as_tensor(coordinates, dtype=torch.float32, device=device),
                torch.as_tensor(labels, dtype=torch.int32, device=device),
            )
        if first.box is not None:
            corners = np.stack([geometry.to_input(np.reshape(prompts.box, (2, 2))) for prompts in batch])
            boxes = torch.as_tensor(corners.reshape(-1, 4), dtype=torch.float32, device=device)
        if first.mask is not None:
            given = np.stack([prompts.mask for prompts in batch])
            masks = torch.as_tensor(given, dtype=torch.float32, device=device)
        ambiguous = first.kinds == {"points"} and len(first.points) == 1
        return self._decoder.decode(self._image_side(embedding), points, boxes, masks, ambiguous)
