"""Parts of slices as the network sees them while it learns: zoomed, turned, mirrored, with other contrast and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from SAMLiverTumorLib.models.preprocessing.network_input import LIVER_GREY, LIVER_STEP
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan

FRAME = 512
"""Pixels along the side of the whole image that a crop is a part of."""

_GREY_PER_HU = 255.0 / 400.0


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of an image of `FRAME` pixels.

    :param images: float32 (3, size, size), grey 0 to 255 of the slices below, at and above.
    :param tumor: bool (size, size).
    :param liver: bool (size, size).
    :param corner: (row, column) of its first pixel in the frame, multiples of 8.
    :param mm: millimeters a pixel.
    :param apart_px: pixels from the slice to its neighbors.
    """

    images: np.ndarray
    tumor: np.ndarray
    liver: np.ndarray
    corner: tuple[int, int]
    mm: float
    apart_px: float


def cut(
    scan: Scan,
    index: int,
    size: int,
    rng: np.random.Generator,
    around: np.ndarray | None = None,
    augment: bool = True,
    scale: float | None = None,
) -> Crop:
    """Cut a crop out of a slice.

    :param size: pixels along its side, a multiple of 32; `FRAME` for the whole image.
    :param around: bool (rows, columns) of the slice: the crop holds some of it; anywhere if not given.
    :param augment: turn, mirror and zoom.
    :param scale: pixels of the frame for one of the slice; that which fills the frame if not given.
    """
    slices = scan.neighbors(index)
    rows, columns = scan.grey.shape[1:]
    scale = scale or FRAME / max(rows, columns)
    turn, mirror = 0.0, (1.0, 1.0)
    if augment:
        scale *= math.exp(rng.uniform(math.log(0.75), math.log(1.4)))
        if rng.random() < 0.5:
            turn = rng.uniform(-0.35, 0.35)
        mirror = (-1.0 if rng.random() < 0.5 else 1.0), (-1.0 if rng.random() < 0.25 else 1.0)
    # where the slice's middle lies in the frame
    middle = np.array([FRAME / 2, FRAME / 2])
    if augment:
        middle += rng.uniform(-24, 24, 2)
    else:
        middle = np.array([columns, rows]) * scale / 2
    matrix = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ np.diag(mirror)
    if around is None or not around.any():
        focus = middle + rng.uniform(-0.3, 0.3, 2) * FRAME
    else:
        places = np.flatnonzero(around)
        v, u = np.unravel_index(int(places[rng.integers(len(places))]), around.shape)
        focus = middle + matrix @ (np.array([u, v]) + 0.5 - np.array([columns, rows]) / 2)
        focus += rng.uniform(-0.35, 0.35, 2) * size
    corner = np.clip(np.rint((focus - size / 2) / 8) * 8, 0, FRAME - size).astype(int)
    # from crop pixels to the slice's, in the units of grid_sample
    inverse = np.linalg.inv(matrix)
    to_slice = inverse @ (corner + size / 2 - middle) / (np.array([columns, rows]) / 2)
    turn_part = inverse * (size / 2) / (np.array([columns, rows]) / 2)[:, None]
    theta = torch.from_numpy(np.concatenate([turn_part, to_slice[:, None]], axis=1)).float()[None]
    label = scan.label[index]
    grey = torch.from_numpy(np.stack([scan.grey[n] for n in slices])).float()
    masks = torch.from_numpy(np.stack([label == 2, label > 0])).float()
    grid = functional.affine_grid(theta, [1, 1, size, size], align_corners=False)
    sampled = functional.grid_sample(torch.cat([grey, masks])[None], grid, mode="bilinear", align_corners=False)[0]
    images = sampled[:3].numpy()
    pixel = scan.spacing[0] / scale
    step = max(1, abs(slices[2] - slices[1]), abs(slices[1] - slices[0]))
    return Crop(
        images,
        sampled[3].numpy() > 0.5,
        sampled[4].numpy() > 0.5,
        (int(corner[1]), int(corner[0])),
        pixel,
        (step * scan.spacing[2] if not scan.single else 3.0) / pixel,
    )


def restyle(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other contrast, window, noise and sharpness; float32 (3, rows, columns), 0 to 255."""
    if rng.random() < 0.2:  # fat and air black, as in windows that begin near 0 HU
        low = rng.uniform(80, 180) * _GREY_PER_HU
        images = np.maximum(images, low)
    factor = math.exp(rng.normal(0.0, 0.15))
    images = (images - 128.0) * factor + 128.0 + rng.normal(0.0, 12.0)
    if rng.random() < 0.4:
        images = 255.0 * np.power(np.clip(images, 0, 255) / 255.0, math.exp(rng.normal(0.0, 0.25)))
    if rng.random() < 0.35:
        images = images + rng.normal(0.0, rng.uniform(2.0, 9.0), images.shape).astype(np.float32)
    if rng.random() < 0.2:
        images = _blurred(images, rng.uniform(0.4, 1.0))
    if rng.random() < 0.15:  # thick slices, or the only one
        images = np.repeat(images[1:2], 3, axis=0)
    elif rng.random() < 0.5:  # up is down
        images = images[::-1]
    return np.ascontiguousarray(np.clip(images, 0, 255), dtype=np.float32)


def normalized(images: torch.Tensor) -> torch.Tensor:
    """Grey 0 to 255 of the wide window as the network wants it: the liver near 0, and of deviation about 1."""
    return (images - LIVER_GREY) / LIVER_STEP


def _blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, sigma, sigma), truncate=2.5)
