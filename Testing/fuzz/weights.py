"""Targets: weight files, states of training runs, cached embeddings."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fuzz import seeds
from fuzz.structure import safetensors_header, zip_member
from fuzz.target import Files, Target
from SAMLiverTumorLib.errors import ModelError

_ONLY_FEW = ("are not those of", "needs the model", "does not fit its base", "alone, without")


def _load_model(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.models.builders import load_model
    from SAMLiverTumorLib.models.weights import read_about
    from SAMLiverTumorLib.panel.panel_pool import aboutFile

    aboutFile(str(path))
    try:
        load_model(path, device="cpu")
    except ModelError as error:
        # expected, since the file holds too few weights for a network
        if not any(words in str(error) for words in _ONLY_FEW):
            raise
    read_about(path)


def read_checkpoint(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.models.checkpoint import detect_architecture, read_checkpoint

    weights = read_checkpoint(path)
    with suppress(ModelError):
        detect_architecture(weights)


def _apply_adapter(folder: Path, path: Path, out: Path) -> None:
    import torch

    from SAMLiverTumorLib.models.checkpoint import read_checkpoint
    from SAMLiverTumorLib.models.lora import applied

    applied({"a.qkv.weight": torch.zeros(24, 8), "a.out": torch.ones(3)}, read_checkpoint(path), path.name)


def _load_state(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.training.optimization.checkpoint_state import load_state

    load_state(folder)


def _load_unet(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.models.networks.unet import load_unet

    load_unet(path)


def _read_embedding(folder: Path, path: Path, out: Path) -> None:
    from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache

    (out / path.name).write_bytes(path.read_bytes())  # a damaged entry is removed
    array = DiskCache(out).get("key")
    assert array is None or (array == _embedding()).all()


def _embedding():
    import numpy as np

    return np.arange(600, dtype=np.float16).reshape(1, 6, 10, 10)


def _embedding_files() -> dict[str, Files]:
    import tempfile

    from SAMLiverTumorLib.inference.embeddings.disk_cache import DiskCache

    with tempfile.TemporaryDirectory() as folder:
        DiskCache(Path(folder)).put("key", _embedding())
        return {"one": {path.name: path.read_bytes() for path in Path(folder).iterdir()}}


def _unet_files() -> dict[str, Files]:
    import tempfile

    from SAMLiverTumorLib.models.networks.unet import Unet, UnetShape, build_network, save_unet

    shape = UnetShape(32, (4, 8), (-100.0, 200.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unet.safetensors"
        save_unet(Unet(build_network(shape), shape, {"minutes": 1}), path)
        return {"small": {path.name: path.read_bytes()}}


CHECKPOINT_WORDS = (
    *(
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"\x80\x02",
        b"cos\nsystem\n",
        b"c__builtin__\neval\n",
        b"R.",
        b"ctorch\n",
    ),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"FloatStorage", b"archive/data.pkl"),
    *(b"cbuiltins\nopen\n(X\x0e\x00\x00\x00PICKLE-WAS-RUNX\x01\x00\x00\x00wtR.",),
)


def _checkpoints() -> dict[str, Files]:
    made = {"zip": seeds.checkpoint_bytes(True), "old": seeds.checkpoint_bytes(False)}
    made |= {"wrapped": seeds.checkpoint_bytes(True, True)}
    made |= {"trap-zip": seeds.trap_bytes(True), "trap-old": seeds.trap_bytes(False)}
    return {name: {"x.pth": data} for name, data in made.items()}


TARGETS = (
    Target(
        "safetensors",
        lambda: {"model": {"x.safetensors": seeds.safetensors_bytes(False)}},
        _load_model,
        {".safetensors": (safetensors_header,)},
        (b'"F32"', b'"F16"', b'"I64"', b'"BOOL"', b'"data_offsets"', b'"shape"', b"__metadata__"),
        1.5,
    ),
    Target(
        "lora",
        lambda: {"adapter": {"x.safetensors": seeds.safetensors_bytes(True)}},
        _apply_adapter,
        {".safetensors": (safetensors_header,)},
    ),
    Target(
        "lora-model",
        lambda: {"adapter": {"x.safetensors": seeds.safetensors_bytes(True)}},
        _load_model,
        {".safetensors": (safetensors_header,)},
    ),
    Target("checkpoint", _checkpoints, read_checkpoint, {".pth": (zip_member,)}, CHECKPOINT_WORDS, 1.5),
    Target("training-state", lambda: {"one": {"last.pt": seeds.state_bytes()}}, _load_state, {".pt": (zip_member,)}),
    Target("unet", _unet_files, _load_unet, {".safetensors": (safetensors_header,)}),
    Target("embedding", _embedding_files, _read_embedding, {}, (), 0.5),
)
