"""The model that a training run starts from, and the store of its encoder's embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.models.builders import SamModel, load_model
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.networks.encoder_split import before_last
from SAMLiverTumorLib.models.networks.row_bands import workers
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.models.preprocessing.network_input import network_input
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.training.samples.embedded_samples import SampleStore
from SAMLiverTumorLib.training.settings import FROZEN_ENCODER


def open_base(base: str, confirm: Callable[[str], bool], device: str) -> SamModel:
    """The model to start from: a registered one by its id, or a weight file.

    :raises ModelError: it is neither, or it cannot be downloaded or read.
    """
    info = load_registry().get(base)
    if info is not None:
        return load_model(ModelStore().fetch(info, confirm=confirm), info, device)
    if not Path(base).is_file():
        raise ModelError(f"'{base}' is neither a known model ({', '.join(load_registry())}) nor a weight file.")
    return load_model(Path(base), None, device)


def check_trainable(train: str, model: SamModel) -> None:
    """Refuse to train a part that a model's image encoder does not have.

    :raises InputError: adapters or a last stage for a convolutional encoder.
    """
    if model.info.architecture == "pyramid" and train in ("lora", "last"):
        raise InputError(
            f"The image encoder of '{model.info.id}' is trained as a whole or not at all; choose --train decoder or "
            "--train all."
        )


def sample_store(folder: Path, model: SamModel, train: str = "decoder") -> SampleStore:
    """A store of slice images, embedded by the frozen part of this model's encoder.

    :param train: which part learns, see `TRAINABLE`; if it is the whole encoder, only the slice images are stored.
    """

    @torch.inference_mode()
    def embedded(rgb, spacing):
        with workers():
            geometry = input_geometry(rgb.shape[:2], spacing, model.info.input_size, model.info.resize)
            image = network_input(rgb, geometry, model.info, model.device)
            encode = model.image_encoder if train == "decoder" else partial(before_last, model.image_encoder)
            return encode(image)[0].half().contiguous().cpu().numpy()

    name = encoder_hash(model)
    if train != "decoder":
        name = hashlib.sha256(f"{name} before last".encode()).hexdigest()
    return SampleStore(folder, name, model.info.resize, embedded if train in FROZEN_ENCODER else None)


def encoder_hash(model: SamModel) -> str:
    """SHA-256 of the encoder's weights and of its preprocessing.

    A model of which only the decoder was trained has the same hash as its base.
    """
    info = model.info
    digest = hashlib.sha256(repr((info.input_size, info.normalization, info.resize, info.channels)).encode())
    for name, weight in sorted(model.image_encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
