"""Geometry of masks on a slice: bounding box, surroundings, connected components, depth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.voxel_map import INSIDE

PixelBox = tuple[float, float, float, float]
"""Edges (u0, v0, u1, v1): a box around exactly pixels 10 to 20 has edges 9.5 and 20.5."""

# A component is kept from this share of the main component's size on.
_PIECE = 0.25


def grown_box(mask: np.ndarray, pixels: float) -> PixelBox:
    """Edges (u0, v0, u1, v1) of the box around a mask that is not empty, so many pixels outside it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    grow = pixels + 0.5
    return float(columns[0] - grow), float(rows[0] - grow), float(columns[-1] + grow), float(rows[-1] + grow)


def around(mask: np.ndarray, plane: Plane, mm: float) -> tuple[slice, slice]:
    """Index of the part of a slice image that holds a mask and its surroundings."""
    u0, v0, u1, v1 = grown_box(mask, 0)
    row_mm, column_mm = row_column_mm(plane)
    rows, columns = int(np.ceil(mm / row_mm)), int(np.ceil(mm / column_mm))
    return (
        slice(max(int(v0 + 0.5) - rows, 0), min(int(v1 + 0.5) + rows, mask.shape[0])),
        slice(max(int(u0 + 0.5) - columns, 0), min(int(u1 + 0.5) + columns, mask.shape[1])),
    )


def deepest(mask: np.ndarray) -> tuple[float, float]:
    """(u, v) of the pixel of a mask that lies farthest from its outline."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    v, u = np.unravel_index(int(depth.argmax()), mask.shape)
    return float(u), float(v)


def area_mm2(mask: np.ndarray, plane: Plane) -> float:
    """Area of a mask in square millimeters."""
    return float(np.count_nonzero(mask)) * plane.spacing[0] * plane.spacing[1]


def row_column_mm(plane: Plane) -> tuple[float, float]:
    """Millimeters per pixel along (rows, columns)."""
    return plane.spacing[1], plane.spacing[0]


def connected(mask: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The components of a mask that overlap the last one; its largest one where none does."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    shared = np.bincount(labels[last & mask], minlength=count + 1)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    shared[0] = 0
    main = int(shared.argmax()) if shared.any() else int(sizes[1:].argmax()) + 1
    keep = (shared > 0) & (sizes >= _PIECE * sizes[main])
    keep[main] = True
    return keep[labels] & mask


def stored(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Logits as stored probabilities, uint8, moved across the threshold where the mask was clipped or filled."""
    values = np.rint(255.0 / (1.0 + np.exp(-np.clip(logits, -20.0, 20.0)))).astype(np.uint8)
    return np.where(mask, np.maximum(values, INSIDE), np.minimum(values, INSIDE - 1))


def stability(logits: np.ndarray, inside: np.ndarray) -> float:
    """IoU of the masks at logits +1 and -1 within a box; 0 if both are empty."""
    inner, outer = np.count_nonzero((logits > 1) & inside), np.count_nonzero((logits > -1) & inside)
    return inner / outer if outer else 0.0


Box = tuple[slice, ...]
"""Index of a part of an array, one slice an axis."""


def bounding_box(mask: np.ndarray) -> Box | None:
    """Bounding box of a bool array (k, j, i); None if it is empty."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
