"""Prompts as people give them: sloppy boxes, clicks off the middle and near the border, corrections at errors."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.datasets.reference_prompts import largest_error_region

EXCLUDE, INCLUDE, FIRST_CORNER, LAST_CORNER, NOTHING = 0, 1, 2, 3, -1
"""What SAM's prompt encoder calls the kinds of its tokens."""


def click(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """(u, v) of a click into a mask: mostly near its middle, often anywhere, seldom at its border."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    kind = rng.random()
    if kind < 0.3:
        v, u = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        weights = depth.ravel() ** (2 if kind < 0.7 else 1) if kind < 0.9 else ((depth > 0) & (depth <= 2.5)).ravel()
        weights = weights / weights.sum()
        v, u = np.unravel_index(int(rng.choice(weights.size, p=weights)), depth.shape)
    return float(u + columns[0]), float(v + rows[0])


def box(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Edges (u0, v0, u1, v1) of a box: two pixels outside, or each side up to 25 % too far out or 10 % too far in."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    edges = np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5], float)
    sides = np.tile(edges[2:] - edges[:2], 2)
    out = np.array([-1.0, -1.0, 1.0, 1.0])
    kind = rng.random()
    if kind < 0.5:
        edges += out * 2.0
    elif kind < 0.65:  # as large on all sides
        edges += out * sides * rng.uniform(0.0, 0.25)
    else:
        edges += out * (sides * rng.uniform(-0.1, 0.25, 4) + rng.uniform(-1.0, 2.0, 4))
    return tuple(edges.tolist())


def correction(mask: np.ndarray, marked: np.ndarray, rng: np.random.Generator) -> tuple[float, float, int]:
    """(u, v, label) of the click that corrects most; where nothing is wrong, one inside."""
    error = largest_error_region(marked, mask)
    if error is None:
        return (*click(mask, rng), INCLUDE)
    region, (row, column), missed = error
    if rng.random() < 0.6:
        depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        v, u = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        u, v = click(region, rng)
    return float(u + column), float(v + row), INCLUDE if missed else EXCLUDE
