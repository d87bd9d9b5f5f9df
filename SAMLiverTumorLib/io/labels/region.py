"""A region of a volume from a label file, such as the liver that no tumor leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.volume import Volume


def labels_on(path: Path, volume: Volume) -> np.ndarray:
    """Every labeled voxel of a file on the volume's grid, bool (k, j, i).

    :raises InputError: not a label map, or nothing labeled within the volume.
    """
    labels, _ = onto_grid(read_labels(path), volume.ijk_to_ras, volume.dimensions)
    filled = np.any([layer > 0 for layer in labels.layers], axis=0)
    if not filled.any():
        raise InputError(f"'{path}' labels no voxel of '{volume.name}'; check that it belongs to this CT.")
    return filled
