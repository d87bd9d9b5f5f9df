"""The baseline that a prompted model has to beat: MONAI's 2D U-Net, automatic, slice by slice.

Ronneberger et al., "U-Net", MICCAI 2015, with the residual units of Kerfoot et al., STACOM 2018, as MONAI builds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from SAMLiverTumorLib.errors import Cancelled, InputError, ModelError
from SAMLiverTumorLib.image.sampling import sample_plane, slice_mask_to_voxels, voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.io.safe_names import readable_name
from SAMLiverTumorLib.models.checkpoint import read_checkpoint, sha256_of
from SAMLiverTumorLib.models.preprocessing.resize import resize_image
from SAMLiverTumorLib.plane import Plane, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

KIND = "monai-unet-2d"
_BATCH = 8


@dataclass(frozen=True)
class UnetShape:
    """What a network's weights do not say by themselves.

    :param size: pixels along the longer side of its input; slices are averaged down to it.
    :param channels: of each resolution level, from fine to coarse; each level halves the resolution.
    :param window: intensities shown from 0 to 1 where the volume is in Hounsfield units; others are shown whole.
    :raises InputError: a size that the levels do not divide.
    """

    size: int = 256
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    window: tuple[float, float] = (-160.0, 240.0)

    def __post_init__(self) -> None:
        if self.size < self.divisor or self.size % self.divisor:
            raise InputError(f"A U-Net of {len(self.channels)} levels needs a size divisible by {self.divisor}.")

    @property
    def divisor(self) -> int:
        """The sides of the input have to be multiples of this."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True, eq=False)
class Unet:
    """A trained baseline.

    :param network: images (b, 1, rows, columns) of 0..1 to logits (b, 2, rows, columns): other, tumor.
    :param card: how it was trained; JSON-ready, with the patients under "training_cases" and "validation_cases".
    :param sha256: of its weight file; empty where it was not saved yet.
    """

    network: nn.Module
    shape: UnetShape
    card: dict[str, Any]
    sha256: str = ""


def build_network(shape: UnetShape) -> nn.Module:
    """The network without training, its weights by torch's random numbers."""
    from monai.networks.nets import UNet

    levels = len(shape.channels)
    # batch statistics: training sees crops and prediction whole slices, whose own statistics differ
    return UNet(2, 1, 2, shape.channels, (2,) * (levels - 1), num_res_units=2, norm="batch")


def unet_window(volume: Volume, shape: UnetShape) -> Window:
    """The intensity window for the network: its own in HU, else the whole range."""
    if volume.looks_like_hounsfield:
        return Window(*shape.window)
    low, high = volume.intensity_range
    return Window(min(low, 0.0), max(high, 255.0)) if high <= 255 else Window(low, high)


def unet_image(volume: Volume, plane: Plane, shape: UnetShape) -> torch.Tensor:
    """A plane as the network sees it: float32 (rows, columns) of 0..1, its longer side `shape.size` pixels."""
    grey = unet_window(volume, shape).to_uint8(sample_plane(volume, plane))
    image = torch.from_numpy(np.ascontiguousarray(grey)).float()[None, None] / 255.0
    return resize_image(image, _size_of(plane.shape, shape))[0, 0]


@torch.inference_mode()
def predict_planes(unet: Unet, volume: Volume, planes: list[Plane]) -> list[np.ndarray]:
    """Tumor on some planes of a volume, bool (rows, columns) each, at the planes' own resolution."""
    if not planes:
        return []
    device = next(unet.network.parameters()).device
    shape = _size_of(planes[0].shape, unet.shape)
    images = torch.stack([unet_image(volume, plane, unet.shape) for plane in planes])[:, None].to(device)
    divisor = unet.shape.divisor
    padded = nn.functional.pad(images, (0, -shape[1] % divisor, 0, -shape[0] % divisor))
    logits = unet.network(padded)[..., : shape[0], : shape[1]]
    margin = logits[:, 1:] - logits[:, :1]
    full = nn.functional.interpolate(margin, planes[0].shape, mode="bilinear", align_corners=False)
    return list((full[:, 0] > 0).cpu().numpy())


def predict_volume(
    unet: Unet,
    volume: Volume,
    liver: np.ndarray | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Tumor in a volume, bool (k, j, i), from its axial slices.

    :param liver: bool (k, j, i): slices without it are skipped, and tumor outside it is dropped.
    :param progress: called with (slices done, slices in all).
    :raises Cancelled: `cancel` answers true.
    """
    tumor = np.zeros(volume.array.shape, bool)
    planes = [slice_plane(volume, "axial", index) for index in range(slice_count(volume, "axial"))]
    if liver is not None:
        planes = [plane for plane in planes if voxels_to_slice_mask(liver, plane).any()]
    for start in range(0, len(planes), _BATCH):
        if cancel is not None and cancel():
            raise Cancelled("Cancelled; nothing was changed.")
        chunk = planes[start : start + _BATCH]
        for plane, image in zip(chunk, predict_planes(unet, volume, chunk), strict=True):
            voxels, (i, j, k) = slice_mask_to_voxels(image, plane, volume)
            box = tuple(slice(s, s + n) for s, n in zip((k, j, i), voxels.shape, strict=True))
            tumor[box] = voxels
        if progress is not None:
            progress(min(start + _BATCH, len(planes)), len(planes))
    return tumor if liver is None else tumor & liver


def save_unet(unet: Unet, path: Path, overwrite: bool = False) -> Unet:
    """Write weights as .safetensors with the card in them, and the card as .json beside them.

    :return: the same network with its file's SHA-256.
    :raises OutputError: a file exists or cannot be written.
    """
    import safetensors.torch

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"'{path.name}' has to end in .safetensors.")
    card = {"kind": KIND, "shape": asdict(unet.shape), **unet.card}
    weights = {name: value.contiguous().cpu() for name, value in unet.network.state_dict().items()}
    with atomic_path(path.with_suffix(".json"), overwrite) as card_file, atomic_path(path, overwrite) as weight_file:
        safetensors.torch.save_file(weights, weight_file, metadata={"card": json.dumps(card)})
        digest = sha256_of(weight_file)
        card_file.write_text(json.dumps({**card, "sha256": digest}, indent=2) + "\n", encoding="utf-8")
    return Unet(unet.network, unet.shape, unet.card, digest)


def load_unet(path: Path, device: str = "cpu") -> Unet:
    """Read a baseline that `save_unet` wrote; nothing that the file holds is run.

    :raises ModelError: the file is missing, damaged, or no such baseline.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"'{path.name}' is no U-Net baseline; give the .safetensors file of its training run.")
    state = read_checkpoint(path)
    try:
        card = parse_json(_metadata(path)["card"])
        if card.pop("kind") != KIND:
            raise ValueError("another kind of network")
        stored = card.pop("shape")
        shape = UnetShape(stored["size"], tuple(stored["channels"]), tuple(stored["window"]))
        network = build_network(shape)
        network.load_state_dict(state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, InputError) as error:
        raise ModelError(
            f"'{path.name}' is no U-Net baseline of this program; give the .safetensors file of its training run."
        ) from error
    return Unet(network.to(device).eval().requires_grad_(False), shape, card, sha256_of(path))


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with readable_name(path) as readable, safe_open(readable, framework="pt") as file:
        return file.metadata() or {}


def _size_of(full: tuple[int, int], shape: UnetShape) -> tuple[int, int]:
    """Rows and columns that a slice image is resized to."""
    scale = shape.size / max(full)
    rows, columns = (max(1, round(side * scale)) for side in full)
    return rows, columns
