"""`read_dicom`: a DICOM series, or a file of several frames, as a volume with its true geometry; or why not.

Files come from scanners, archives and exporters in every state. What cannot be read right is refused with the reason:
a wrong slice distance or a wrong CT number would put a wrong tumor volume into a report without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import Frame, find_frames
from SAMLiverTumorLib.io.dicom.geometry import arrange
from SAMLiverTumorLib.io.dicom.pixels import Pixels, check_size
from SAMLiverTumorLib.io.dicom.stacks import choose, stacks_of
from SAMLiverTumorLib.volume import Volume


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """A series as a volume, and where it came from.

    :param frames: the image of each slice k, in order.
    :param notes: what the reader should know: images held twice, padding, values without a scale.
    """

    volume: Volume
    frames: tuple[Frame, ...]
    notes: tuple[str, ...]

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return self.frames[0].series_uid


def read_dicom(path: str | Path, series: str | int | None = None) -> DicomSeries:
    """Read one DICOM series.

    Files may lie in nested folders, in any order and under any name; other DICOM objects beside them (segmentations,
    reports) are passed over. Values are rescaled image by image.

    :param path: a folder, or a file.
    :param series: series number or SeriesInstanceUID, with "/PART" where a series is several volumes; needed where
        there are several.
    :raises InputError: no or several series; damaged files; color; no position; slices missing, at uneven distances
        or shifted (gantry tilt); different images at one position.

    >>> read_dicom("exported", series=4).volume.spacing                                     # doctest: +SKIP
    (0.7265625, 0.7265625, 2.0)
    """
    path = Path(path)
    found = find_frames(path)
    # localizers lie beside most CT series, and are never the volume
    others = [*found.others, *("CT localizer" for frame in found.frames if frame.is_projection)]
    frames = [frame for frame in found.frames if not frame.is_projection]
    if not frames:
        raise InputError(_nothing(path, others))
    stack = choose(stacks_of(frames), series, str(path))
    pixels = Pixels()
    with without_itk_warnings():
        arranged = arrange(stack, pixels.same, str(path))
        check_size(arranged.frames, str(path))
        array, darkened = _voxels(arranged.frames, pixels)
    notes = [*arranged.notes, *_notes(arranged.frames, darkened)]
    if others:
        kinds = ", ".join(sorted(set(others)))
        told = "objects that are no slices were" if len(others) > 1 else "object that is no slice was"
        notes.append(f"{len(others)} DICOM {told} passed over ({kinds}).")
    return DicomSeries(Volume(array, arranged.ijk_to_ras, path.name), arranged.frames, tuple(notes))


@contextmanager
def without_itk_warnings() -> Iterator[None]:
    """ITK writes warnings to standard error; what matters of them is in the errors raised here."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _voxels(frames: tuple[Frame, ...], pixels: Pixels) -> tuple[np.ndarray, int]:
    """Voxels (k, j, i) of the type that holds all of them, and how many padding pixels were made dark."""
    pictures, darkened = [], 0
    for frame in frames:
        values, count = pixels.values(frame)
        pictures.append(values)
        darkened += count
    kinds = {picture.dtype for picture in pictures}
    # whole numbers beyond 2^24 in some slices would lose digits as float32, but none of them are CT numbers
    kind = np.float32 if np.dtype(np.float32) in kinds else np.result_type(*kinds)
    array = np.empty((len(frames), *pictures[0].shape), kind)
    for k in range(len(frames)):
        array[k] = pictures[k]
        # each slice's own memory goes as soon as it is copied
        pictures[k] = array[k]
    return array, darkened


def _notes(frames: tuple[Frame, ...], darkened: int) -> list[str]:
    """What the values are, where they are not simply those of the scanner."""
    notes = []
    if darkened:
        notes.append(f"{darkened:,} padding pixels, which hold no measurement, were made dark.")
    if frames[0].modality == "CT" and any(f.slope is None or f.intercept is None for f in frames):
        notes.append("The headers do not say how stored values become Hounsfield units; values are as stored.")
    if any(frame.lossy for frame in frames):
        notes.append("The images were compressed with a loss: values are not quite those that were measured.")
    return notes


def _nothing(path: Path, others: list[str]) -> str:
    if others:
        held = ", ".join(sorted(set(others)))
        return f"'{path}' holds no DICOM slices, only {held}; name the folder with the slices themselves."
    return f"Folder '{path}' holds no DICOM image series; name the folder with the slices themselves."
