"""Intensity windows: from CT numbers to the 8-bit values that SAM was trained on, always on a copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.volume import Volume


@dataclass(frozen=True)
class Window:
    """An intensity range shown from black (`low`) to white (`high`).

    :param low: value shown black, in the volume's units (HU for CT).
    :param high: value shown white.
    :param name: the preset's name, or "custom".
    :raises InputError: `high` is not above `low`.
    """

    low: float
    high: float
    name: str = "custom"

    def __post_init__(self) -> None:
        if not np.isfinite([self.low, self.high]).all() or self.high <= self.low:
            raise InputError(f"Window {self.low:g},{self.high:g}: the upper value has to be above the lower.")

    def to_uint8(self, values: np.ndarray) -> np.ndarray:
        """Map values to 0..255, rounding to nearest, clipped outside; a new uint8 array of the same shape."""
        scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(255.0 / (self.high - self.low))
        return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


# Low and high are level -/+ half the width. "liver" is the radiologist's liver window (width 150,
# level 30); "wide" the soft-tissue window (400/40) that the MedSAM family was trained with; "lesion"
# a narrow one (100/60) that separates hypodense tumors from parenchyma in the portal venous phase.
PRESETS = {
    "liver": Window(-45.0, 105.0, "liver"),
    "wide": Window(-160.0, 240.0, "wide"),
    "lesion": Window(10.0, 110.0, "lesion"),
}


PERCENTILE = "percentile"
"""A window from the volume's own values; see `percentile_window`."""


def percentile_window(volume: Volume, low: float = 0.5, high: float = 99.5) -> Window:
    """The window between two percentiles of a volume's values, for MR, whose values have no unit.

    The minimum, which is the background, does not count: in MR it is most of the slice image. MedSAM was trained on
    MR between the same percentiles (Ma et al., "Segment anything in medical images", 2024).

    :raises InputError: the volume has one value only.
    """
    values = volume.array[volume.array > volume.intensity_range[0]]
    if not values.size:
        raise InputError(f"'{volume.name}' has one value everywhere; it shows nothing.")
    ends = np.percentile(values, [low, high])
    if ends[1] <= ends[0]:
        ends = volume.intensity_range
    return Window(float(ends[0]), float(ends[1]), PERCENTILE)


def parse_window(text: str) -> Window:
    """A preset's name or "LOW,HIGH" in the volume's units.

    >>> parse_window("liver").high, parse_window("0,255").low
    (105.0, 0.0)
    """
    if text in PRESETS:
        return PRESETS[text]
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"Unknown window '{text}'; use one of {', '.join(PRESETS)} or LOW,HIGH.") from None
    return Window(low, high)


def window_for(text: str, volume: Volume) -> Window | None:
    """The window of a name: None for "auto", which is the model's own; of the volume's values for "percentile".

    :raises InputError: no such window.
    """
    if text == "auto":
        return None
    return percentile_window(volume) if text == PERCENTILE else parse_window(text)


def check_window(volume: Volume, window: Window) -> None:
    """Refuse a preset made for Hounsfield units on a volume that is not in them.

    :raises InputError: naming the way out, a window of the user's own.
    """
    if window.name in PRESETS and not volume.looks_like_hounsfield:
        low, high = volume.intensity_range
        raise InputError(
            f"'{volume.name}' has values {low:g} to {high:g}, which are not Hounsfield units, and window "
            f"'{window.name}' is meant for those; give the range to show: in the panel, window 'custom' with "
            f"{low:g} and {high:g}, on the command line --window {low:g},{high:g}."
        )
