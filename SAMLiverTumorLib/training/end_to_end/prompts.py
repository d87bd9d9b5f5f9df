"""Prompts as people give them: sloppy boxes, scribbles and lassos, clicks near the border, corrections at errors."""

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
    edges = np.array(bounds(mask), float)
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


def bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Edges (u0, v0, u1, v1) of the smallest box around a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5


def scribble(mask: np.ndarray, rng: np.random.Generator) -> list[tuple[float, float]]:
    """(u, v) of 5 to 20 points along a bent path within a mask, from one of its parts to another."""
    ends = [np.array(click(mask, rng)) for _ in range(6)]
    first = ends[0]
    last = max(ends[1:], key=lambda end: float(np.hypot(*(end - first))))
    along = np.linspace(0.0, 1.0, int(rng.integers(5, 21)))
    across = np.array([first[1] - last[1], last[0] - first[0]]) * rng.normal(0.0, 0.12)
    path = first + along[:, None] * (last - first) + np.sin(np.pi * along)[:, None] * across
    u, v = np.clip(np.rint(path).astype(int).T, 0, np.array(mask.shape[::-1])[:, None] - 1)
    # a hand that leaves the lesion is taken back
    path[~mask[v, u]] = first
    return [(float(x), float(y)) for x, y in path]


def lasso(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a rough closed curve around a mask encloses, bool of its shape: often too wide, seldom too narrow."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    radius = float(np.sqrt(np.count_nonzero(mask) / np.pi))
    reach = int(0.6 * radius) + 4
    v = slice(max(rows[0] - reach, 0), min(rows[-1] + reach + 1, mask.shape[0]))
    u = slice(max(columns[0] - reach, 0), min(columns[-1] + reach + 1, mask.shape[1]))
    part = mask[v, u]
    outside = ndimage.distance_transform_edt(~part) - ndimage.distance_transform_edt(part)
    coarse = rng.normal(0.0, 1.0, [max(2, round(n / (0.9 * radius + 2.0)) + 1) for n in part.shape])
    wobble = ndimage.zoom(coarse, [n / c for n, c in zip(part.shape, coarse.shape, strict=True)], order=1)
    level = (rng.uniform(-0.1, 0.3) + 0.1 * wobble) * radius
    enclosed = ndimage.binary_fill_holes(outside < level)
    parts, count = ndimage.label(enclosed)
    if count > 1:
        enclosed = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    whole = np.zeros_like(mask)
    whole[v, u] = enclosed if enclosed.any() else part
    return whole


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
