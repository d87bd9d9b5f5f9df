"""Cases with tumors painted into the healthy liver of real cases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.window import PRESETS, parse_window
from SAMLiverTumorLib.training.synthetic.paint_tumors import paint, plan_tumors
from SAMLiverTumorLib.volume import Volume

# Liver within this distance of a real tumor does not count as healthy.
_AWAY_MM = 8.0
# Number of tumors per volume: at least the first, below the second.
_TUMORS = (2, 6)


def painted_cases(case: Case, count: int, seed: tuple[int, ...], window: str) -> Iterator[Case]:
    """Copies of a case with tumors painted into its healthy liver; real tumors stay and keep their label.

    :param seed: the same seed gives the same tumors.
    :param window: window of the case. If a scan is not in Hounsfield units, its window is taken to show the same as
        the window "wide", which gives the HU per grey level.
    """
    if case.liver is None:
        return
    near = ndimage.distance_transform_edt(~case.tumor, sampling=case.volume.spacing[::-1]) < _AWAY_MM
    healthy = case.liver & ~(near if case.tumor.any() else case.tumor)
    hu_per_level = 1.0
    if not case.volume.looks_like_hounsfield:
        shown, wide = parse_window(window), PRESETS["wide"]
        hu_per_level = (wide.high - wide.low) / (shown.high - shown.low)
    for number in range(count):
        rng = np.random.default_rng((*seed, number))
        try:
            plans = plan_tumors(case.volume, healthy, rng, int(rng.integers(*_TUMORS)), hu_per_level=hu_per_level)
            voxels, tumor = paint(case.volume, healthy, plans, rng, hu_per_level)
        except InputError:
            return  # no room left in this liver
        volume = Volume(voxels, case.volume.ijk_to_ras, f"{case.name} painted {number}")
        yield Case(f"{case.name}+painted", volume, case.tumor | tumor, case.liver)
