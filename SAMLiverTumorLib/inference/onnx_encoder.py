"""`OnnxEncoder`: an exported image encoder run by ONNX Runtime in place of PyTorch's."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.models.onnx_files import FORMAT, INPUT

if TYPE_CHECKING:
    import onnxruntime

# Between two questions whether the job was cancelled; the runtime then stops after the operation it is in.
_POLL_SECONDS = 0.05


class OnnxEncoder(nn.Module):
    """Images (b, 3, size, size) to embeddings (b, 256, 64, 64), both float32 on the CPU.

    >>> encoder = OnnxEncoder(kept_export(model), model.sha256, model.image_encoder)   # doctest: +SKIP
    >>> Predictor(replace(model, image_encoder=encoder))                               # doctest: +SKIP

    :param path: file of `models.onnx_export.export_encoder`.
    :param sha256: of the weights that it has to be made of.
    :param original: the encoder in PyTorch, which is not kept.
    :raises InputError: ONNX Runtime is not installed.
    :raises ModelError: the file is missing, damaged, or an export of other weights.
    """

    def __init__(self, path: Path, sha256: str, original: nn.Module) -> None:
        super().__init__()
        self._library = import_onnxruntime()
        self._session = _open(self._library, Path(path))
        described = self._session.get_modelmeta().custom_metadata_map
        if described.get("weights_sha256") != sha256 or described.get("format") != FORMAT:
            raise ModelError(f"'{path}' is not an export of these weights; remove it, and it is made anew.")
        self.runtime = f"onnxruntime {self._library.__version__} {described['graph_sha256'][:16]}"
        """Part of the keys of embeddings: another version or graph rounds otherwise."""
        self._asked = nn.Identity()  # as every layer, it asks whether to stop

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self._encode(image) for image in images.split(1)])

    def _encode(self, image: Tensor) -> Tensor:
        options = self._library.RunOptions()
        with ThreadPoolExecutor(1, "SAMLiverTumor onnxruntime") as thread:
            running = thread.submit(self._session.run, None, {INPUT: image.numpy()}, options)
            try:
                while not wait((running,), _POLL_SECONDS).done:
                    self._asked(image)
            finally:
                options.terminate = True
        return torch.from_numpy(running.result()[0])


def import_onnxruntime():
    """The package, told to report nothing to anybody.

    Official builds send usage data to their maker, the first at import (1.32, Privacy.md). Where something else has
    imported the package before, some of that is out already.

    :raises InputError: it is not installed, or does not load.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise InputError(
            f"ONNX Runtime cannot be loaded ({error}): pip install onnxruntime (in Slicer's console: "
            "slicer.util.pip_install('onnxruntime')), or choose the runtime pytorch."
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _open(library, path: Path) -> onnxruntime.InferenceSession:
    options = library.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # its threads would wait for work in a loop while PyTorch's decode
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base class of their own
        raise ModelError(f"'{path}' is not an encoder that ONNX Runtime can run ({error}); export it again.") from error
