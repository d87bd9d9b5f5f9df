"""Where outlines came from, by model and prompts, with nothing in it but numbers and names known beforehand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from SAMLiverTumorLib.image.rgb import CHANNEL_MODES
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.plane import ORIENTATIONS

OWN_MODEL = "own"
"""What models of the user's own are called: their file names may say anything."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,31}")
_PACKAGES = ("sam-liver-tumor", "torch", "segment-anything")
_CHOICES = {"mode": ("slice", "volume"), "orientation": ORIENTATIONS, "channels": CHANNEL_MODES}
# A user's patience ends before; a damaged tag does not.
_MOST_ENTRIES = 1000


def plain_origin(provenance: Sequence[Any], first_voxel_ras: np.ndarray) -> list[dict[str, Any]]:
    """What of a segment's provenance may be kept, oldest first.

    :param provenance: entries as `mrml.segments.segments.provenance` returns them; a file's may hold anything.
    :param first_voxel_ras: (3,) where the first voxel lies (mm, world RAS); prompts are given from there.
    """
    kept = [_entry(entry, np.asarray(first_voxel_ras, float)) for entry in provenance if isinstance(entry, dict)]
    return [entry for entry in kept if entry][-_MOST_ENTRIES:]


def window_of(origin: Sequence[dict[str, Any]]) -> list[float] | None:
    """The intensity range that the last model saw; None where no model did."""
    seen = [model["window"] for entry in origin for model in entry.get("models", ()) if "window" in model]
    return seen[-1] if seen else None


def _entry(entry: dict[str, Any], first: np.ndarray) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if models := [_model(model) for model in _listed(entry.get("models")) if isinstance(model, dict)]:
        kept["models"] = models
    if isinstance(entry.get("prompts"), dict) and (prompts := _prompts(entry["prompts"], first)):
        kept["prompts"] = prompts
    for name, known in _CHOICES.items():
        if entry.get(name) in known:
            kept[name] = entry[name]
    versions = entry.get("versions")
    if isinstance(versions, dict):
        good = {name: versions[name] for name in _PACKAGES if _VERSION.fullmatch(str(versions.get(name, "")))}
        kept |= {"versions": good} if good else {}
    return kept


def _model(model: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"id": model["id"] if str(model.get("id")) in load_registry() else OWN_MODEL}
    if _SHA256.fullmatch(str(model.get("sha256"))):
        kept["sha256"] = model["sha256"]
    if (window := _numbers(model.get("window"), (2,))) is not None and window[0] < window[1]:
        kept["window"] = window.tolist()
    return kept


def _prompts(prompts: dict[str, Any], first: np.ndarray) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name in ("include", "exclude"):
        points = [_numbers(point, (3,)) for point in _listed(prompts.get(name))]
        if moved := [np.round(point - first, 3).tolist() for point in points if point is not None]:
            kept[name] = moved
    if isinstance(box := prompts.get("box"), dict):
        center, axes, size = (_numbers(box.get(key), shape) for key, shape in _BOX.items())
        if center is not None and axes is not None and size is not None:
            center = np.round(center - first, 3)
            kept["box"] = {"center": center.tolist(), "axes": axes.tolist(), "size": size.tolist()}
    if prompts.get("text") in {concept for info in load_registry().values() for concept in info.concepts}:
        kept["text"] = prompts["text"]
    return kept


_BOX = {"center": (3,), "axes": (3, 3), "size": (3,)}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _numbers(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """Finite numbers of a shape, or None."""
    try:
        array = np.array(value, float)
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None
