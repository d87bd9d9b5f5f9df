"""Lesions of patients, one by one, and livers to paint more of them into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.lesion_components import label_lesions
from SAMLiverTumorLib.image.mask_geometry import bounding_box
from SAMLiverTumorLib.training.end_to_end.slice_bank import Scan

# Smaller components are a voxel or two that nobody meant.
_SMALLEST_ML = 0.02
_POINTS = 5000
# Patients with many lesions, and large lesions, are drawn more often, but not in proportion.
_PATIENT, _SIZE = 0.5, 0.25


@dataclass(frozen=True, eq=False)
class Lesion:
    """A connected component of a scan's tumors.

    :param number: in the bank's `components` of its scan.
    :param points: (n, 3) centers of some of its voxels, mm along (u, v, k) of the scan's array.
    """

    scan: Scan
    number: int
    ml: float
    points: np.ndarray


class LesionBank:
    """All lesions of scans, and places in their livers.

    :param scans: with a liver each.
    :raises InputError: no scan has a liver.
    """

    def __init__(self, scans: Sequence[Scan]) -> None:
        rng = np.random.default_rng(0)
        self.components: dict[str, np.ndarray] = {}
        self.lesions: dict[str, list[Lesion]] = {}
        self.places: list[tuple[Scan, np.ndarray, float]] = []
        for scan in scans:
            lesions = self._lesions_of(scan, rng)
            if lesions:
                self.lesions[scan.name] = lesions
            if scan.has_liver and (scan.label == 1).any():
                liver = scan.label > 0
                ml = np.count_nonzero(liver) * float(np.prod(scan.spacing)) / 1000.0
                self.places.append((scan, _points(scan.label == 1, scan.spacing, rng), ml))
        if not self.places:
            raise InputError("No scan has a liver to paint lesions into; label value 1 is that.")

    def draw(self, rng: np.random.Generator) -> Lesion | None:
        """A lesion of a patient; None if there are none."""
        if not self.lesions:
            return None
        names = list(self.lesions)
        shares = np.array([len(self.lesions[name]) for name in names], float) ** _PATIENT
        lesions = self.lesions[names[int(rng.choice(len(names), p=shares / shares.sum()))]]
        sizes = np.clip([lesion.ml for lesion in lesions], 0.05, 50.0) ** _SIZE
        return lesions[int(rng.choice(len(lesions), p=sizes / sizes.sum()))]

    def draw_place(self, rng: np.random.Generator) -> tuple[Scan, np.ndarray, float]:
        """A scan, a place (3,) in its liver outside tumors in mm along (u, v, k), and the liver's milliliters."""
        scan, points, ml = self.places[int(rng.integers(len(self.places)))]
        return scan, points[int(rng.integers(len(points)))], ml

    def _lesions_of(self, scan: Scan, rng: np.random.Generator) -> list[Lesion]:
        tumor = scan.label == 2
        box = bounding_box(tumor)
        if box is None:
            return []
        labels, count = label_lesions(tumor[box])
        whole = np.zeros(tumor.shape, np.uint16)
        whole[box] = labels
        self.components[scan.name] = whole
        ml = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(scan.spacing)) / 1000.0
        kept = [number for number in range(1, count + 1) if ml[number] >= _SMALLEST_ML]
        return [Lesion(scan, n, float(ml[n]), _points(whole == n, scan.spacing, rng)) for n in kept]


def _points(mask: np.ndarray, spacing: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Centers of at most `_POINTS` voxels of a mask (k, v, u), mm along (u, v, k)."""
    places = np.flatnonzero(mask)
    if len(places) > _POINTS:
        places = rng.choice(places, _POINTS, replace=False)
    return np.stack(np.unravel_index(places, mask.shape)[::-1], axis=1) * np.asarray(spacing)
