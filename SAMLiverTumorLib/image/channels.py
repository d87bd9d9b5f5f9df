"""Further phases or modalities of the same patient, as the other two of the network's three channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.window import PERCENTILE, Window, check_window, window_for
from SAMLiverTumorLib.volume import Volume, apply_affine

if TYPE_CHECKING:
    from SAMLiverTumorLib.image.registration import Registration

MOST_FURTHER = 2
"""A network has three channels, and the volume itself takes one."""

# Less than this share of the smaller of two volumes lying in the other is no overlap to build on: the scans are of
# other parts of the body, or in other coordinates.
_LEAST_OVERLAP = 0.5

_SAME_GRID_MM = 1e-3
_POINTS = 40


@dataclass(frozen=True, eq=False)
class FurtherChannel:
    """One more volume as a channel of the network's input.

    :param volume: on the first volume's voxels; see `further_channel`.
    :param window: its intensity range.
    :param registration: how it was registered to the first volume; None where it was not.
    """

    volume: Volume
    window: Window
    registration: Registration | None = None

    def as_dict(self) -> dict:
        """What provenance says of it, JSON-ready."""
        entry = {
            "name": self.volume.name,
            "voxels": self.volume.voxel_hash,
            "window": [self.window.low, self.window.high],
        }
        return entry if self.registration is None else {**entry, "registration": self.registration.as_dict()}


def further_channel(
    first: Volume,
    other: Volume,
    window: str | Window = "auto",
    register: bool = False,
    cancel: Callable[[], bool] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[FurtherChannel, tuple[str, ...]]:
    """Bring another phase or modality onto the first volume's voxels.

    Voxels are interpolated linearly, unless both lie on the same grid; outside the other volume the channel has
    its minimum.

    :param window: a preset's name, "LOW,HIGH", "percentile", a `Window`, or "auto": the wide window for Hounsfield
        units, percentiles for everything else.
    :param register: register it rigidly to the first volume; needed where the two do not overlap.
    :param cancel: asked between slices, and between steps of the registration.
    :param progress: called with (slices done, slices in all).
    :return: (the channel, notes for the reader).
    :raises InputError: no overlap, a window for Hounsfield units on what has none, or a registration that failed.
    :raises Cancelled: `cancel` answers true.

    >>> channel, notes = further_channel(portal_venous, arterial)                           # doctest: +SKIP
    >>> segment(portal_venous, prompts, pool, Settings(further=(channel,)))                 # doctest: +SKIP
    """
    chosen = _window(other, window)
    registration, notes = None, []
    if register:
        from SAMLiverTumorLib.image.registration import register_rigid

        registration = register_rigid(first, other, cancel)
        notes.append(registration.describe(other.name, first.name))
    to_other = np.eye(4) if registration is None else registration.matrix
    moved = Volume(other.array, np.linalg.inv(to_other) @ other.ijk_to_ras, other.name)
    share = overlap(first, moved)
    if share < _LEAST_OVERLAP:
        raise InputError(
            f"'{other.name}' and '{first.name}' do not overlap ({share:.0%} of the smaller one); give scans of the "
            "same region, or let the second be moved onto the first (Register in the panel, --register on the command "
            "line)."
        )
    covered = overlap(first, moved, of_first=True)
    if covered < 0.995:
        notes.append(f"'{other.name}' covers {covered:.0%} of '{first.name}'; its channel is dark elsewhere.")
    return FurtherChannel(onto_grid_of(first, moved, cancel, progress), chosen, registration), tuple(notes)


def check_further(volume: Volume, further: Sequence[FurtherChannel], channels: str) -> None:
    """Refuse further volumes that are too many, on other voxels, or beside another use of the channels.

    :raises InputError: saying which.
    """
    if not further:
        return
    if len(further) > MOST_FURTHER:
        raise InputError(f"{len(further)} further volumes are too many; the network has room for {MOST_FURTHER}.")
    if channels != "single":
        raise InputError(f"Further volumes take the place of channels '{channels}'; choose channels 'single'.")
    for channel in further:
        if channel.volume.dimensions != volume.dimensions:
            raise InputError(f"'{channel.volume.name}' has other voxels than '{volume.name}'; resample it first.")


def overlap(first: Volume, other: Volume, of_first: bool = False) -> float:
    """The share of the smaller volume, by extent in space, that lies within the other; or the share of the first.

    Measured at 40 points along each axis.
    """
    if not of_first and _extent_ml(other) < _extent_ml(first):
        first, other = other, first
    inner = np.stack(
        np.meshgrid(*((np.arange(_POINTS) + 0.5) / _POINTS * size - 0.5 for size in first.dimensions), indexing="ij"),
        axis=-1,
    )
    ijk = apply_affine(other.ras_to_ijk @ first.ijk_to_ras, inner)
    sizes = np.array(other.dimensions)
    return float(((ijk >= -0.5 - 1e-6) & (ijk <= sizes - 0.5 + 1e-6)).all(axis=1).mean())


def onto_grid_of(
    first: Volume,
    other: Volume,
    cancel: Callable[[], bool] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Volume:
    """A volume with the first one's voxels: the same values on the same grid, else interpolated linearly (float32).

    :raises Cancelled: `cancel` answers true.
    """
    if other.dimensions == first.dimensions:
        corners = np.array(list(product(*((0, size - 1) for size in first.dimensions))))
        apart = apply_affine(first.ijk_to_ras, corners) - apply_affine(other.ijk_to_ras, corners)
        if np.abs(apart).max() < _SAME_GRID_MM:
            return Volume(other.array, first.ijk_to_ras, other.name)
    from scipy.ndimage import map_coordinates

    matrix = other.ras_to_ijk @ first.ijk_to_ras
    columns, rows, slices = first.dimensions
    least = other.intensity_range[0]
    array = np.empty(first.array.shape, np.float32)
    i, j = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    for k in range(slices):
        if cancel is not None and cancel():
            raise Cancelled("Cancelled.")
        if progress is not None:
            progress(k, slices)
        ijk = [matrix[a, 0] * i + matrix[a, 1] * j + matrix[a, 2] * k + matrix[a, 3] for a in range(3)]
        # as in `sample_plane`: the outermost voxels reach half a voxel beyond their centers
        array[k] = map_coordinates(other.array, ijk[::-1], output=np.float32, order=1, mode="nearest")
        outside = [(x < -0.5 - 1e-6) | (x > n - 0.5 + 1e-6) for x, n in zip(ijk, other.dimensions, strict=True)]
        array[k][np.logical_or.reduce(outside)] = least
    return Volume(array, first.ijk_to_ras, other.name)


def _window(volume: Volume, window: str | Window) -> Window:
    if window == "auto":
        window = "wide" if volume.looks_like_hounsfield else PERCENTILE
    chosen = window if isinstance(window, Window) else window_for(window, volume)
    assert chosen is not None, "'auto' alone has none"
    check_window(volume, chosen)
    return chosen


def _extent_ml(volume: Volume) -> float:
    return volume.voxel_volume_ml * volume.array.size
