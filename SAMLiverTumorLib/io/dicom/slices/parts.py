"""Images of one series that are several volumes: phases, time points, passes of the table; and those that are not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby

import numpy as np

from SAMLiverTumorLib.io.dicom.slices.frames import Frame
from SAMLiverTumorLib.io.dicom.slices.steps import missing_after, position_along, regular_step

# Tell apart what overlaps in part. Times do not: each turn of the tube has its own.
_PASSES = ("AcquisitionNumber", "FrameAcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex")
_KINDS = (
    *_PASSES,
    *("StackID", "EchoNumbers", "ImageType", "ConvolutionKernel", "KVP", "SliceThickness", "SeriesTime"),
    *("ContrastBolusAgent", "SeriesDescription", "FrameOfReferenceUID", "StudyInstanceUID"),
)


def parts_of(frames: list[Frame]) -> list[list[Frame]]:
    """Images of one size, spacing and orientation taken apart into volumes, where they overlap or leave a gap.

    Identifiers, times and numbers tell apart only what cannot be one volume: slices that lie where others do, or at
    distances that one pass of the table does not have. Blocks that join exactly stay one volume. What nothing tells
    apart stays together, to be refused as contradictory.
    """
    if any(frame.position is None or frame.orientation is None for frame in frames):
        return [frames]
    heights = _heights(frames)
    if len(set(heights)) < 2:
        return [frames]
    doubled = not _once(frames)
    if not doubled and _regular(frames):
        return [frames]
    if doubled and (found := _by_all(frames)):
        return found
    for name in _KINDS if doubled else _PASSES:
        parts = _divided(frames, _value_of(name))
        if len(parts) < 2 or not all(len(part) > 1 and _once(part) for part in parts):
            continue
        if not doubled and not all(map(_regular, parts)):
            continue
        joined = _joined(parts)
        if len(joined) > 1:
            return joined
    return [frames]


def _by_all(frames: list[Frame]) -> list[list[Frame]] | None:
    """Parts that lie at every position each; None where nothing tells such apart."""
    places = len(set(_heights(frames)))
    names = dict.fromkeys(name for frame in frames for name, _ in frame.distinguishing)
    keys: list[Callable[[Frame], Hashable]] = [
        *(lambda frame, name=name: dict(frame.distinguishing).get(name, "") for name in names),
        # files of several frames each
        lambda frame: str(frame.file),
        _counter(frames, places),
    ]
    for key in keys:
        parts = _divided(frames, key)
        if len(parts) > 1 and all(_once(part) and len(set(_heights(part))) == places for part in parts):
            return parts
    return None


def _counter(frames: list[Frame], places: int) -> Callable[[Frame], Hashable]:
    """Which block of consecutive instance numbers an image is in, each as long as there are places."""
    numbers = sorted({frame.instance_number for frame in frames if frame.instance_number is not None})
    blocks = {number: n // places for n, number in enumerate(numbers)}
    return lambda frame: -1 if frame.instance_number is None else blocks[frame.instance_number]


def _value_of(name: str) -> Callable[[Frame], Hashable]:
    """What a header says that tells images apart; empty where it says nothing."""
    return lambda frame: dict(frame.distinguishing).get(name, "")


def _divided(frames: list[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    ordered = sorted(frames, key=lambda frame: order(key(frame)))
    return [list(group) for _, group in groupby(ordered, key=key)]


def _joined(parts: list[list[Frame]]) -> list[list[Frame]]:
    """Parts put together with the next ones where they are the rest of the same volume."""
    joined: list[list[Frame]] = []
    for part in parts:
        for other in joined:
            if _once(both := [*other, *part]) and _regular(both):
                other.extend(part)
                break
        else:
            joined.append(list(part))
    return joined


def _heights(frames: Sequence[Frame]) -> list[float]:
    return [round(position_along(frame), 2) for frame in frames]


def _once(frames: Sequence[Frame]) -> bool:
    """Whether no two different images lie at one place; copies of one image are the same image."""
    seen: dict[float, tuple] = {}
    for frame, height in zip(frames, _heights(frames), strict=True):
        image = (frame.instance_uid or str(frame.file), frame.index, frame.distinguishing)
        if seen.setdefault(height, image) != image:
            return False
    return True


def _regular(frames: Sequence[Frame]) -> bool:
    heights = np.array(sorted(set(_heights(frames))))
    return regular_step(heights) is not None and missing_after(heights, [None] * len(heights)) is None


def order(text: Hashable) -> tuple[float, str]:
    """Numbers by size before everything else."""
    try:
        return float(text), ""  # type: ignore[arg-type]  # anything may be asked; what is no number is caught
    except (TypeError, ValueError):
        return float("inf"), str(text)
