"""Distances of slices: whether they are regular, where slices are missing, and a regular step for uneven ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SAMLiverTumorLib.io.dicom.slices.frames import Frame

SAME_PLACE = 0.01
"""Slices nearer to each other than this (mm) lie at one place."""

ROUNDING = 0.05
"""Headers round positions to a tenth of a millimeter at worst."""

# A step that is larger than its neighbors' by this is a hole; numbers that count on say that the scanner made it.
_HOLE, _HOLE_OF_NUMBERED = 1.5, 1.8

# No protocol leaves as much out: so many usual steps, and mm.
_GAP, _GAP_MM = 3.0, 20.0

# Steps within this share of the usual one are a wobble, not another slice distance.
_WOBBLE = 0.2
# Uneven slices are resampled to the smallest of their steps, but to no more than so many slices for one.
_FINEST = 4


def position_along(frame: Frame) -> float:
    """Position of a placed image along its normal, in mm."""
    assert frame.position is not None and frame.orientation is not None, "only placed images are asked"
    return float(np.dot(frame.position, np.cross(frame.orientation[:3], frame.orientation[3:])))


def regular_step(heights: np.ndarray, said: Sequence[float | None] = ()) -> float | None:
    """The step of the regular grid that ascending heights (mm) lie on, but for rounding; None where there is none.

    :param said: steps that the headers name, which are taken where the heights are rounded and agree with them.
    """
    index = np.arange(len(heights))
    whole = float(heights[-1] - heights[0]) / (len(heights) - 1)
    if whole <= SAME_PLACE:
        return None
    if np.abs(heights - heights[0] - index * whole).max() <= 1.5 * SAME_PLACE:
        return whole
    fitted = float(np.polyfit(index, heights, 1)[0])
    for step in (*(abs(each) for each in said if each), fitted, whole):
        if np.ptp(heights - index * step) <= 2 * ROUNDING + SAME_PLACE:
            return step
    return None


def missing_after(heights: np.ndarray, numbers: Sequence[int | None]) -> int | None:
    """The slice behind which others are missing, or lie too far away to be of one volume; None where none are.

    :param heights: ascending, mm.
    :param numbers: instance numbers. Where they leave numbers out together with the room for them, slices are missing;
        where they count on, the scanner may have chosen another distance.
    """
    steps = np.diff(heights)
    usual = float(np.median(steps))
    too_far = np.flatnonzero(steps > np.maximum(_GAP * usual, _GAP_MM))
    if len(too_far):
        return int(too_far[0])
    counted = None not in numbers
    jumps = np.diff(np.array(numbers if counted else [0] * len(heights), np.int64))
    counted = counted and bool((jumps > 0).all() or (jumps < 0).all())
    jumps = np.abs(jumps)
    near = np.array([max(steps[max(n - 1, 0)] if n else 0.0, *steps[n + 1 : n + 2], 0.0) for n in range(len(steps))])
    hole = (steps > (_HOLE_OF_NUMBERED if counted else _HOLE) * near) & (near > 0)
    if counted:
        least = jumps.min()
        hole |= (jumps >= 2 * least) & (steps > _HOLE * np.median(steps[jumps == least]))
    else:
        # two in a row rather leave out every second slice than begin another distance
        large = np.concatenate([[False], steps > _HOLE * usual, [False]])
        edges = np.flatnonzero(np.diff(large.astype(int)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            hole[start] |= stop - start <= 2
    found = np.flatnonzero(hole)
    return int(found[0]) if len(found) else None


def even_step(heights: np.ndarray) -> float:
    """The step (mm) that slices at uneven distances are resampled to."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() <= _WOBBLE * usual:
        return float(heights[-1] - heights[0]) / len(steps)
    return max(float(steps.min()), usual / _FINEST)
