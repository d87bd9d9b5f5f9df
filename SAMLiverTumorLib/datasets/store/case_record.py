"""`KeptCase`: a case of the store as its record tells of it, without reading its images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from SAMLiverTumorLib.datasets.store.anonymous_case import LIVER, TUMOR, TrainingCase
from SAMLiverTumorLib.io.json_text import parse_json

# Exact in geometry, as NIfTI's single precision is not.
IMAGE, LABEL, RECORD = "image.nrrd", "label.nrrd", "case.json"

_FORMAT = 1


@dataclass(frozen=True)
class KeptCase:
    """A line of `CaseStore.list`.

    :param id: the case's number, made from the scan's voxels.
    :param name: what it is called; the number unless the user named it.
    :param version: 1 for the first outlines of the scan, 2 for the next ...
    :param stored: the day it was kept, as "2026-11-28".
    :param folder: its files: image.nrrd, label.nrrd (1 liver, 2 tumor) and case.json.
    :param voxels: number along (i, j, k).
    :param spacing_mm: between them.
    :param tumor_ml: volume of the tumors.
    :param liver_ml: volume of the liver with them; None where it is not outlined.
    :param window: how a scan that is not in Hounsfield units was shown; None for a CT.
    :param origin: models and prompts of the outlines, oldest first; see `origin.plain_origin`.
    :param outline: SHA-256 of the labels.
    """

    id: str
    name: str
    version: int
    stored: str
    folder: Path
    voxels: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    tumor_ml: float
    liver_ml: float | None
    window: tuple[float, float] | None
    origin: tuple[dict[str, Any], ...]
    outline: str

    @property
    def image(self) -> Path:
        """The scan."""
        return self.folder / IMAGE

    @property
    def label(self) -> Path:
        """The label map: 1 liver, 2 tumor."""
        return self.folder / LABEL

    @property
    def models(self) -> tuple[str, ...]:
        """Which models took part in the outlines, each once, in order."""
        ids = [model["id"] for entry in self.origin for model in entry.get("models", ())]
        return tuple(dict.fromkeys(ids))

    def tells_the_same(self, record: dict[str, Any]) -> bool:
        """Whether storing this record would change nothing but the day."""
        return (self.outline, self.name, list(self.origin)) == (record["outline"], record["name"], record["origin"])


def record_of(case: TrainingCase, name: str, version: int, stored: date) -> dict[str, Any]:
    """What case.json says, as plain values."""
    ml = case.volume.voxel_volume_ml
    tumor, liver = (int(np.count_nonzero(case.labels == value)) for value in (TUMOR, LIVER))
    return {
        "format": _FORMAT,
        "id": case.id,
        "name": name,
        "version": version,
        "stored": stored.isoformat(),
        "voxels": list(case.volume.dimensions),
        "spacing_mm": [round(value, 6) for value in case.volume.spacing],
        "tumor_ml": round(tumor * ml, 6),
        "liver_ml": round((liver + tumor) * ml, 6) if liver else None,
        "window": case.window,
        "content": case.content,
        "outline": case.outline,
        "origin": case.origin,
    }


def read_kept(folder: Path) -> KeptCase | None:
    """The case in a folder; None where it is damaged, or being removed."""
    try:
        record = parse_json((folder / RECORD).read_text(encoding="utf-8"))
        if record["format"] != _FORMAT or not (folder / IMAGE).is_file() or not (folder / LABEL).is_file():
            return None
        spacing, tumor = tuple(map(float, record["spacing_mm"])), float(record["tumor_ml"])
        liver = None if record["liver_ml"] is None else float(record["liver_ml"])
        window = None if record["window"] is None else tuple(map(float, record["window"]))
        voxels = tuple(map(int, record["voxels"]))
        if (len(spacing), len(voxels)) != (3, 3) or len(window or (0, 0)) != 2:
            return None
        if not all(map(math.isfinite, (*spacing, tumor, liver or 0.0, *(window or ())))):
            return None
        origin = tuple(entry for entry in record["origin"] if isinstance(entry, dict))
        _ = [model["id"] for entry in origin for model in entry.get("models", ())]
        return KeptCase(
            id=str(record["id"]),
            name=str(record["name"]),
            version=int(record["version"]),
            stored=str(record["stored"]),
            folder=folder,
            voxels=voxels,
            spacing_mm=spacing,
            tumor_ml=tumor,
            liver_ml=liver,
            window=window,
            origin=origin,
            outline=str(record["outline"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
