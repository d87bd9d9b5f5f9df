"""Let torchvision, which segment_anything imports, be imported beside a PyTorch it was not built for.

Where torchvision's compiled library does not load (another build of PyTorch, a missing CUDA library),
torchvision continues without it, but then describes two of that library's operators and fails:
`RuntimeError: operator torchvision::nms does not exist`. SAM resizes images only and calls neither.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from typing import Any

_MISSING = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_lock = threading.Lock()
# PyTorch forgets a library's operators when the object goes.
_libraries: list[Any] = []


def ensure_torchvision_imports() -> None:
    """Import torchvision, having declared those operators it cannot do without, if it lacks them.

    Does nothing where torchvision is imported already, and imports it as it is where its compiled
    library loads. Declared operators have no code: calling one fails with PyTorch's own message.

    :raises ImportError: torchvision or PyTorch is not installed.
    """
    with _lock:
        if "torchvision" in sys.modules:
            return
        # What an import that failed earlier has left behind.
        _forget_torchvision()
        if not _compiled_library_loads():
            _declare_missing()
        importlib.import_module("torchvision")


def _compiled_library_loads() -> bool:
    """Whether torchvision's compiled library loads, asked of torchvision's own loader.

    The order matters. Declaring first would clash with a library that loads after all, and that
    ends the process. Importing first and fixing it on the error fails with older PyTorch, where a
    failed description cannot be repeated. So the one submodule that loads the library is run under
    an empty package, before anything describes operators; the real import finds the library loaded.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
    sys.modules["torchvision"] = importlib.util.module_from_spec(spec)
    try:
        return bool(importlib.import_module("torchvision.extension")._has_ops())
    finally:
        _forget_torchvision()


def _declare_missing() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    _libraries.append(library)
    for name, schema in _MISSING.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)


def _forget_torchvision() -> None:
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
