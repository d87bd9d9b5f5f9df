"""Functions for scripts and Slicer's Python console; each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

_MODULES = {
    "exportDicomSeg": "dicom_seg",
    "exportSegments": "export_segments",
    "findTumors": "find_and_fine_tune",
    "fineTune": "find_and_fine_tune",
    "lesionReport": "lesion_report",
    "loadDicomSeries": "load_dicom",
    "loadIrcadbCase": "load_ircadb",
    "segmentNodes": "segment",
    "segmentRequest": "segment",
    "storeCase": "keep_case",
    "writeResult": "write_result",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
