"""The series that a segmentation is of: its headers in the order of the slices, and its grid; no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import Frame, find_frames, is_dicom
from SAMLiverTumorLib.io.dicom.geometry import arrange
from SAMLiverTumorLib.io.dicom.parse import read_dataset
from SAMLiverTumorLib.io.dicom.pixels import Pixels
from SAMLiverTumorLib.io.dicom.stacks import choose, stacks_of

if TYPE_CHECKING:
    import pydicom

# What a segmentation refers to its source by.
_NEEDED = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "SOPInstanceUID": "instances",
    "SOPClassUID": "kind of image",
    "FrameOfReferenceUID": "frame of reference",
}


@dataclass(frozen=True, eq=False)
class DicomSource:
    """A series that a segmentation refers to.

    :param name: what messages call it.
    :param headers: of the slices' images in order, or of the one file that holds all of them.
    :param slices: index k of the slice that each frame of that one file is; else 0, 1, 2 ...
    :param ijk_to_ras: 4x4 affine from voxel indices (i, j, k) to world RAS, mm; as `read_volume` has it.
    :param dimensions: voxels along (i, j, k).
    """

    name: str
    headers: tuple[pydicom.Dataset, ...]
    slices: np.ndarray
    ijk_to_ras: np.ndarray
    dimensions: tuple[int, int, int]


def read_source(path: str | Path, series: str | int | None = None) -> DicomSource:
    """Find the images of a series, as `read_volume` does, and read their headers.

    :param path: a DICOM folder, or a file.
    :param series: which series of several; see `read_dicom`.
    :raises InputError: whatever `read_dicom` refuses; or headers that were stripped of what a segmentation refers to
        its source by, or a volume of several files with several frames each.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist; check the path.")
    found = find_frames(path) if path.is_dir() or is_dicom(path) else None
    if found is None or not found.frames:
        raise InputError(
            f"'{path}' is no DICOM series, and a DICOM SEG refers to the one that it is of; name its folder."
        )
    frames = arrange(choose(stacks_of(found.frames), series, str(path)), Pixels().same, str(path))
    first = frames.frames[0]
    dimensions = (first.columns, first.rows, len(frames.frames))
    headers, slices = _headers(frames.frames, path)
    for header in headers:
        for attribute, what in _NEEDED.items():
            if not header.get(attribute):
                raise InputError(
                    f"The series in '{path}' has no {attribute}: its headers were stripped, and a DICOM SEG cannot say "
                    f"which {what} it is of. Export a .seg.nrrd or .nii.gz, or use the original series."
                )
    return DicomSource(path.name, headers, slices, frames.ijk_to_ras, dimensions)


def _headers(frames: tuple[Frame, ...], path: Path) -> tuple[tuple[pydicom.Dataset, ...], np.ndarray]:
    files = list(dict.fromkeys(frame.file for frame in frames))
    if len(files) > 1 and any(frame.frames > 1 for frame in frames):
        raise InputError(f"The volume in '{path}' is in several files of several frames; a DICOM SEG needs it in one.")
    headers = tuple(read_dataset(file, stop_before_pixels=True, force=True) for file in files)
    if len(files) > 1 or frames[0].frames == 1:
        return headers, np.arange(len(frames))
    if len(frames) != frames[0].frames:
        raise InputError(f"'{files[0]}' holds more than the volume; a DICOM SEG needs a file of the volume alone.")
    slices = np.empty(len(frames), np.int64)
    for k, frame in enumerate(frames):
        slices[frame.index] = k
    return headers, slices
