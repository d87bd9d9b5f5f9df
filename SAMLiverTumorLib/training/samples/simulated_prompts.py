"""Prompts as users give them, simulated from a reference mask: boxes, clicks inside, clicks that correct errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.datasets import reference_prompts as trials

if TYPE_CHECKING:
    import torch
    from torch import Tensor

POINT, BOX, TEXT, BOX_AND_POINT = "point", "box", "text", "box and point"

# Largest error of a hand-drawn edge: this share of the box's side, plus so many pixels.
_JITTER, _JITTER_PX = 0.1, 3.0


@dataclass(frozen=True, eq=False)
class SimulatedPrompts:
    """Prompts of one kind for several lesions of one slice image, in pixels of the frame (u, v).

    :param points: (lesions, clicks, 2); None without clicks.
    :param labels: (lesions, clicks) 1 include, 0 exclude.
    :param boxes: (lesions, 4) edges (u0, v0, u1, v1); None without boxes.
    """

    points: np.ndarray | None
    labels: np.ndarray | None
    boxes: np.ndarray | None

    def with_clicks(self, points: np.ndarray, labels: np.ndarray) -> SimulatedPrompts:
        """One more click for each lesion: points (lesions, 2), labels (lesions,)."""
        points, labels = points[:, None].astype(float), labels[:, None]
        if self.points is not None:
            points = np.concatenate([self.points, points], axis=1)
            labels = np.concatenate([self.labels, labels], axis=1)
        return SimulatedPrompts(points, labels, self.boxes)

    def to_input(self, scale: float, device: torch.device) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """Points (coordinates, labels) and boxes in pixels of the network's input, `scale` of them per frame pixel."""
        import torch

        points = boxes = None
        if self.points is not None:
            at = torch.as_tensor((self.points + 0.5) * scale - 0.5, dtype=torch.float32, device=device)
            points = (at, torch.as_tensor(self.labels, dtype=torch.int32, device=device))
        if self.boxes is not None:
            boxes = torch.as_tensor((self.boxes + 0.5) * scale - 0.5, dtype=torch.float32, device=device)
        return points, boxes


def first_prompts(masks: np.ndarray, kind: str, rng: np.random.Generator | None = None) -> SimulatedPrompts:
    """Prompts of one kind for masks (lesions, rows, columns).

    :param rng: for imprecise boxes and clicks anywhere inside; None for the box two pixels outside and the deepest
        point, as in the reference figures.
    """
    points = labels = boxes = None
    if kind in (POINT, BOX_AND_POINT):
        points = np.array([[interior_point(mask, rng)] for mask in masks], float)
        labels = np.ones(points.shape[:2], int)
    if kind in (BOX, BOX_AND_POINT):
        boxes = np.array([box_around(mask, rng) for mask in masks])
    return SimulatedPrompts(points, labels, boxes)


def box_around(mask: np.ndarray, rng: np.random.Generator | None = None) -> tuple[float, float, float, float]:
    """Edges (u0, v0, u1, v1) of a box two pixels outside the mask; with `rng`, each edge is imprecise, as by hand."""
    box = np.array(trials.box_around(mask))
    if rng is not None:
        reach = _JITTER * np.tile(box[2:] - box[:2], 2) + _JITTER_PX
        missed = box + np.clip(rng.normal(0.0, reach / 2), -reach, reach)
        # never so far inwards that the box inverts or loses the lesion
        half = (box[:2] + box[2:]) / 2
        missed[:2], missed[2:] = np.minimum(missed[:2], half - 1), np.maximum(missed[2:], half + 1)
        box = missed
    return tuple(np.clip(box, -0.5, np.array(mask.shape[::-1] * 2) - 0.5).tolist())


def interior_point(mask: np.ndarray, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """(u, v) of the deepest pixel; with `rng`, of one drawn in proportion to its squared depth."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if rng is None:
        u, v = trials.deepest_point(part)
    else:
        weights = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1].ravel() ** 2
        v, u = np.unravel_index(int(rng.choice(weights.size, p=weights / weights.sum())), part.shape)
    return int(u + columns[0]), int(v + rows[0])


def corrections(
    masks: np.ndarray, predicted: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One corrective click for each lesion, inside its largest missed or wrongly marked region.

    :param masks: reference masks, bool (lesions, rows, columns).
    :param predicted: predicted masks, of the same shape.
    :return: points (lesions, 2) as (u, v), and labels (lesions,): 1 in a missed region, 0 in a wrongly marked one.
        Without any error, an include point inside the lesion.
    """
    points, labels = [], []
    for mask, marked in zip(masks, predicted, strict=True):
        error = trials.largest_error_region(marked, mask)
        if error is None:
            points.append(interior_point(mask, rng) if mask.any() else (0, 0))
            labels.append(int(mask.any()))
            continue
        region, (first_row, first_column), missed = error
        u, v = interior_point(region, rng)
        points.append((u + first_column, v + first_row))
        labels.append(int(missed))
    return np.array(points, float), np.array(labels)
