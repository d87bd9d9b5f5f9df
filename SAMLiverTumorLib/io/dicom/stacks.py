"""Which images of a folder belong together, and choosing among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import Found
from SAMLiverTumorLib.io.dicom.slices.frames import Frame
from SAMLiverTumorLib.io.dicom.slices.parts import order, parts_of
from SAMLiverTumorLib.io.dicom.slices.steps import SAME_PLACE, position_along, regular_step
from SAMLiverTumorLib.listed import listed

# Cosines written to three decimals still are the same orientation.
_SAME_ORIENTATION = 2e-3
_SAME_SPACING = 1e-4

# Of the normal along the body's axis: axial slices, tilted by less than 36 degrees.
_AXIAL = 0.8

_MOST_LISTED = 6
_MOST_LETTERS = 48


class SeveralSeries(InputError):
    """Several series could be meant.

    :param stacks: which, the longest first.
    """

    def __init__(self, text: str, stacks: Sequence[Stack]) -> None:
        super().__init__(text)
        self.stacks = tuple(stacks)


@dataclass(frozen=True)
class Stack:
    """Images of one series with one size, spacing and orientation: candidates for one volume.

    :param part: from 1, counting the stacks of a series; 0 where the series is one stack.
    :param told_by: what tells it from the others of its series, such as "AcquisitionNumber 2".
    """

    frames: tuple[Frame, ...]
    part: int = 0
    told_by: str = ""

    @property
    def number(self) -> str:
        """The series' number as viewers show it, and the part: "4" or "4/2"."""
        return self._with_part("" if self.frames[0].series_number is None else str(self.frames[0].series_number))

    @property
    def uid(self) -> str:
        """The series' UID, and the part: "1.2.3" or "1.2.3/2"."""
        return self._with_part(self.frames[0].series_uid)

    @property
    def size(self) -> str:
        """How many slices of which size, for the reader."""
        first = self.frames[0]
        several = "s" if len(self.frames) != 1 else ""
        return f"{len(self.frames)} slice{several} of {first.columns} x {first.rows}"

    @property
    def direction(self) -> str:
        """How the slices lie: axial, sagittal or coronal; empty where they have no orientation."""
        if self.frames[0].orientation is None:
            return ""
        normal = np.abs(np.cross(self.frames[0].orientation[:3], self.frames[0].orientation[3:]))
        return ("sagittal", "coronal", "axial")[int(normal.argmax())]

    @property
    def step(self) -> float | None:
        """The usual distance of the slices in mm; None for fewer than two places."""
        if len(self.frames) < 2 or any(each.position is None or each.orientation is None for each in self.frames):
            return None
        heights = np.sort([position_along(frame) for frame in self.frames])
        return float(np.median(np.diff(heights)))

    @property
    def is_volume(self) -> bool:
        """Whether the images lie at several places along their normal: one alone, as a scout is, makes no volume."""
        if any(frame.position is None or frame.orientation is None for frame in self.frames):
            return len(self.frames) > 1
        heights = [position_along(frame) for frame in self.frames]
        return max(heights) - min(heights) > SAME_PLACE

    @property
    def is_axial(self) -> bool:
        """Whether the slices lie across the body."""
        orientation = self.frames[0].orientation
        return orientation is not None and abs(np.cross(orientation[:3], orientation[3:])[2]) > _AXIAL

    def describe(self) -> str:
        """One line for the user to choose by."""
        first = self.frames[0]
        description = first.description if len(first.description) <= _MOST_LETTERS else first.description[:45] + "..."
        words = f"{self.number or '-'}: {first.modality or 'unknown modality'} '{description}'"
        return ", ".join(filter(None, [words, self.size, self.told_by, self.uid or "without UID"]))

    def _with_part(self, name: str) -> str:
        return f"{name}/{self.part}" if self.part else name


