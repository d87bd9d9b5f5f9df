"""Weight files: read without running anything in them, and recognized by the shapes of their weights."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.io.safe_names import readable_name
from SAMLiverTumorLib.models.download.digest import file_sha256
from SAMLiverTumorLib.models.inert_values import plain_values_are_inert
from SAMLiverTumorLib.models.state_dicts import network_state, parts_of, spell_out, starts_of

if TYPE_CHECKING:
    import torch

# How `torch.save` writes: a zip archive, or before PyTorch 1.6 a bare pickle.
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_VITS = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}
BROKEN_STREAM = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,  # for a size that damage has made
    struct.error,
    zipfile.BadZipFile,
)
"""What PyTorch's archive reader and restricted unpickler raise on a damaged file."""
_ANY_PROMPT = frozenset({"points", "box", "mask"})


class Detected(NamedTuple):
    """What the shapes in a weight file say of the model; the fields are those of `registry.ModelInfo`."""

    architecture: str
    input_size: int
    normalization: str
    resize: str
    prompts: frozenset[str]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 lower-case hexadecimal digits.

    :raises ModelError: the file cannot be read.
    """
    try:
        return file_sha256(Path(path))
    except OSError as error:
        raise ModelError(f"The weight file {path} cannot be read: {error.strerror}.") from error


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a `.safetensors` file or a PyTorch checkpoint, on the CPU, by parameter name.

    Whatever a training script has put around them or before their names is taken off, see `network_state`. Nothing
    that the file holds is run: of pickled objects only tensors and plain values are made.

    :raises ModelError: the file is missing, damaged or no checkpoint, holds program objects or several networks, or a
        weight is not a finite number.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no weight file {path}; download the model or give another file.")
    loaded = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    state = {name: weight.detach() for name, weight in network_state(loaded, path.name).items()}
    for name, weight in state.items():
        if weight.is_floating_point() and not _is_finite(weight):
            raise ModelError(
                f"'{path.name}' is of no use: its weight {name} holds values that are not finite numbers. "
                "The training behind it has failed, or the file is damaged."
            )
    return state


def detect_architecture(state: dict[str, torch.Tensor]) -> Detected:
    """Which network the weights belong to, and how to prepare its images and prompts.

    Shapes do not distinguish SAM from MedSAM, nor a fine-tuned network from its origin: a ViT is taken for
    SAM's own, a TinyViT for MobileSAM or LiteMedSAM by its stem.

    :raises ModelError: they belong to none of the known networks.
    """
    stem = _shape(state, "image_encoder.patch_embed.seq.0.c.weight")
    if stem == (32, 3, 3, 3):
        return Detected("tiny_vit", 1024, "sam", "longest", _ANY_PROMPT)
    if stem == (32, 3, 1, 1):
        return Detected("tiny_vit", 256, "unit", "longest", frozenset({"box"}))
    positions = _shape(state, "image_encoder.pos_embed")
    if len(positions) == 4:
        depth = len({name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")})
        architecture = _VITS.get((positions[3], depth))
        # 64 positions of 16 pixels
        if architecture is not None and positions[1:3] == (64, 64):
            return Detected(architecture, 1024, "sam", "longest", _ANY_PROMPT)
        raise ModelError(
            f"The weights belong to a ViT of width {positions[3]} and depth {depth} for images of "
            f"{16 * positions[1]} x {16 * positions[2]} pixels; "
            "of this family SAM's ViT-B, ViT-L and ViT-H for 1024 x 1024 pixels can be used."
        )
    parts = parts_of(state)
    if parts and "image_encoder" not in parts:
        raise ModelError(
            f"The weights are those of {spell_out(parts)} alone, without an image encoder; save the state_dict of the "
            "whole network, frozen parts included."
        )
    raise ModelError(
        "The weights do not belong to a Segment Anything network: there is no image encoder of SAM (ViT-B, ViT-L, "
        f"ViT-H), MedSAM, MobileSAM or LiteMedSAM among them. Their names begin with {starts_of(state)}."
    )


def _shape(state: dict[str, torch.Tensor], name: str) -> tuple[int, ...]:
    return tuple(state[name].shape) if name in state else ()


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors
    import safetensors.torch

    try:
        with readable_name(path) as readable:
            return safetensors.torch.load_file(readable, device="cpu")
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path) from error


def _read_torch(path: Path) -> Any:
    import torch

    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith((_ZIP, _PICKLE)):
        raise ModelError(
            f"'{path.name}' is not a weight file; give a PyTorch checkpoint (.pth, .pt) or a .safetensors file."
        )
    try:
        # a zip archive's table of contents is at its end and goes missing first
        if start == _ZIP and not zipfile.is_zipfile(path):
            raise _damaged(path)
        with warnings.catch_warnings():
            # about the pickle's protocol, on a file that is refused in the next line anyway
            warnings.simplefilter("ignore")
            with plain_values_are_inert():
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        objects = f"program objects ({named[1][:60]})" if named else "program objects"
        raise ModelError(
            f"'{path.name}' was not opened: it holds {objects} beside the weights, or it is damaged. Nothing in it was "
            "run. Copy it again, or ask its author for the weights alone (model.state_dict()), best as .safetensors."
        ) from error
    except BROKEN_STREAM as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ModelError:
    return ModelError(f"The weight file '{path.name}' is damaged or incomplete; download or copy it again.")


def _is_finite(weight: torch.Tensor) -> bool:
    # PyTorch does not know this of all numbers of 8 bits
    return bool((weight.float() if weight.element_size() == 1 else weight).isfinite().all())
