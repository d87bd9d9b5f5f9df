"""What the network of whole lesions sees besides the CT: the mask so far, outlined slices, and clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.inference.whole_tumor.crop_grid import CropGrid, plane_axes
from SAMLiverTumorLib.models.preprocessing.network_input import LIVER_GREY, LIVER_STEP
from SAMLiverTumorLib.plane import Plane

INSIDE, OUTSIDE = 1.0, -1.0
"""Of an outline, on its slice; 0 elsewhere."""

_BALL = 2.0


@dataclass(frozen=True, eq=False)
class SliceMask:
    """The lesion's mask on one slice.

    :param plane: straight or oblique.
    :param mask: bool (rows, columns) of the plane.
    :param outlined: drawn or accepted by the user: the result shows it as it is. Otherwise it is a network's answer, a
        hint that the result may differ from.
    """

    plane: Plane
    mask: np.ndarray
    outlined: bool = False


def stacked(
    grey: np.ndarray, previous: np.ndarray, slices: np.ndarray, include: np.ndarray, exclude: np.ndarray
) -> np.ndarray:
    """All channels, float32 (5, n, n, n), of arrays (n, n, n).

    :param grey: 0 to 255 of the wide window; liver comes to lie near 0, and its deviation near 1.
    """
    return np.stack([(grey - LIVER_GREY) / LIVER_STEP, previous, slices, include, exclude]).astype(np.float32)


def slices_channel(grid: CropGrid, slices: Sequence[SliceMask]) -> np.ndarray:
    """Outlined slices as layers one voxel thick: `INSIDE` and `OUTSIDE`, 0 elsewhere; of two, the later one counts."""
    from scipy.ndimage import map_coordinates

    channel = np.zeros((grid.size,) * 3, np.float32)
    index = np.ogrid[: grid.size, : grid.size, : grid.size]
    for each in slices:
        normal = plane_axes(each.plane)[:, 0]
        slopes = normal @ grid.axes
        start = normal @ (grid.to_ras[:3, 3] - each.plane.to_ras[:3, 3]) / grid.spacing
        height = slopes[0] * index[0] + slopes[1] * index[1] + slopes[2] * index[2] + start
        # as thick as the step of the axis nearest to the normal: no holes
        thick = np.abs(slopes).max()
        layer = np.nonzero((height >= -0.5 * thick) & (height < 0.5 * thick))
        if not len(layer[0]):
            continue
        points = np.stack(layer, axis=1) @ grid.to_ras[:3, :3].T + grid.to_ras[:3, 3]
        points -= np.outer(height[layer] * grid.spacing, normal)
        u, v = each.plane.from_ras(points)[:, :2].T
        inside = map_coordinates(each.mask.astype(np.float32), [v, u], order=1, mode="grid-constant") > 0.5
        channel[layer] = np.where(inside, INSIDE, OUTSIDE)
    return channel


def add_ball(channel: np.ndarray, place: Sequence[float] | np.ndarray) -> None:
    """Mark a click in a channel (n, n, n), in place: 1 within two voxels of it.

    :param place: crop index (a, b, c), anywhere.
    """
    low = np.maximum(np.ceil(np.asarray(place) - _BALL), 0).astype(int)
    high = np.minimum(np.floor(np.asarray(place) + _BALL), np.array(channel.shape) - 1).astype(int) + 1
    if (high <= low).any():
        return
    axes = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    near = sum(np.square(axis - p) for axis, p in zip(axes, place, strict=True)) <= _BALL**2
    channel[low[0] : high[0], low[1] : high[1], low[2] : high[2]][near] = 1.0