def find_stack(found: Found, series: str | int | None, folder: str) -> tuple[Stack, tuple[str, ...]]:
    """The images of the one volume that a folder holds, or that was named, and notes on what else lies there.

    What has no place in the patient (pages of reports, color) is no candidate, nor is a localizer.

    :raises InputError: none or several; nothing but objects that are no slices.
    """
    frames = [frame for frame in found.frames if not frame.is_projection]
    if not frames:
        others = [*found.others, *("CT localizer" for _ in found.frames)]
        raise InputError(_nothing(folder, others))
    placed = [frame for frame in frames if frame.has_place and not frame.is_color]
    # without any, the first tells why
    stacks = stacks_of(placed) if placed else [Stack(tuple(frames))]
    stack, notes = choose(stacks, series, folder)
    others = [*found.others]
    for frame in found.frames:
        if frame.is_projection:
            others.append("CT localizer")
        elif placed and (frame.is_color or not frame.has_place):
            others.append("color image" if frame.is_color else "image without a place in the patient")
    if others:
        told = "objects that are no slices were" if len(others) > 1 else "object that is no slice was"
        kinds = listed(sorted(set(others)), _MOST_LISTED)
        notes = (*notes, f"{len(others)} DICOM {told} passed over ({kinds}).")
    return stack, notes


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """Images put together by series, then by what images of one volume share: size, spacing, orientation, position."""
    by_series: dict[object, list[Frame]] = {}
    for frame in frames:
        by_series.setdefault(frame.series_uid or (frame.series_number, frame.description), []).append(frame)
    stacks: list[Stack] = []
    for images in _rejoined(list(by_series.values())):
        parts = [part for group in _grouped(images) for part in parts_of(group)]
        # scouts come after what is a volume
        parts.sort(key=lambda part: not Stack(tuple(part)).is_volume)
        told_by = _told_by(parts)
        stacks.extend(Stack(tuple(part), n + 1 if len(parts) > 1 else 0, told_by[n]) for n, part in enumerate(parts))
    return sorted(
        stacks, key=lambda stack: (order(stack.frames[0].series_number), stack.frames[0].series_uid, stack.part)
    )


def _told_by(parts: Sequence[Sequence[Frame]]) -> list[str]:
    """For each part, what it alone has of all that its images have in common; empty where there is no such thing."""
    for name in dict.fromkeys(name for part in parts for frame in part for name, _ in frame.distinguishing):
        values = [{dict(frame.distinguishing).get(name, "") for frame in part} for part in parts]
        if len(parts) > 1 and all(len(each) == 1 for each in values) and len(set.union(*values)) == len(parts):
            return [f"{name} {next(iter(each))}"[:_MOST_LETTERS] for each in values]
    numbers = [[frame.instance_number for frame in part if frame.instance_number is not None] for part in parts]
    if len(parts) > 1 and all(len(known) == len(part) for known, part in zip(numbers, parts, strict=True)):
        ranges = sorted((min(each), max(each)) for each in numbers)
        if all(one[1] < other[0] for one, other in pairwise(ranges)):
            return [f"images {min(each)} to {max(each)}" for each in numbers]
    return [""] * len(parts)


