"""Import PyTorch in one thread without blocking the others.

Python holds its global lock while it loads a shared library and while it collects garbage, so no other thread runs: the
window freezes for 350 ms once and for 100 to 200 ms several times (two cores, PyTorch 2.13 for CPU). With the libraries
loaded through a foreign call, and without garbage collection, the longest freeze is about 40 ms.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# In the order in which torch's own __init__ needs them.
_LIBRARIES = ("libtorch_global_deps", "libtorch_cpu", "libtorch_cuda", "libtorch_python")

_MODULES = (
    "segment_anything.modeling",
    "SAMLiverTumorLib.models.builders",
    "SAMLiverTumorLib.inference.predictor",
)

# With glibc 2.36, a thread that first uses thread-local variables after a library was loaded (as numpy does) waits
# until no other library is being loaded: up to 400 ms. During this pause the polling GUI thread uses them.
_PAUSE_SECONDS = 0.12


def import_torch_quietly() -> None:
    """Import PyTorch and the modules of the networks, unless they are imported already.

    :raises ImportError: one is missing or cannot be loaded.
    """
    if all(name in sys.modules for name in _MODULES):
        return
    _load_libraries()
    with _without_collection():
        from SAMLiverTumorLib.models.networks.torchvision_ops import ensure_torchvision_imports

        ensure_torchvision_imports()
        for name in _MODULES:
            importlib.import_module(name)


def _load_libraries() -> None:
    """Load PyTorch's libraries through the system; errors are ignored, because the import reports them."""
    if sys.platform == "win32":  # torch itself does so there
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    # unlike ctypes.CDLL(path), a foreign call lets other threads run
    load = ctypes.CDLL(None).dlopen
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    folder = Path(spec.origin).parent / "lib"
    for name in _LIBRARIES:
        path = folder / f"{name}{'.dylib' if sys.platform == 'darwin' else '.so'}"
        if path.is_file():
            mode = os.RTLD_GLOBAL if name == "libtorch_global_deps" else os.RTLD_LOCAL
            time.sleep(_PAUSE_SECONDS)
            load(os.fsencode(path), os.RTLD_LAZY | mode)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Disable garbage collection inside, and exclude the objects made inside from later collections.

    PyTorch makes some 480,000 objects that live as long as the process; they would add 0.2 s to each full collection.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
