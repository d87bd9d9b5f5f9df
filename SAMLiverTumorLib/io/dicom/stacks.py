"""Which images of a folder belong together, and choosing among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import Frame

# Cosines written to three decimals still are the same orientation.
_SAME_ORIENTATION = 2e-3
_SAME_SPACING = 1e-4


@dataclass(frozen=True)
class Stack:
    """Images of one series with one size, spacing and orientation: candidates for one volume.

    :param part: from 1, counting the stacks of a series; 0 where the series is one stack.
    """

    frames: tuple[Frame, ...]
    part: int = 0

    @property
    def number(self) -> str:
        """The series' number as viewers show it, and the part: "4" or "4/2"."""
        return self._with_part("" if self.frames[0].series_number is None else str(self.frames[0].series_number))

    @property
    def uid(self) -> str:
        """The series' UID, and the part: "1.2.3" or "1.2.3/2"."""
        return self._with_part(self.frames[0].series_uid)

    def describe(self) -> str:
        """One line for the user to choose by."""
        first = self.frames[0]
        size = f"{first.columns} x {first.rows}"
        words = [f"{self.number or '-'}: {first.modality or 'unknown modality'} '{first.description}'"]
        words.append(f"{len(self.frames)} slice{'s' if len(self.frames) != 1 else ''} of {size}")
        return ", ".join([*words, self.uid or "without UID"])

    def _with_part(self, name: str) -> str:
        return f"{name}/{self.part}" if self.part else name


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """Images put together by series, then by what images of one volume share."""
    stacks: list[Stack] = []
    by_series: dict[str, list[list[Frame]]] = {}
    for frame in frames:
        groups = by_series.setdefault(frame.series_uid, [])
        for group in groups:
            if _alike(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    for groups in by_series.values():
        parts = [part for group in groups for part in _apart(group)]
        stacks.extend(Stack(tuple(part), n + 1 if len(parts) > 1 else 0) for n, part in enumerate(parts))
    return sorted(stacks, key=lambda stack: (_order(stack.frames[0].series_number), stack.uid))


def choose(stacks: Sequence[Stack], series: str | int | None, folder: str) -> Stack:
    """The stack named by its series' number or UID, "/PART" added where the series is several; the only one for None.

    :raises InputError: none or several, listing them.
    """
    if series is None:
        named = list(stacks)
    else:
        wanted = str(series).strip()
        named = [s for s in stacks if wanted in (s.uid, s.number)]
        # a series in parts may be named as a whole, to be told of its parts
        named = named or [s for s in stacks if wanted in (s.frames[0].series_uid, str(s.frames[0].series_number))]
        if not named:
            raise InputError(f"'{folder}' holds no series '{wanted}'; it holds {_listed(stacks)}")
    if len(named) > 1:
        parts = " (a series of several volumes has a part after its number)" if any(s.part for s in named) else ""
        raise InputError(
            f"'{folder}' holds {len(named)} series{parts}; choose one by its number or UID (--series on the command "
            f"line), or move it to its own folder: {_listed(named)}"
        )
    return named[0]


def position_along(frame: Frame) -> float:
    """Position of a placed image along its normal, in mm."""
    assert frame.position is not None and frame.orientation is not None, "only placed images are asked"
    return float(np.dot(frame.position, np.cross(frame.orientation[:3], frame.orientation[3:])))


def _alike(one: Frame, other: Frame) -> bool:
    same = (one.rows, one.columns, one.samples, one.frame_of_reference) == (
        other.rows,
        other.columns,
        other.samples,
        other.frame_of_reference,
    )
    return (
        same
        and _close(one.orientation, other.orientation, _SAME_ORIENTATION)
        and _close(one.spacing, other.spacing, _SAME_SPACING)
    )


def _close(one: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance


def _apart(frames: list[Frame]) -> list[list[Frame]]:
    """Phases, time points or echoes that lie at the same positions, each a volume of its own.

    What tells them apart has to do so at every position, and to give stacks of the same size; otherwise all stay
    together, to be refused as contradictory.
    """
    if any(frame.position is None or frame.orientation is None for frame in frames):
        return [frames]
    at = [round(position_along(frame), 2) for frame in frames]
    most = max(at.count(position) for position in set(at))
    if most == 1 or len(set(at)) == 1:
        return [frames]
    for name in dict.fromkeys(name for frame in frames for name, _ in frame.distinguishing):

        def value(frame: Frame, name: str = name) -> str:
            return dict(frame.distinguishing).get(name, "")

        parts = [list(group) for _, group in groupby(sorted(frames, key=value), key=value)]
        positions = [sorted(round(position_along(frame), 2) for frame in part) for part in parts]
        if len(parts) > 1 and all(len(set(p)) == len(p) == len(set(at)) for p in positions):
            return sorted(parts, key=lambda part: _order(value(part[0])))
    return [frames]


def _order(text: Any) -> tuple[float, str]:
    """Numbers by size before everything else."""
    try:
        return float(text), ""
    except (TypeError, ValueError):
        return float("inf"), str(text)


def _listed(stacks: Sequence[Stack]) -> str:
    return "; ".join(stack.describe() for stack in stacks)
