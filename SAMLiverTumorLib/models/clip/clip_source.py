"""CLIP's text encoder through open_clip: its choice, its weights, and phrases as vectors.

Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021; open_clip by
Ilharco et al. (MIT). The package is optional, and its weights are the user's own download.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.models.checkpoint import BROKEN_STREAM
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports

PREFIX = "clip"
FOLDER_VARIABLE = "SAM_LIVER_TUMOR_CLIP"
"""Names the file or folder of CLIP's weights where a model that was trained with a local one is used elsewhere."""

_DEFAULT = "ViT-B-32"
_CONFIG = "open_clip_config.json"
_ENDINGS = (".safetensors", ".bin", ".pt", ".pth")


@dataclass(frozen=True)
class ClipChoice:
    """A CLIP model as a user names it.

    :param model: name of an architecture in open_clip; empty with a folder.
    :param weights: tag of published weights, or a file or folder.
    """

    model: str
    weights: str

    @property
    def is_local(self) -> bool:
        """Whether the weights are a file or folder here."""
        return Path(self.weights).exists()

    @property
    def name(self) -> str:
        """For messages and headers, without the names of folders: "ViT-B-32:openai"."""
        weights = Path(self.weights).name if self.is_local else self.weights
        return f"{self.model}:{weights}" if self.model else weights


@dataclass(frozen=True, eq=False)
class ClipEncoder:
    """A frozen text encoder.

    :param name: see `ClipChoice.name`.
    :param sha256: of its text weights by name, 64 hexadecimal digits.
    :param width: of its vectors.
    :param encode: phrase to a float32 vector (width,) of length 1.
    """

    name: str
    sha256: str
    width: int
    encode: Callable[[str], Tensor]


def parse_clip(text: str) -> ClipChoice:
    """What `clip`, `clip:NAME`, `clip:NAME:TAG`, `clip:NAME:FILE` or `clip:FOLDER` names.

    >>> parse_clip("clip").name, parse_clip("clip:ViT-L-14:laion2b_s32b_b82k").name
    ('ViT-B-32:openai', 'ViT-L-14:laion2b_s32b_b82k')

    :raises ModelError: something else.
    """
    prefix, _, rest = text.partition(":")
    if prefix != PREFIX:
        raise ModelError(f"'{text}' is no text encoder; give tokens, clip, clip:NAME, clip:NAME:TAG or clip:FOLDER.")
    if rest and Path(rest).is_dir():
        return ClipChoice("", rest)
    name, _, weights = rest.partition(":")
    return ClipChoice(name or _DEFAULT, weights or "openai")


def load_clip(choice: ClipChoice, confirm: Callable[[str], bool], device: torch.device | str = "cpu") -> ClipEncoder:
    """Load a CLIP model's text encoder; that of images is dropped.

    :param confirm: asked before anything is downloaded; gets the question, returns the answer.
    :raises ModelError: open_clip is not installed; no such model; its weights cannot be had, or are not its own.
    """
    open_clip = _open_clip()
    try:
        if not choice.model:
            network, _ = _of_folder(open_clip, Path(choice.weights))
            tokenizer = open_clip.get_tokenizer(f"local-dir:{choice.weights}")
        else:
            if open_clip.get_model_config(choice.model) is None:
                raise ModelError(
                    f"open_clip has no model '{choice.model}'; it has {', '.join(open_clip.list_models()[:8])} ..."
                )
            path = _weight_file(open_clip, choice, confirm)
            # open_clip only warns where published weights want the other activation than the architecture has
            quick = bool(open_clip.get_pretrained_cfg(choice.model, choice.weights).get("quick_gelu"))
            network = open_clip.create_model(choice.model, load_weights=False, force_quick_gelu=quick)
            open_clip.load_checkpoint(network, str(path), weights_only=True)
            tokenizer = open_clip.get_tokenizer(choice.model)
    except (SafetensorError, pickle.UnpicklingError, ImportError, *BROKEN_STREAM) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"CLIP '{choice.name}' cannot be loaded ({reason[:200]}); give other weights.") from error
    if hasattr(network, "visual"):
        del network.visual
    network.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def encode(phrase: str) -> Tensor:
        words = tokenizer([phrase]).to(device)
        return torch.nn.functional.normalize(network.encode_text(words).float(), dim=-1)[0].cpu()

    return ClipEncoder(choice.name, _digest(network), len(encode("a")), encode)


