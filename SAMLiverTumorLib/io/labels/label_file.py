"""`LabelFile`: named segments on one voxel grid, whichever file they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from SAMLiverTumorLib.errors import printable
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails


class _Masks(Mapping):
    """name -> bool array (k, j, i), made when looked up: 120 organs of a CT would not fit in memory at once."""

    def __init__(self, layers: tuple[np.ndarray, ...], entries: Mapping[str, tuple[int, int]]):
        self._layers, self._entries = layers, entries

    def __getitem__(self, name: str) -> np.ndarray:
        layer, value = self._entries[name]
        # 0 is background, also where a header gives it to a segment
        return self._layers[layer] == value if value else np.zeros(self._layers[layer].shape, bool)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True, eq=False)
class LabelFile:
    """Named segments on one voxel grid.

    :param name: what messages call it.
    :param layers: integer arrays of shape (k, j, i); segments that overlap lie on different layers.
    :param entries: segment name -> (layer, value of its voxels). Values of a plain label map are named
        by their number.
    :param ijk_to_ras: 4x4 affine from voxel indices (i, j, k) to world RAS in millimeters.
    :param from_slicer: a Slicer segmentation or DICOM SEG: its grid is cropped to what its segments hold.
    :param details: segment name -> color, meaning and origin, where the file has them.
    :param notes: what reading it took, for the reader.

    >>> labels = LabelFile("label", (np.array([[[0, 2, 2]]]),), {"2": (0, 2)}, np.eye(4))
    >>> int(labels.segments["2"].sum()), labels.voxel_volume_ml
    (2, 0.001)
    """

    name: str
    layers: tuple[np.ndarray, ...]
    entries: dict[str, tuple[int, int]]
    ijk_to_ras: np.ndarray
    from_slicer: bool = False
    details: dict[str, SegmentDetails] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # names of files may hold bytes that neither MRML nor a report can
        object.__setattr__(self, "name", printable(self.name))

    @cached_property
    def segments(self) -> Mapping[str, np.ndarray]:
        """name -> bool array (k, j, i); each look-up makes a new array."""
        return _Masks(self.layers, self.entries)

    @property
    def label_values(self) -> dict[str, int]:
        """name -> value of the segment's voxels in its layer."""
        return {name: value for name, (_, value) in self.entries.items()}

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Number of voxels along (i, j, k)."""
        k, j, i = self.layers[0].shape
        return i, j, k

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in milliliters."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0


def free_name(wanted: str, taken: Mapping[str, object]) -> str:
    """A name that is not taken: the one wanted, else with " (2)" and so on behind it.

    >>> free_name("tumor", {"tumor": 1})
    'tumor (2)'
    """
    name, copies = wanted, 1
    while name in taken:
        copies += 1
        name = f"{wanted} ({copies})"
    return name