def _grouped(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if _alike(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _rejoined(series: list[list[Frame]]) -> list[list[Frame]]:
    """Series of one image each that make one regular volume are one: a de-identifier gave each slice its own UID."""
    single: dict[tuple, list[list[Frame]]] = {}
    for images in series:
        first = images[0]
        if len(images) == 1 and first.position is not None and first.orientation is not None:
            kind = (first.series_number, first.description, first.modality)
            single.setdefault(kind, []).append(images)
    gone: set[int] = set()
    joined = []
    for alone in single.values():
        for group in _grouped([images[0] for images in alone]):
            heights = np.array(sorted(position_along(frame) for frame in group))
            if len(group) > 2 and regular_step(heights) is not None:
                joined.append(group)
                gone |= {id(frame) for frame in group}
    return [*(images for images in series if id(images[0]) not in gone), *joined]


def choose(stacks: Sequence[Stack], series: str | int | None, folder: str) -> tuple[Stack, tuple[str, ...]]:
    """The stack named by its series' number or UID, "/PART" added where the series is several; the only one for None.

    Single images beside a volume are no candidates, nor are slices in other directions beside one axial volume; the
    notes say so.

    :raises InputError: none or several, listing them.
    """
    named = list(stacks)
    if series is not None:
        wanted = str(series).strip()
        named = [s for s in stacks if wanted in (s.uid, s.number)]
        # a series in parts may be named as a whole, to be told of its parts
        named = named or [s for s in stacks if wanted in (s.frames[0].series_uid, str(s.frames[0].series_number))]
        if not named:
            raise InputError(f"'{folder}' holds no series '{wanted}'; it holds {_listed(stacks)}")
    if len(named) == 1:
        return named[0], ()
    volumes = [stack for stack in named if stack.is_volume]
    axial = [stack for stack in volumes if stack.is_axial]
    if len(axial) == 1 and len(axial[0].frames) > 2:
        volumes = axial
    if len(volumes) == 1:
        return volumes[0], _passed_over(volumes[0], [stack for stack in named if stack is not volumes[0]])
    named = sorted(volumes or named, key=lambda stack: -len(stack.frames))
    parts = " (a series of several volumes has a part after its number)" if any(s.part for s in named) else ""
    raise SeveralSeries(
        f"'{folder}' holds {len(named)} series{parts}; choose one by its number or UID (--series on the command "
        f"line), or move it to its own folder: {_listed(named)}",
        named,
    )


def _passed_over(chosen: Stack, others: Sequence[Stack]) -> tuple[str, ...]:
    """What else could have been meant."""
    several = [stack for stack in others if stack.is_volume]
    notes = []
    if several:
        kinds = listed((f"{stack.direction} {stack.describe()}" for stack in _longest(several)), 3, joint="; ")
        notes.append(f"The axial series {chosen.number or chosen.uid} was read; there is also {kinds}.")
    single = [frame for stack in others if not stack.is_volume for frame in stack.frames]
    if single:
        first = Stack((single[0],))
        what = f"'{single[0].name}', {first.direction}, {single[0].columns} x {single[0].rows} pixels"
        each = f"{len(single)} images that are no part of the volume were" if len(single) > 1 else "1 image was"
        notes.append(f"{each} passed over as a scout or single slice ({what}{', for one' if len(single) > 1 else ''}).")
    return tuple(notes)


def identifier_notes(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Said where identifiers differ between slices that one volume was made of, or are missing."""
    told = []
    names = ("frame_of_reference", "frames of reference"), ("study_uid", "studies"), ("series_uid", "series")
    for attribute, name in names:
        values = {getattr(frame, attribute) for frame in frames}
        if len(values) > 1:
            told.append(f"{len(values)} {name}")
    images = Counter((frame.instance_uid, frame.index) for frame in frames)
    if len(frames) > 1 and (most := images.most_common(1)[0][1]) > 1:
        told.append(f"{most} images of one instance UID" if frames[0].instance_uid else "no instance UIDs")
    notes = []
    if told:
        notes.append(
            f"Identifiers are not those of one series ({', '.join(told)}), as a de-identifier leaves them; positions, "
            "orientation and size are, so it was read as one volume."
        )
    if not any(frame.frame_of_reference for frame in frames):
        notes.append("The series names no frame of reference (FrameOfReferenceUID), which a DICOM SEG of it needs.")
    return tuple(notes)


def _alike(one: Frame, other: Frame) -> bool:
    return (
        (one.rows, one.columns, one.samples) == (other.rows, other.columns, other.samples)
        and _close(one.orientation, other.orientation, _SAME_ORIENTATION)
        and _close(one.spacing, other.spacing, _SAME_SPACING)
    )


def _close(one: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance


def _longest(stacks: Sequence[Stack]) -> list[Stack]:
    return sorted(stacks, key=lambda stack: -len(stack.frames))


def _listed(stacks: Sequence[Stack]) -> str:
    shown = [stack.describe() for stack in _longest(stacks)[:_MOST_LISTED]]
    more = f"; and {len(stacks) - len(shown)} more" if len(stacks) > len(shown) else ""
    return "; ".join(shown) + more


def _nothing(path: str, others: Sequence[str]) -> str:
    if others:
        held = listed(sorted(set(others)), _MOST_LISTED)
        return f"'{path}' holds no DICOM slices, only {held}; name the folder with the slices themselves."
    return f"Folder '{path}' holds no DICOM image series; name the folder with the slices themselves."
