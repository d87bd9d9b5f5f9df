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

from SAMLiverTumorLib.io.dicom.files import find_frames
from SAMLiverTumorLib.io.dicom.geometry import arrange
from SAMLiverTumorLib.io.dicom.pixels import AIR, Pixels, Remarks, check_size
from SAMLiverTumorLib.io.dicom.slices.frames import Frame
from SAMLiverTumorLib.io.dicom.slices.resampling import onto_regular
from SAMLiverTumorLib.io.dicom.stacks import find_stack, identifier_notes
from SAMLiverTumorLib.volume import Volume


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """A series as a volume, and where it came from.

    :param frames: the images in order; of each slice k, unless the volume was resampled (the notes say so).
    :param notes: what the reader should know: images held twice, padding, values without a scale, resampling.
    """

    volume: Volume
    frames: tuple[Frame, ...]
    notes: tuple[str, ...]
    resampled: bool = False

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return self.frames[0].series_uid


def read_dicom(path: str | Path, series: str | int | None = None) -> DicomSeries:
    """Read one DICOM series.

    Files may lie in nested folders, in any order and under any name; other DICOM objects beside them (segmentations,
    reports, scouts) are passed over. Values are rescaled image by image. Slices shifted by a gantry tilt, or at uneven
    distances, are resampled onto a regular grid.

    :param path: a folder, or a file.
    :param series: series number or SeriesInstanceUID, with "/PART" where a series is several volumes; needed where
        there are several.
    :raises InputError: no or several series; damaged files; color; no position; slices missing; different images at
        one position.

    >>> read_dicom("exported", series=4).volume.spacing                                     # doctest: +SKIP
    (0.7265625, 0.7265625, 2.0)
    """
    path = Path(path)
    stack, passed_over = find_stack(find_frames(path), series, str(path))
    pixels = Pixels()
    with without_itk_warnings():
        arranged = arrange(stack, pixels.same, str(path))
        check_size(arranged, str(path))
        array, remarks = _voxels(arranged.frames, pixels)
    if arranged.placement is not None:
        first = arranged.frames[0]
        # what no slice covers is air; values without a scale have none that is known
        dark = AIR if first.modality == "CT" and first.intercept is not None else float(array.min())
        array = onto_regular(array, arranged.placement, dark)
    notes = (*arranged.notes, *_notes(arranged.frames, remarks), *identifier_notes(arranged.frames), *passed_over)
    return DicomSeries(
        Volume(array, arranged.ijk_to_ras, path.name), arranged.frames, notes, arranged.placement is not None
    )


@contextmanager
def without_itk_warnings() -> Iterator[None]:
    """ITK writes warnings to standard error; what matters of them is in the errors raised here."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _voxels(frames: tuple[Frame, ...], pixels: Pixels) -> tuple[np.ndarray, Remarks]:
    """Voxels (k, j, i) of the type that holds all of them, and what was done to how many of them."""
    slices: list[np.ndarray] = []
    remarks = Remarks()
    for frame in frames:
        values, more = pixels.values(frame)
        slices.append(values)
        remarks += more
    kinds = {each.dtype for each in slices}
    # whole numbers beyond 2^24 in some slices would lose digits as float32, but none of them are CT numbers
    kind = np.float32 if np.dtype(np.float32) in kinds else np.result_type(*kinds)
    array = np.empty((len(frames), *slices[0].shape), kind)
    for k in range(len(frames)):
        array[k] = slices[k]
        # each slice's own memory goes as soon as it is copied
        slices[k] = array[k]
    return array, remarks


def _notes(frames: tuple[Frame, ...], remarks: Remarks) -> list[str]:
    """What the values are, where they are not simply those of the scanner."""
    notes = []
    if remarks.darkened:
        notes.append(f"{remarks.darkened:,} padding pixels, which hold no measurement, were made dark.")
    if remarks.beyond:
        notes.append(
            f"{remarks.beyond:,} pixels have bits set beyond those that the headers say hold values; these bits were "
            "left out, as DICOM says. Metal, or padding that no header names, may look otherwise than it is."
        )
    if remarks.unsigned:
        notes.append("The headers do not say whether stored values have a sign; they were taken as without.")
    if remarks.signed:
        notes.append("The headers do not say whether stored values have a sign; they were taken as with one.")
    if frames[0].modality == "CT" and any(f.slope is None or f.intercept is None for f in frames):
        notes.append("The headers do not say how stored values become Hounsfield units; values are as stored.")
    if any(frame.lossy for frame in frames):
        notes.append("The images were compressed with a loss: values are not quite those that were measured.")
    return notes
