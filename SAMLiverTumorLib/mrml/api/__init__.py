"""Functions for scripts and Slicer's Python console; each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

_MODULES = {
    "exportDicomSeg": "api.dicom_seg",
    "exportSegments": "api.export_segments",
    "findTumors": "api.find_and_fine_tune",
    "fineTune": "api.find_and_fine_tune",
    "furtherChannels": "nodes.channel_nodes",
    "lesionReport": "api.lesion_report",
    "loadDicomSeries": "api.load_dicom",
    "loadIrcadbCase": "api.load_ircadb",
    "promptsFromNodes": "nodes.conversions",
    "segmentNodes": "api.segment",
    "segmentRequest": "api.segment",
    "storeCase": "api.keep_case",
    "volumeFromNode": "nodes.conversions",
    "writeResult": "api.write_result",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"SAMLiverTumorLib.mrml.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
