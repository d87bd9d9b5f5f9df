"""A scan with its outlined tumors as it is kept for training: without anything that tells whose it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from SAMLiverTumorLib.datasets.store.outline_origin import plain_origin, window_of
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.volume import Volume

LIVER, TUMOR = 1, 2
"""Label values, as in LiTS."""

_ID_DIGITS = 16


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """What is to be kept.

    Kept are voxels, the spacing and directions of their axes (what is axial, and how large a pixel is), which model
    and prompts the outlines came from, and the day of storing. Not kept are names, numbers and dates of patient,
    study and files, anything else of a header, and where in the scanner the first voxel lay: it comes to lie at
    0, 0, 0, and prompts move along.

    :param volume: the scan; stored as 16-bit integers where its values are such, as float32 otherwise.
    :param labels: uint8 (k, j, i) on its voxels: 1 liver, 2 tumor.
    :param provenance: of the outlines, as segments carry it, oldest first; see `origin.plain_origin` for what is kept.
    :raises InputError: no tumor, or labels on other voxels.
    """

    volume: Volume
    labels: np.ndarray
    provenance: Sequence[Any] = ()

    def __post_init__(self) -> None:
        if self.labels.shape != self.volume.array.shape:
            raise InputError(
                f"The labels have {self.labels.shape[::-1]} voxels and '{self.volume.name}' {self.volume.dimensions}; "
                "resample them onto the scan."
            )
        if not (self.labels == TUMOR).any():
            raise InputError("No tumor is outlined within the scan; outline one first, it is what is learned.")

    @cached_property
    def voxels(self) -> np.ndarray:
        """What is stored of the scan: int16 or float32 (k, j, i)."""
        return plain_voxels(self.volume)

    @cached_property
    def ijk_to_ras(self) -> np.ndarray:
        """4x4 affine (mm) of what is stored: the scan's spacing and directions, the first voxel at 0, 0, 0."""
        affine = np.array(self.volume.ijk_to_ras)
        affine[:3, 3] = 0.0
        return affine

    @cached_property
    def content(self) -> str:
        """SHA-256 of the scan's voxels."""
        return content_of(self.voxels)

    @property
    def id(self) -> str:
        """What the case is called: it depends on the voxels alone, so that a scan stored again is recognized."""
        return case_id(self.content)

    @cached_property
    def outline(self) -> str:
        """SHA-256 of the labels."""
        return content_of(self.labels.astype(np.uint8, copy=False))

    @cached_property
    def origin(self) -> list[dict[str, Any]]:
        """Models and prompts of the outlines, as plain values."""
        return plain_origin(self.provenance, self.volume.ijk_to_ras[:3, 3])

    @cached_property
    def window(self) -> list[float] | None:
        """The intensity range that a scan which is not in Hounsfield units was shown in; None for a CT."""
        return None if self.volume.looks_like_hounsfield else window_of(self.origin)


def plain_voxels(volume: Volume) -> np.ndarray:
    """A volume's voxels as int16 where they are such, however they are stored, and float32 otherwise."""
    array, (low, high) = volume.array, volume.intensity_range
    info = np.iinfo(np.int16)
    whole = low >= info.min and high <= info.max
    if whole and array.dtype.kind == "f":
        whole = all(bool((part == np.rint(part)).all()) for part in array)
    return np.ascontiguousarray(array, np.int16 if whole else np.float32)


def content_of(array: np.ndarray) -> str:
    """SHA-256 of an array's shape, type and values."""
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def case_id(content: str) -> str:
    """The name of the case whose scan has this hash."""
    return f"case-{content[:_ID_DIGITS]}"
