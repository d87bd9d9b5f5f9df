"""Which runtime an image encoder runs in: PyTorch, or ONNX Runtime where that was asked for or measured to be faster.

"auto" measures nothing by itself: it does what `sam-liver-tumor models benchmark` found on this machine, with these
weights and these versions, and takes PyTorch where nothing was found.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from SAMLiverTumorLib.errors import InputError, ModelError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.models.onnx_files import FORMAT, kept_path
from SAMLiverTumorLib.models.store import user_cache_folder

if TYPE_CHECKING:
    from SAMLiverTumorLib.models.builders import SamModel

AUTO, PYTORCH, ONNXRUNTIME = RUNTIMES = ("auto", "pytorch", "onnxruntime")
VARIABLE = "SAM_LIVER_TUMOR_RUNTIME"

_named: ContextVar[str | None] = ContextVar("runtime", default=None)


def wanted_runtime() -> str:
    """What `runtime_named` or else SAM_LIVER_TUMOR_RUNTIME names, of `RUNTIMES`; "auto" where neither does.

    :raises InputError: it is none of them.
    """
    wanted = _named.get() or os.environ.get(VARIABLE, "").strip().lower() or AUTO
    if wanted not in RUNTIMES:
        raise InputError(f"There is no runtime '{wanted}'; set {VARIABLE} to one of {', '.join(RUNTIMES)}.")
    return wanted


@contextmanager
def runtime_named(name: str | None) -> Iterator[None]:
    """Within the block, pools of predictors made in this thread take that runtime; None changes nothing."""
    token = _named.set(name or _named.get())
    try:
        yield
    finally:
        _named.reset(token)


def with_runtime(model: SamModel, wanted: str) -> SamModel:
    """The model with its image encoder in the runtime wanted, of `RUNTIMES`; the model itself if that is PyTorch.

    It is PyTorch on anything but a CPU. "auto" takes ONNX Runtime only if it was found to be faster and everything
    is in place: it makes no export, which takes seconds, and it never fails.

    :raises SAMLiverTumorError: "onnxruntime" was asked for, and a package is missing or the export cannot be made.
    """
    if model.device.type != "cpu" or wanted == PYTORCH:
        return model
    if wanted == AUTO:
        path = kept_path(model.info.id, model.sha256)
        if kept_choice(model.sha256) != ONNXRUNTIME or not path.is_file():
            return model
        with suppress(InputError, ModelError):
            return _run_by_onnxruntime(model, path)
        return model
    return in_onnxruntime(model)


def in_onnxruntime(model: SamModel) -> SamModel:
    """The model with its image encoder in ONNX Runtime, exported first if that was not done, or if the file is damaged.

    :raises SAMLiverTumorError: a package is missing, or the export cannot be made.
    """
    from SAMLiverTumorLib.inference.onnx_encoder import import_onnxruntime
    from SAMLiverTumorLib.models.onnx_export import kept_export

    import_onnxruntime()
    try:
        return _run_by_onnxruntime(model, kept_export(model))
    except ModelError:
        return _run_by_onnxruntime(model, kept_export(model, again=True))


def _run_by_onnxruntime(model: SamModel, path: Path) -> SamModel:
    from SAMLiverTumorLib.inference.onnx_encoder import OnnxEncoder

    return replace(model, image_encoder=OnnxEncoder(path, model.sha256, model.image_encoder))


def kept_choice(sha256: str) -> str | None:
    """What was found for these weights on this machine with these versions; None if nothing was."""
    record = _read().get(choice_key(sha256))
    return record.get("runtime") if isinstance(record, dict) else None


def keep_choice(sha256: str, runtime: str, figures: dict) -> Path:
    """Remember what was found, with the figures (JSON-ready) that it rests on; the file.

    :raises OutputError: folder or disk refuses.
    """
    path = _file()
    with suppress(OSError):  # the writer below tells
        path.parent.mkdir(parents=True, exist_ok=True)
    choices = _read() | {choice_key(sha256): {"runtime": runtime, **figures}}
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(choices, indent=2) + "\n", encoding="utf-8")
    return path


def choice_key(sha256: str) -> str:
    """Changes with everything that may change which runtime is faster."""
    return f"{sha256}, {machine()}, torch {_version('torch')}, onnxruntime {_version('onnxruntime')}, export {FORMAT}"


def machine() -> str:
    """The processor, the vector instructions that PyTorch uses of it, and the number of threads."""
    import torch

    name = platform.processor()
    with suppress(OSError, StopIteration):  # Linux only, where `platform` knows the family at most
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name or platform.machine()}, {capability}, {torch.get_num_threads()} threads"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _file() -> Path:
    return user_cache_folder() / "runtimes.json"


def _read() -> dict:
    try:
        choices = parse_json(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return choices if isinstance(choices, dict) else {}
