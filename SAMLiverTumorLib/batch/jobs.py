"""One case of a cohort, and what became of it: plain frozen values that travel between processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from SAMLiverTumorLib.image.window import window_for
from SAMLiverTumorLib.inference.model_choice import AUTO
from SAMLiverTumorLib.inference.segment_slices import Settings
from SAMLiverTumorLib.prompts import Box, Prompts
from SAMLiverTumorLib.volume import Volume

DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
Point = tuple[float, float, float]


@dataclass(frozen=True)
class TumorPrompts:
    """What says where one tumor is.

    :param segment: name of the segment that it becomes.
    :param include, exclude: points, world RAS in mm.
    :param box: two opposite corners, world RAS in mm.
    """

    segment: str
    include: tuple[Point, ...] = ()
    exclude: tuple[Point, ...] = ()
    box: tuple[Point, Point] | None = None

    def prompts(self) -> Prompts:
        """The same as the library takes it.

        :raises PromptError: a box that is a line or a point.
        """
        return Prompts(self.include, self.exclude, None if self.box is None else Box.from_corners(*self.box))


@dataclass(frozen=True)
class BatchSettings:
    """What holds for all cases; the names are those of the options of `sam-liver-tumor segment`.

    :param text: concept to search for; None where prompts say where.
    :param series: number or UID of the DICOM series to read; None where each folder holds one.
    :param window: as `parse_window`, or "auto".
    :param hashes: model id or file -> SHA-256, of the models that the prompts and `model` lead to.
    :param liver_label: segment or value that is the liver in its files; None where that is plain.
    :param reference_label: value or name of the reference's label to compare with; None for the only one.
    :param min_ml: components of the reference smaller than this are no lesions.
    :param threads: of each worker; None leaves what the worker was started with.
    :param pinned: each worker takes one GPU of its own, by its number.
    :param yes: workers may download a missing model.
    """

    text: str | None = None
    series: str | None = None
    mode: str = "slice"
    plane: str = "axial"
    window: str = AUTO
    channels: str = "single"
    model: str = AUTO
    quality: str = "full"
    direction: str = "both"
    segment_name: str = "Liver tumor"
    device: str = "auto"
    hashes: tuple[tuple[str, str], ...] = ()
    reference_label: str | None = None
    liver_label: str | None = None
    min_ml: float = 0.0
    threads: int | None = None
    pinned: bool = True
    yes: bool = False

    def network(self, volume: Volume) -> Settings:
        """Which network is used, and how it sees a volume.

        :raises InputError: an unknown window or quality.
        """
        window = window_for(self.window, volume)
        return Settings(self.model, self.plane, window, self.channels, self.quality)

    def as_dict(self) -> dict:
        """What masks depend on, as JSON: neither the number of threads nor who may download is in it."""
        names = ("text", "mode", "plane", "window", "channels", "quality", "direction", "segment_name")
        # a weight file is known by its hash wherever it lies
        models = {Path(name).name: digest for name, digest in self.hashes}
        said = {name: getattr(self, name) for name in names} | {"model": Path(self.model).name, "models": models}
        # records written before there were these choices stay good
        chosen = {"series": self.series, "liver_label": self.liver_label}
        return said | {name: value for name, value in chosen.items() if value is not None}


@dataclass(frozen=True)
class Job:
    """One case.

    :param name: what its files and rows are called.
    :param image: file, DICOM folder, or case of 3D-IRCADb; absolute, as all paths here.
    :param out: the batch's folder.
    :param tumors: what to segment; empty where text says it.
    :param liver: labels that no tumor leaves.
    :param reference: labels to compare with.
    """

    name: str
    image: Path
    out: Path
    tumors: tuple[TumorPrompts, ...] = ()
    liver: Path | None = None
    reference: Path | None = None

    @property
    def segmentation(self) -> Path:
        """The file to write."""
        return self.out / f"{self.name}.seg.nrrd"

    @property
    def record(self) -> Path:
        """What is known of that file."""
        return self.out / "records" / f"{self.name}.json"

    def key(self, settings: BatchSettings) -> str:
        """Changes with all that the mask depends on, but for the files, which the record tells apart by content."""
        prompts = [[t.segment, t.include, t.exclude, t.box] for t in self.tumors]
        # records of versions with a choice of runtime stay good where none was named
        chosen = settings.as_dict() | {"runtime": None}
        said = json.dumps([prompts, chosen, self.liver is not None], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    :param state: "done", "failed" or "cancelled".
    :param reason: why it failed, or why there are no figures.
    :param record: see `records`; empty unless done.
    :param worked: whether anything was segmented, rather than found finished.
    """

    name: str
    state: str
    reason: str = ""
    record: Mapping = field(default_factory=dict)
    worked: bool = False
