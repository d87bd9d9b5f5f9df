"""`Crop`: a piece of a picture in whole pixels, and how places, prompts and logits go there and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.inference.input_geometry import InputGeometry
from SAMLiverTumorLib.prompts import PlanePrompts

# Crops start at multiples of so many pixels of the finer spacing: prompts that lie near each other share one, and its
# embedding.
_STEP = 16
# What lies this far (such pixels) outside a lesion belongs into its crop.
_MARGIN = 8.0
# Edge of the logits that SAM's prompt encoder takes, and the greatest value that they get there.
_MASK_EDGE, _MOST_LOGIT = 256, 20.0


@dataclass(frozen=True)
class Crop:
    """A piece of a picture in whole pixels, so that what is found there lies exactly on the picture's own.

    :param row: its first row.
    :param column: its first column.
    :param rows: how many.
    :param columns: how many.
    """

    row: int
    column: int
    rows: int
    columns: int

    @property
    def index(self) -> tuple[slice, slice]:
        """Where it lies in an array (rows, columns, ...) of the picture."""
        return slice(self.row, self.row + self.rows), slice(self.column, self.column + self.columns)

    def of(self, picture: np.ndarray) -> np.ndarray:
        """A view of the crop in a picture (rows, columns, ...)."""
        return picture[self.index]

    def onto(self, piece: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """A copy of a picture (rows, columns) with a piece (rows, columns) of the crop's size in its place."""
        whole = picture.copy()
        whole[self.index] = piece
        return whole

    def prompts(self, prompts: PlanePrompts) -> PlanePrompts:
        """A picture's prompts in the crop's pixels: points outside are left out, a box is clipped to the crop's edges.

        A mask is left out as well, since its logits lie on the whole picture; see `mask_prompt`.
        """
        start, last = np.array((self.column, self.row)), np.array((self.columns, self.rows)) - 0.5
        points = prompts.points - start
        inside = ((points >= -0.5) & (points <= last)).all(axis=1)
        box = None
        if prompts.box is not None:
            corners = np.clip(np.reshape(prompts.box, (2, 2)) - start, -0.5, last)
            box = tuple(corners.ravel().tolist())
        return PlanePrompts(points[inside], prompts.labels[inside], box)


def crop_around(
    box: tuple[float, float, float, float], edge: int, shape: tuple[int, int], spacing: tuple[float, float]
) -> Crop | None:
    """The crop around a box, square in millimeters.

    :param box: edges (u0, v0, u1, v1) in the picture's pixels.
    :param edge: of the crop, in pixels of the finer spacing.
    :param shape: (rows, columns) of the picture.
    :param spacing: millimeters per pixel along (rows, columns).
    :return: None where the box and a margin do not fit into it, or where it would be the whole picture.
    """
    starts, sizes = [], []
    for axis, (low, high) in enumerate(((box[1], box[3]), (box[0], box[2]))):
        coarser = min(spacing) / spacing[axis]
        size = min(shape[axis], max(1, round(edge * coarser)))
        step = max(1, round(_STEP * coarser))
        start = step * round(((low + high + 1.0) / 2.0 - size / 2.0) / step)
        start = min(max(start, 0), shape[axis] - size)
        # the picture's own border is no reason against a crop
        low, high = max(low - _MARGIN * coarser, -0.5), min(high + _MARGIN * coarser, shape[axis] - 0.5)
        if low < start - 0.5 or high > start + size - 0.5:
            return None
        starts.append(start)
        sizes.append(size)
    return None if tuple(sizes) == tuple(shape) else Crop(*starts, *sizes)


def mask_prompt(logits: np.ndarray, geometry: InputGeometry) -> np.ndarray:
    """Logits (rows, columns) of a picture as the prompt that a network takes of it: float32 (1, 256, 256).

    :param geometry: how the picture lies in the network's input.
    """
    from scipy import ndimage

    places = []
    for scale in geometry.scale:
        centers = (np.arange(_MASK_EDGE) + 0.5) * (geometry.input_size / _MASK_EDGE)
        places.append(centers / scale - 0.5)
    limited = np.clip(logits, -_MOST_LOGIT, _MOST_LOGIT)
    # beyond the picture there is no lesion; half a pixel at its border repeats it
    outside = np.add.outer(*(((p < -0.5) | (p > n - 0.5)) for p, n in zip(places, logits.shape, strict=True)))
    grid = np.meshgrid(*places, indexing="ij")
    prompt = ndimage.map_coordinates(limited, grid, order=1, mode="nearest").astype(np.float32)
    prompt[outside] = -_MOST_LOGIT
    return prompt[None]
