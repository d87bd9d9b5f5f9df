"""What the network of whole lesions is asked: a crop with a lesion, and what a user would have marked of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.lesion_components import label_lesions
from SAMLiverTumorLib.inference.whole_tumor.channels import INSIDE, OUTSIDE, add_ball
from SAMLiverTumorLib.inference.whole_tumor.crop_grid import CropGrid
from SAMLiverTumorLib.inference.whole_tumor.resampling import BlockSampler
from SAMLiverTumorLib.training.end_to_end import prompts
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan
from SAMLiverTumorLib.training.synthetic.tumor_plan import draw_shape
from SAMLiverTumorLib.training.whole_tumor.lesion_bank import LesionBank
from SAMLiverTumorLib.training.whole_tumor.painted_lesions import paint_lesion
from SAMLiverTumorLib.training.whole_tumor.placement import place_crop
from SAMLiverTumorLib.training.whole_tumor.slice_masks import largest_part, sloppy

PAINTED_ML = (0.05, 300.0)
"""Volumes of painted lesions, drawn evenly by their logarithm."""

_LARGEST_SHARE = 0.35
_CLICKED, _FURTHER, _CUT = 0.5, 0.3, 0.05
_SMALLEST_PX = 9
_TRIES = 60


@dataclass(eq=False)
class Example:
    """One crop and what is marked in it; arrays are (n, n, n).

    :param grey: float32, 0 to 255 of the wide window.
    :param target: bool, the lesion as far as the crop shows it.
    :param slices: float32, the prompted slice as the network is told of it, see `channels.slices_channel`.
    :param include, exclude: float32, clicks as balls.
    :param previous: float32, the mask so far, 0 or 1.
    :param ml: of the lesion, roughly.
    """

    grey: np.ndarray
    target: np.ndarray
    slices: np.ndarray
    include: np.ndarray
    exclude: np.ndarray
    previous: np.ndarray
    ml: float


class Examples:
    """Draws examples.

    :param real: share with lesions of patients.
    :param size: voxels along the sides of crops.
    """

    def __init__(self, bank: LesionBank, real: float, size: int) -> None:
        self.bank, self.real, self.size = bank, real, size

    def draw(self, rng: np.random.Generator) -> Example:
        """An example.

        :raises InputError: no place was found for a lesion, again and again.
        """
        for _ in range(_TRIES):
            lesion = self.bank.draw(rng) if rng.random() < self.real else None
            found = self._patient(lesion, rng) if lesion is not None else self._painted(rng)
            if found is not None:
                return found
        raise InputError("No lesion could be cut out or painted; check that the labels have a liver.")

    def _patient(self, lesion, rng: np.random.Generator) -> Example | None:
        scan = lesion.scan
        grid, layer = place_crop(lesion.points, scan.spacing, self.size, rng)
        part = _Part(scan, grid)
        seed = part.sampler.blocks(self.bank.components[scan.name], lambda values: values == lesion.number)
        others = np.zeros(part.grey.shape, bool)
        if rng.random() < _FURTHER:
            radii, turned = _shape(math.exp(rng.uniform(math.log(0.1), math.log(20.0))), rng)
            others |= part.paint(_beside(lesion.points, radii, rng), radii, turned, rng)
        return self._example(part, seed, others, layer, lesion.ml, rng)

    def _painted(self, rng: np.random.Generator) -> Example | None:
        scan, place, liver_ml = self.bank.draw_place(rng)
        low, high = PAINTED_ML
        high = max(min(high, _LARGEST_SHARE * liver_ml), low)
        ml = math.exp(rng.uniform(math.log(low), math.log(high)))
        radii, turned = _shape(ml, rng)
        points = place + (_points_in_ball(rng) * radii) @ turned.T
        grid, layer = place_crop(points, [0.05 * float(radii.max())] * 3, self.size, rng)
        part = _Part(scan, grid)
        seed = part.paint(place, radii, turned, rng)
        if not seed.any():
            return None
        others = part.tumor.copy()
        if rng.random() < _FURTHER:
            second, again = _shape(ml * rng.uniform(0.05, 1.0), rng)
            others |= part.paint(_beside(points, second, rng), second, again, rng)
        return self._example(part, seed, others & ~seed, layer, ml, rng)

    def _example(
        self, part: _Part, seed: np.ndarray, others: np.ndarray, layer: int, ml: float, rng: np.random.Generator
    ) -> Example | None:
        """Sample a crop; what touches the seed belongs to the lesion."""
        cut = _field_of_view(seed > 0.5, rng) if rng.random() < _CUT else None
        blocks = [restyled(part.grey, rng), seed.astype(np.float32), others.astype(np.float32)]
        if cut is not None:
            blocks = [np.where(cut, block, np.float32(0)) for block in blocks]
        grey, own, further = part.sampler.sample(*blocks)
        own = own > 0.5
        labels, _ = label_lesions(own | (further > 0.5))
        touched = np.zeros(labels.max() + 1, bool)
        touched[labels[own]] = True
        touched[0] = False
        target = touched[labels]
        if np.count_nonzero(target[layer]) < _SMALLEST_PX:
            return None
        marked = sloppy(largest_part(target[layer]), rng)
        slices, include = np.zeros((2, *target.shape), np.float32)
        slices[layer] = np.where(marked, INSIDE, OUTSIDE)
        if rng.random() < _CLICKED:
            u, v = prompts.click(marked, rng)
            add_ball(include, (layer, v, u))
        nothing = np.zeros((2, *target.shape), np.float32)
        return Example(grey, target, slices, include, nothing[0], nothing[1], ml)


class _Part:
    """The part of a scan that a crop shows, in blocks about as large as its voxels; lesions are painted there.

    :ivar grey: float32 (k, v, u) of blocks.
    :ivar tumor, taken: bool of the same shape: lesions of the patient, and these with those painted since.
    """

    def __init__(self, scan: Scan, grid: CropGrid) -> None:
        to_index = np.diag([*(1.0 / np.asarray(scan.spacing)), 1.0])
        self.sampler = BlockSampler(scan.grey.shape, grid.to_array(to_index), grid.size)
        self.grey = self.sampler.blocks(scan.grey)
        label = scan.label
        self.liver = self.sampler.blocks(label, lambda values: values > 0) > 0.5
        self.tumor = self.sampler.blocks(label, lambda values: values == 2) > 0.5
        self.taken = self.tumor.copy()
        self._grid = grid
        self.spacing = np.asarray(scan.spacing)[::-1] * self.sampler.factors

    def paint(self, place: np.ndarray, radii: np.ndarray, turned: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Paint a lesion; its mask, empty where there is no room.

        :param place: (3,) mm along (u, v, k).
        :param turned: (3, 3) directions of its axes in columns, (u, v, k).
        """
        crop = self._grid.from_ras(place[None])[0]
        center = self.sampler.to_blocks[:3, :3] @ crop + self.sampler.to_blocks[:3, 3]
        mask = paint_lesion(self.grey, self.liver, self.taken, self.spacing, center, radii, turned[::-1], rng)
        if mask is None:
            return np.zeros(self.grey.shape, bool)
        self.taken |= mask
        return mask


