"""From CT numbers to the 8-bit color picture that SAM was trained on, always on a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.sampling import sample_plane
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.image.channels import FurtherChannel

CHANNEL_MODES = ("single", "windows", "neighbors")


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
"""A window made from the volume's own values; see `percentile_window`."""


def percentile_window(volume: Volume, low: float = 0.5, high: float = 99.5) -> Window:
    """The window between two percentiles of a volume's values, for MR, whose values have no unit.

    The least value, which is the background, does not count: in MR it is most of the picture. MedSAM was trained on
    MR between the same percentiles (Ma et al., "Segment anything in medical images", 2024).

    :raises InputError: the volume has one value only.
    """
    values = volume.array[volume.array > volume.intensity_range[0]]
    if not values.size:
        raise InputError(f"'{volume.name}' has one value everywhere; there is nothing to see in it.")
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


def plane_to_rgb(
    volume: Volume, plane: Plane, window: Window, channels: str = "single", further: Sequence[FurtherChannel] = ()
) -> np.ndarray:
    """The network's picture of a plane: uint8, shape (rows, columns, 3), a copy.

    :param channels: "single" shows the window three times; "windows" shows the wide window, the given
        one and the lesion window; "neighbors" shows the slices before, at and after the plane.
    :param further: one or two further volumes on the same voxels: the first of them is red and the second blue; the
        volume itself is green, as it is with the other modes, and blue too where there is no second.
    :raises InputError: unknown channel mode, or a HU preset on a volume that is not in HU.
    """
    check_window(volume, window)
    if further:
        from SAMLiverTumorLib.image.channels import check_further

        check_further(volume, further, channels)
        grey = window.to_uint8(sample_plane(volume, plane))
        others = [channel.window.to_uint8(sample_plane(channel.volume, plane)) for channel in further]
        return np.stack([others[0], grey, others[1] if len(others) > 1 else grey], axis=2)
    if channels == "single":
        grey = window.to_uint8(sample_plane(volume, plane))
        return np.repeat(grey[..., None], 3, axis=2)
    if channels == "windows":
        if not volume.looks_like_hounsfield:
            raise InputError(
                f"'{volume.name}' is not in Hounsfield units, for which channels 'windows' has its windows; choose "
                "channels 'single' or 'neighbors'."
            )
        values = sample_plane(volume, plane)
        return np.stack([w.to_uint8(values) for w in (PRESETS["wide"], window, PRESETS["lesion"])], axis=2)
    if channels == "neighbors":
        return np.stack([window.to_uint8(sample_plane(volume, plane, step)) for step in (-1, 0, 1)], axis=2)
    raise InputError(f"Unknown channel mode '{channels}'; choose one of {', '.join(CHANNEL_MODES)}.")
