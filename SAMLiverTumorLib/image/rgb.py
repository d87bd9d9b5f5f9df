"""`plane_to_rgb`: a plane of a volume as the 8-bit RGB slice image that a network sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.sampling import sample_plane
from SAMLiverTumorLib.image.window import PRESETS, Window, check_window
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.image.channels import FurtherChannel


CHANNEL_MODES = ("single", "windows", "neighbors")

SLICES = "slices"
"""The channels of a network that looks at three slices; no choice of a user's, but of the model."""

APART_MM = 3.0
"""How far the other two of its slices are."""


def plane_to_rgb(
    volume: Volume, plane: Plane, window: Window, channels: str = "single", further: Sequence[FurtherChannel] = ()
) -> np.ndarray:
    """The slice image of a plane for the network: uint8, shape (rows, columns, 3), a copy.

    :param channels: "single" shows the window three times; "windows" shows the wide window, the given
        one and the lesion window; "neighbors" shows the slices before, at and after the plane; "slices" those about
        3 mm before, at and after it.
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
    if channels == SLICES:
        step = neighbor_step(plane.spacing[2])
        return np.stack([window.to_uint8(sample_plane(volume, plane, n)) for n in (-step, 0, step)], axis=2)
    raise InputError(f"Unknown channel mode '{channels}'; choose one of {', '.join(CHANNEL_MODES)}.")


def neighbor_step(slice_mm: float) -> int:
    """Slices from one to its neighbor among the "slices" of a network: the next one, or some that are 3 mm.

    >>> neighbor_step(1.0), neighbor_step(5.0)
    (3, 1)

    :param slice_mm: millimeters from slice to slice.
    """
    return max(1, round(APART_MM / slice_mm))
