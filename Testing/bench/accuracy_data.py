"""Image and label pairs in a folder, and the lesions in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.volume import Volume

# LiTS / MSD Task03 cases reserved for judging this project: never used here.
HELD_OUT = (4, 8, 9, 10)

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")

# Voxels of one lesion may touch at corners only.
_TOUCHING = np.ones((3, 3, 3))


@dataclass(frozen=True)
class Pair:
    """An image and its label map, with a name for tables."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True, eq=False)
class Lesion:
    """A connected component of the reference: number by size within its case, mask (k, j, i), volume in ml."""

    number: int
    mask: np.ndarray
    ml: float


@dataclass(frozen=True, eq=False)
class Case:
    """A volume, its window (None: the models' own), its liver mask (k, j, i) and its lesions, largest first."""

    name: str
    volume: Volume
    window: Window | None
    liver: np.ndarray
    lesions: tuple[Lesion, ...]


def find_pairs(folder: Path, names: list[str] | None = None) -> list[Pair]:
    """The pairs of a folder: liver_N_ct8 / liver_N_label, ct / label, or imagesTr / labelsTr of the same name.

    :param names: numbers or names of cases; None for all.
    :raises InputError: there are no pairs, a named case is missing, or one is held out.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder; give one with image and label pairs as --data.")
    pairs = sorted(_pairs(folder), key=lambda pair: (_number(pair.name) or 0, pair.name))
    if names:
        wanted = [_wanted(name, pairs) for name in names]
        missing = [name for name, found in zip(names, wanted, strict=True) if found is None]
        if held := [name for name in names if _number(name) in HELD_OUT]:
            raise InputError(f"Cases {', '.join(held)} are held out; leave them out.")
        if missing:
            raise InputError(f"There is no case {', '.join(missing)} in '{folder}'.")
        pairs = wanted
    if held := [pair.name for pair in pairs if _number(pair.name) in HELD_OUT]:
        raise InputError(f"'{folder}' holds the cases {', '.join(held)}, which are held out; name others with --cases.")
    if not pairs:
        raise InputError(f"'{folder}' holds no pairs such as liver_0_ct8.nii.gz and liver_0_label.nii.gz.")
    return pairs


def read_case(pair: Pair, least_ml: float, tumor: int = 2) -> Case:
    """Read a pair.

    :param least_ml: smaller components are not counted as lesions.
    :param tumor: the label of tumor; every label counts as liver.
    """
    volume = read_volume(pair.image)
    labels, _ = onto_grid(read_labels(pair.label), volume.ijk_to_ras, volume.dimensions)
    segments = labels.segments
    liver = np.zeros(volume.array.shape, bool)
    for name in segments:
        liver |= segments[name]
    mask = segments[str(tumor)] if str(tumor) in segments else np.zeros_like(liver)
    low, high = volume.intensity_range
    grey = not volume.looks_like_hounsfield
    window = Window(min(low, 0.0), max(high, 255.0) if high <= 255 else high) if grey else None
    return Case(pair.name, volume, window, liver, tuple(lesions_of(mask, volume.voxel_volume_ml, least_ml)))


def lesions_of(mask: np.ndarray, voxel_ml: float, least_ml: float) -> Iterator[Lesion]:
    """The 26-connected components of at least `least_ml`, the largest first."""
    labels, count = ndimage.label(mask, _TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    for number, label in enumerate(np.argsort(-sizes, kind="stable"), start=1):
        if sizes[label] * voxel_ml >= least_ml:
            yield Lesion(number, labels == label + 1, float(sizes[label] * voxel_ml))


def _pairs(folder: Path) -> Iterator[Pair]:
    for image in sorted(folder.rglob("*")):
        if not image.name.endswith(_SUFFIXES):
            continue
        stem, suffix = _split(image.name)
        if image.parent.name.startswith("images"):
            names = [image.parent.parent / image.parent.name.replace("images", "labels") / image.name]
            name = stem
        elif match := re.fullmatch(r"(.*?)_?(ct8?)", stem):
            names = [image.with_name(f"{match[1]}_label{suffix}" if match[1] else f"label{suffix}")]
            name = match[1] or image.parent.name
        else:
            continue
        if names[0].is_file():
            yield Pair(name, image, names[0])


def _wanted(name: str, pairs: list[Pair]) -> Pair | None:
    return next((p for p in pairs if p.name == name or (name.isdigit() and _number(p.name) == int(name))), None)


def _split(name: str) -> tuple[str, str]:
    suffix = next(s for s in _SUFFIXES if name.endswith(s))
    return name[: -len(suffix)], suffix


def _number(name: str) -> int | None:
    """The case's number: the last one in its name."""
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else None
