"""The network of whole lesions in its file: safetensors, 16 bits a weight, with a card; nothing in it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.checkpoint import read_checkpoint
from SAMLiverTumorLib.models.weights import read_about, save_weights

if TYPE_CHECKING:
    from torch import Tensor

    from SAMLiverTumorLib.models.networks.lesion_unet import LesionUnet

ARCHITECTURE = "lesion-unet"
"""What the header of such a file says."""


@dataclass(frozen=True, eq=False)
class LesionNetwork:
    """A network that is ready for use; called with channels (5, n, n, n), it gives logits (n, n, n), float32 both."""

    network: LesionUnet
    card: Mapping[str, Any]

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients that it learned from, as its card says."""
        return tuple(str(name) for name in self.card.get("split", {}).get("train", ()))

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        import torch

        device = next(self.network.parameters()).device
        with torch.inference_mode():
            return self.network(torch.from_numpy(channels)[None].to(device))[0, 0].cpu().numpy()


def save_lesion_network(
    path: Path, weights: Mapping[str, Tensor], widths: tuple[int, ...], card: Mapping[str, Any]
) -> None:
    """Write a network's file.

    :raises OutputError: the disk is full, or refuses.
    """
    about = {"architecture": ARCHITECTURE, "widths": list(widths), "licence": "Apache-2.0", "card": dict(card)}
    save_weights(path, weights, about, half=True)


def load_lesion_network(path: Path, device: str = "cpu") -> LesionNetwork:
    """Read a network's file.

    :raises ModelError: it is missing, damaged, or holds another network.
    """
    from SAMLiverTumorLib.models.networks.lesion_unet import LesionUnet

    path = Path(path)
    wrong = f"'{path.name}' is no network of whole lesions; give the .safetensors file of such a training run."
    about = read_about(path) if path.is_file() else {"architecture": ARCHITECTURE}
    if about is None or about.get("architecture") != ARCHITECTURE:
        raise ModelError(wrong)
    state = read_checkpoint(path)
    try:
        network = LesionUnet(tuple(int(width) for width in about["widths"]))
        network.load_state_dict({name: weight.float() for name, weight in state.items()})
        card = dict(about.get("card", {}))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(wrong) from error
    return LesionNetwork(network.to(device).eval().requires_grad_(False), card)
