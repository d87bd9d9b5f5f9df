"""Where a lesion is looked at while the network learns: in any direction, from any of its slices, in about its scale.

Places are millimeters along (u, v, k) of a scan's array, as `CropGrid` has them along R, A and S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from SAMLiverTumorLib.inference.whole_tumor.crop_grid import ACROSS_LESION, ACROSS_SLICE, CropGrid, crop_spacing

# Share of crops as they are at first, made from the prompted slice alone; the others are around the whole lesion.
_FIRST = 0.6
# A crop's spacing is up to so many times finer or coarser than that of use, and its middle off by this share.
_FINEST, _COARSEST, _OFF = 0.7, 1.6, 0.12
# Axes of the prompted slice (normal, rows, columns) among (u, v, k), and how often.
_SLICES = (((2, 1, 0), 0.6), ((1, 2, 0), 0.2), ((0, 2, 1), 0.2))
_TILTED, _TILT = 0.35, 0.3
# How often the slice is any one by its height; otherwise it is that of any voxel, which large sections have more of.
_ANY_HEIGHT = 0.4


def random_axes(rng: np.random.Generator) -> np.ndarray:
    """Directions (3, 3) of a crop in columns: a slice's normal, rows and columns, mirrored, turned and tilted."""
    order = _SLICES[int(rng.choice(len(_SLICES), p=[share for _, share in _SLICES]))][0]
    axes = np.zeros((3, 3))
    for column, axis in enumerate(order):
        axes[axis, column] = 1.0 if rng.random() < 0.5 else -1.0
    turn = rng.uniform(-0.35, 0.35) if rng.random() < 0.6 else rng.uniform(-math.pi, math.pi)
    axes = axes @ Rotation.from_rotvec([turn, 0, 0]).as_matrix()
    if rng.random() < _TILTED:
        axes = axes @ Rotation.from_rotvec([0, *rng.normal(0, _TILT, 2)]).as_matrix()
    return axes


def place_crop(points: np.ndarray, voxel: Sequence[float], size: int, rng: np.random.Generator) -> tuple[CropGrid, int]:
    """A crop on a lesion, and the layer of it that is the prompted slice.

    :param points: (n, 3) of the lesion.
    :param voxel: millimeters along (u, v, k) of the voxels, of which these are centers.
    """
    axes = random_axes(rng)
    places, thick = points @ axes, np.asarray(voxel) @ np.abs(axes)
    low, high = places.min(axis=0), places.max(axis=0)
    if rng.random() < _ANY_HEIGHT:
        height = low[0] + (high[0] - low[0]) * rng.uniform(0.03, 0.97)
    else:
        height = places[int(rng.integers(len(places))), 0]
    if rng.random() < _FIRST:
        near = np.abs(places[:, 0] - height)
        section = places[near <= max(0.5 * thick[0], 0.04 * (high[0] - low[0]), near.min())]
        low, high = section.min(axis=0), section.max(axis=0)
        low[0] = high[0] = height
        thick[0] = 0.0
        across = ACROSS_SLICE
    else:
        across = ACROSS_LESION
    extent = float((high - low + thick).max())
    spacing = crop_spacing(extent, across) * math.exp(rng.uniform(math.log(_FINEST), math.log(_COARSEST)))
    middle = (low + high) / 2 + rng.uniform(-_OFF, _OFF, 3) * extent * ([0, 1, 1] if across == ACROSS_SLICE else 1)
    # not so far off that the slice is not seen
    reach = (size / 2 - 2) * spacing
    middle[0] = np.clip(middle[0], height - reach, height + reach)
    on_slice = axes @ [height, *middle[1:]]
    grid = CropGrid(axes, axes @ middle, spacing, size).with_layer_at(on_slice)
    return grid, int(np.clip(np.rint(grid.from_ras(on_slice[None])[0, 0]), 0, size - 1))
