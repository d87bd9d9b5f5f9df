"""What the network is asked in one step: crops, and lesions, livers and texts to mark in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.training.end_to_end.crops import Crop, cut, restyle
from SAMLiverTumorLib.training.end_to_end.flat_lesions import paint_lesion
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan

LIVER, LIVER_TUMOR = "liver", "liver tumor"
_SMALLEST_PX = 30
# A real scan's crop gets painted lesions too, now and then.
_ALSO_PAINTED = 0.25
# The scale of small images is free: what fills the frame, or that of common pixels.
_COMMON_MM = 0.75


@dataclass(eq=False)
class Example:
    """One crop and what to mark in it.

    :param images: float32 (3, size, size), grey 0 to 255.
    :param corner: (row, column) in the frame.
    :param lesions: bool masks (size, size), to be prompted one by one.
    :param texts: concept and bool mask.
    """

    images: np.ndarray
    corner: tuple[int, int]
    lesions: list[np.ndarray] = field(default_factory=list)
    texts: list[tuple[str, np.ndarray]] = field(default_factory=list)


class Examples:
    """Draws examples out of scans.

    :param scans: to learn from.
    :param real: share of examples with lesions of patients, if there are any.
    :param painted: share of examples with painted lesions; the rest is any place of any slice.
    :param most: lesions of an example.
    """

    def __init__(self, scans: Sequence[Scan], real: float = 0.45, painted: float = 0.4, most: int = 3) -> None:
        self.scans, self.real, self.painted, self.most = scans, real, painted, most
        self.by_name = {scan.name: scan for scan in scans}
        self._tumors = [(s, np.flatnonzero((s.label == 2).any((1, 2)))) for s in scans]
        self._tumors = [(scan, slices) for scan, slices in self._tumors if len(slices)]
        self._livers = [(s, np.flatnonzero((s.label > 0).sum((1, 2)) > 400)) for s in scans if s.has_liver]
        self._livers = [(scan, slices) for scan, slices in self._livers if len(slices)]

    def draw(self, size: int, rng: np.random.Generator) -> Example:
        """An example of `size` pixels along the crop's side."""
        kind = rng.random()
        paint = 0.0
        if kind < self.real and self._tumors:
            scan, index = _drawn(self._tumors, rng, 0.6)
            label = scan.label[index]
            around, paint = label == 2, _ALSO_PAINTED
            # small lesions are as many trials as large ones
            parts, count = ndimage.label(around)
            if count > 1:
                around = parts == 1 + int(rng.integers(count))
        elif kind < self.real + self.painted:
            scan, index = _drawn(self._livers, rng, 0.5)
            around, paint = scan.label[index] > 0, 1.0
        else:
            scan, index = _drawn(self._livers, rng, 0.5)
            around = scan.label[index] > 0 if rng.random() < 0.5 else None
        scale = None
        if max(scan.grey.shape[1:]) < 200 and rng.random() < 0.6:
            scale = scan.spacing[0] / _COMMON_MM * float(np.exp(rng.uniform(-0.2, 0.4)))
        crop = cut(scan, index, size, rng, around, scale=scale)
        return self.example(scan, crop, paint, rng)

    def example(self, scan: Scan, crop: Crop, paint: float, rng: np.random.Generator) -> Example:
        """What to mark in a crop.

        :param paint: chance that lesions are painted into it.
        """
        images = crop.images
        lesions = _components(crop.tumor)
        tumor = crop.tumor.copy()
        if rng.random() < paint and np.count_nonzero(crop.liver) > 400:
            images = images.copy()
            for _ in range(int(rng.integers(1, 4))):
                radius = float(np.exp(rng.uniform(np.log(2.2), np.log(26.0)))) / crop.mm
                if rng.random() < 0.08:
                    radius = float(rng.uniform(26.0, 65.0)) / crop.mm
                radius = min(radius, 0.4 * crop.tumor.shape[0])
                mask = paint_lesion(images, crop.liver, tumor, radius, crop.apart_px, rng)
                if mask is not None and np.count_nonzero(mask) >= _SMALLEST_PX:
                    lesions.append(mask)
                if mask is not None:
                    tumor |= mask
        rng.shuffle(lesions)
        texts = []
        if scan.has_liver and rng.random() < 0.35:
            texts.append((LIVER, crop.liver))
        if scan.has_tumor and rng.random() < 0.6:
            texts.append((LIVER_TUMOR, tumor))
        return Example(restyle(images, rng), crop.corner, lesions[: self.most], texts)


def _drawn(choices: list[tuple[Scan, np.ndarray]], rng: np.random.Generator, power: float) -> tuple[Scan, int]:
    weights = np.array([len(slices) for _, slices in choices], float) ** power
    scan, slices = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
    return scan, int(slices[rng.integers(len(slices))])


def _components(tumor: np.ndarray) -> list[np.ndarray]:
    parts, count = ndimage.label(tumor, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    return [parts == n for n in range(1, count + 1) if sizes[n] >= _SMALLEST_PX]