def restyled(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other contrast, window, noise and sharpness, in 8 bits as scans are stored; float32 (k, v, u), 0 to 255."""
    if rng.random() < 0.2:  # fat and air black, as in windows that begin near 0 HU
        grey = np.maximum(grey, rng.uniform(50.0, 110.0))
    factor = math.exp(rng.normal(0.0, 0.15))
    grey = (grey - 128.0) * factor + (128.0 + rng.normal(0.0, 12.0))
    if rng.random() < 0.3:
        grey = 255.0 * np.power(np.clip(grey, 0, 255) / 255.0, math.exp(rng.normal(0.0, 0.2)))
    if rng.random() < 0.4:
        grey = grey + rng.standard_normal(grey.shape, np.float32) * np.float32(rng.uniform(2.0, 10.0))
    if rng.random() < 0.2:
        grey = ndimage.gaussian_filter(grey, rng.uniform(0.4, 0.9), truncate=2.5)
    return np.rint(np.clip(grey, 0, 255)).astype(np.float32)


def _field_of_view(seed: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Blocks that a volume would hold that ends in the lesion; bool, broadcastable."""
    axis = int(rng.integers(3))
    filled = np.flatnonzero(seed.any(axis=tuple({0, 1, 2} - {axis})))
    if len(filled) < 4:
        return None
    end = int(rng.integers(filled[0] + len(filled) // 2, filled[-1] + 1))
    shape = [1, 1, 1]
    shape[axis] = seed.shape[axis]
    return (np.arange(seed.shape[axis]) < end).reshape(shape)


def _shape(ml: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Semi-axes in mm and their directions in columns of an ellipsoid of a volume."""
    radii, rotation = draw_shape(ml, rng)
    return radii, Rotation.from_rotvec(rotation).as_matrix()


def _beside(points: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A place from which a lesion of some radii overlaps another one's points, touches them, or does not reach them."""
    middle = points.mean(axis=0)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    border = float(((points - middle) @ direction).max())
    return middle + direction * (border + float(radii.mean()) * rng.uniform(0.3, 1.8))


def _points_in_ball(rng: np.random.Generator, count: int = 1500) -> np.ndarray:
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * np.cbrt(rng.random((count, 1)))
