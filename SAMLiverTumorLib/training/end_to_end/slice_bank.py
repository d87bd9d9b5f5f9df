"""Axial slices of all scans in memory, each with the slices some millimeters below and above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.image.rgb import neighbor_step


@dataclass(frozen=True, eq=False)
class Scan:
    """One patient's slices, or single slices of many.

    :param name: of the patient.
    :param grey: uint8 (slices, rows, columns), the wide window, from inferior to superior.
    :param label: uint8 of the same shape: 1 liver, 2 tumor.
    :param spacing: millimeters between pixels along a row and a column, and between slices.
    :param has_liver: whether the labels have a liver.
    :param has_tumor: whether all tumors are labeled; False where there may be others.
    :param single: the slices do not belong together.
    """

    name: str
    grey: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]
    has_liver: bool = True
    has_tumor: bool = True
    single: bool = False

    def neighbors(self, index: int) -> tuple[int, int, int]:
        """Indices of the slices below, at and above; the first and last stand for those beyond."""
        if self.single:
            return index, index, index
        step = neighbor_step(self.spacing[2])
        return max(index - step, 0), index, min(index + step, len(self.grey) - 1)
