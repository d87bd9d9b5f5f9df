"""Names for scripts; each is imported when it is first used, so that this package alone imports no PyTorch."""

from __future__ import annotations

from importlib import import_module

_MODULES = {
    "Box": "prompts",
    "Ensemble": "inference.uncertainty.orientation_passes",
    "PredictorPool": "inference.pool",
    "Prompts": "prompts",
    "SegmentationRequest": "inference.segmentation_request",
    "SegmentationResult": "inference.segmentation_request",
    "Settings": "inference.segment_slices",
    "Window": "image.window",
    "parse_window": "image.window",
    "run_request": "inference.segmentation_request",
    "window_for": "image.window",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"SAMLiverTumorLib.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
