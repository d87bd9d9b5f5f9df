"""Where exported encoders are kept, and what is in them; without PyTorch, which only making them needs."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from SAMLiverTumorLib.models.store import user_cache_folder

# To be raised whenever the same weights give another graph.
FORMAT = "1"
INPUT, OUTPUT = "images", "embedding"

# Of the weights' SHA-256, in the file's name; the whole of it is in the metadata.
_DIGITS = 16


def kept_path(model_id: str, sha256: str) -> Path:
    """Where the export of a model is kept: other weights, another name."""
    readable = re.sub(r"[^\w.-]+", "-", model_id)[:80]
    return export_folder() / f"{readable}-{sha256[:_DIGITS]}-{FORMAT}.onnx"


def export_folder() -> Path:
    """The folder of all kept exports, in the user's cache folder."""
    return user_cache_folder() / "onnx"


def remove_exports(sha256: str) -> bool:
    """Remove what is kept of some weights; whether there was anything."""
    removed = False
    for path in export_folder().glob(f"*-{sha256[:_DIGITS]}-*.onnx"):
        with suppress(OSError):
            path.unlink()
            removed = True
    return removed
