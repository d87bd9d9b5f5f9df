"""A region of a volume from a label file, such as the liver that no tumor leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.dataset_json import named_by_set
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.liver import LIVER_OPTION, liver_of
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.volume import Volume


def read_named_labels(path: Path, series: str | None = None) -> LabelFile:
    """A label file whose values have the names that the set's `dataset.json` gives them, if there is one.

    :param series: see `read_labels`.
    :raises InputError: the file or the description cannot be read.
    """
    return named_by_set(read_labels(path, series), path)


def labels_on(path: Path, volume: Volume, note: Callable[[str], None] | None = None) -> np.ndarray:
    """Every labeled voxel of a file on the volume's grid, bool (k, j, i).

    :param note: told what reading it took.
    :raises InputError: not a label map, or nothing labeled within the volume.
    """
    labels = read_labels(path)
    return _filled(labels, labels.notes, path, volume, note)


def liver_on(
    path: Path,
    volume: Volume,
    wanted: str | None = None,
    note: Callable[[str], None] | None = None,
    option: str = LIVER_OPTION,
) -> np.ndarray:
    """The liver of a file with its tumors on the volume's grid, bool (k, j, i).

    :param wanted: its segment or value; see `liver_of`.
    :param note: told which segments were taken, and what reading them took.
    :param option: what messages tell to choose the liver with.
    :raises InputError: not a label map, it cannot be told which is the liver, or none of it is within the volume.
    """
    labels = read_named_labels(path)
    liver, notes = liver_of(labels, wanted, option)
    return _filled(liver, (*labels.notes, *notes), path, volume, note)


def _filled(
    labels: LabelFile, notes: tuple[str, ...], path: Path, volume: Volume, note: Callable[[str], None] | None
) -> np.ndarray:
    moved, said = onto_grid(labels, volume.ijk_to_ras, volume.dimensions)
    filled = np.zeros(volume.array.shape, bool)
    for segment in moved.segments.values():
        filled |= segment
    if not filled.any():
        raise InputError(f"'{path}' labels no voxel of '{volume.name}'; check that it belongs to this CT.")
    if note is not None:
        for text in (*notes, *said):
            note(text)
    return filled