def find_clip(about: dict[str, Any], beside: Path) -> ClipChoice:
    """The CLIP model that the header of a weight file names.

    :param about: the header's "text_encoder".
    :param beside: folder of the weight file, where a copy of local CLIP weights may lie.
    """
    named = os.environ.get(FOLDER_VARIABLE, "")
    if not about["local"] and not named:
        return ClipChoice(about["model"], about["weights"])
    places = [Path(named)] if named else [beside / about["weights"], clip_folder() / about["weights"]]
    for place in places:
        if place.exists():
            return ClipChoice(about["model"], str(place))
    raise ModelError(
        f"Text beyond what this model was trained with needs CLIP '{about['name']}', which was a file of its trainer's "
        f"own: put '{about['weights']}' beside the model or into '{clip_folder()}', or name it by {FOLDER_VARIABLE}."
    )


def clip_folder() -> Path:
    """Where downloaded CLIP weights lie."""
    return ModelStore().root / "clip"


def header_of(choice: ClipChoice, encoder: ClipEncoder) -> dict[str, Any]:
    """What the header of a weight file says of its text encoder."""
    return {
        "kind": PREFIX,
        "name": encoder.name,
        "model": choice.model,
        "weights": Path(choice.weights).name if choice.is_local else choice.weights,
        "local": choice.is_local,
        "sha256": encoder.sha256,
        "width": encoder.width,
    }


def _open_clip() -> Any:
    # open_clip downloads through a package that sends usage data unless this is set
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    ensure_torchvision_imports()
    try:
        import open_clip
    except ImportError as error:
        raise ModelError(
            "CLIP's text encoder needs the package open_clip_torch, which is not installed "
            f"({error}); install it with: pip install open_clip_torch (in Slicer's Python Console: "
            "slicer.util.pip_install('open_clip_torch'))."
        ) from error
    return open_clip


def _of_folder(open_clip: Any, folder: Path) -> tuple[Any, Path]:
    if not (folder / _CONFIG).is_file():
        raise ModelError(f"'{folder}' holds no CLIP model: {_CONFIG} and weights as open_clip saves them are needed.")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS]
    if not files:
        raise ModelError(f"'{folder}' holds no CLIP weights (.safetensors, .bin, .pt); copy them there.")
    network = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    open_clip.load_checkpoint(network, str(files[-1]), weights_only=True)
    return network, files[-1]


def _weight_file(open_clip: Any, choice: ClipChoice, confirm: Callable[[str], bool]) -> Path:
    """The file of weights: the user's own, one downloaded earlier, or a download that the user agrees to."""
    if Path(choice.weights).is_file():
        return Path(choice.weights)
    config = open_clip.get_pretrained_cfg(choice.model, choice.weights)
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(choice.model)) or "none"
        raise ModelError(
            f"'{choice.weights}' is neither a file nor published weights of CLIP {choice.model} (there are {tags})."
        )
    folder = clip_folder() / f"{choice.model}-{choice.weights}"
    if kept := sorted(path for path in folder.rglob("*") if path.suffix in _ENDINGS and path.is_file()):
        return kept[-1]
    if not confirm(f"Download CLIP {choice.name} through open_clip (some hundred megabytes) to {folder}?"):
        raise ModelError(f"CLIP {choice.name} was not downloaded, so text cannot be encoded by it.")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(open_clip.download_pretrained(config, cache_dir=str(folder)))


def _digest(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
