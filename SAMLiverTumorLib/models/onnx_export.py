"""An image encoder as an ONNX file, for programs without PyTorch.

The file names the weights that it was made of, so that an export of other weights is never taken for theirs.
"""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.errors import ModelError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.models.checkpoint import sha256_of

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel

# Increase whenever the same weights give another graph.
_FORMAT = "1"
_INPUT, _OUTPUT = "images", "embedding"
_OPSET = 17
# A file is one protobuf message, which ends at 2 GiB; some of that is for the graph.
_MOST_BYTES = (1 << 31) - (1 << 26)
# Older versions have the one exporter only, and no argument to choose it by.
_TRACING: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


def export_encoder(model: SamModel, path: Path | str, overwrite: bool = False) -> Path:
    """Write a model's image encoder: `images`, float32 (1, 3, size, size), to `embedding`, float32 (1, 256, 64, 64).

    The embedding of the bundled model has 640 channels. Images are normalized and padded as the model's `info` says.
    The metadata names the model, the SHA-256 of its weights and that of the graph.

    >>> export_encoder(load_model(path, info), "encoder.onnx")                  # doctest: +SKIP

    :param path: the file, which appears whole or not at all.
    :return: that file.
    :raises ModelError: package `onnx` is missing, or the encoder is too large for one file.
    :raises OutputError: the file exists and `overwrite` is False, or folder or disk refuses.
    """
    size = sum(weight.nbytes for weight in model.image_encoder.parameters())
    if size > _MOST_BYTES:
        raise ModelError(
            f"The image encoder of {model.info.title} takes {size / 2**30:.1f} GiB, and an ONNX file holds 2: "
            "run this model in PyTorch."
        )
    edge = model.info.input_size
    images = torch.zeros(1, 3, edge, edge, device=model.device)
    return write_graph(_WholeLayers(model.image_encoder), {_INPUT: images}, [_OUTPUT], model, path, overwrite)


def write_graph(
    network: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    model: SamModel,
    path: Path | str,
    overwrite: bool,
    axes: dict[str, dict[int, str]] | None = None,
) -> Path:
    """Write a network as a graph, for `export_encoder` and others; the errors are those.

    :param inputs: of the network by name, in its order, of the shapes that are asked later.
    :param axes: of inputs that may have other lengths, by number, with a name each.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ModelError(
            "Exporting a network needs the Python package onnx: pip install onnx (in Slicer's console: "
            "slicer.util.pip_install('onnx'))."
        )
    path = Path(path)
    with atomic_path(path, overwrite) as temporary:
        with warnings.catch_warnings():
            # that this exporter is the older one, and which shapes become constants, as intended
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                tuple(inputs.values()),
                str(temporary),
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes=axes,
                **_TRACING,
            )
        _describe(temporary, model)
    return path


class _WholeLayers(nn.Module):
    """An encoder that runs each layer over the whole image: bands would become as many copies of the graph's nodes.

    TinyViT does so wherever gradients are enabled (`row_bands.worth_bands`).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        # the exporter puts all modules back into the mode of this one
        self.training = encoder.training

    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.encoder(images)


def _describe(path: Path, model: SamModel) -> None:
    """Add the metadata to a file; protobuf reads messages one after another as one."""
    import onnx

    properties = {
        "format": _FORMAT,
        "model": model.info.id,
        "weights_sha256": model.sha256,
        "graph_sha256": sha256_of(path),
        "made_by": f"sam-liver-tumor {__version__}, torch {torch.__version__}",
    }
    addition = onnx.ModelProto()
    for key, value in properties.items():
        addition.metadata_props.add(key=key, value=value)
    with path.open("ab") as stream:
        stream.write(addition.SerializeToString())
