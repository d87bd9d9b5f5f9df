"""The series that a segmentation is of: its headers in the order of the slices, and its grid; no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.files import find_frames, is_dicom
from SAMLiverTumorLib.io.dicom.geometry import arrange
from SAMLiverTumorLib.io.dicom.identifiers import complete
from SAMLiverTumorLib.io.dicom.parse import read_dataset
from SAMLiverTumorLib.io.dicom.pixels import Pixels
from SAMLiverTumorLib.io.dicom.slices.frames import Frame
from SAMLiverTumorLib.io.dicom.slices.resampling import Placement
from SAMLiverTumorLib.io.dicom.slices.steps import position_along
from SAMLiverTumorLib.io.dicom.stacks import find_stack
from SAMLiverTumorLib.io.dicom.zipped import files_on_disk, is_place

if TYPE_CHECKING:
    import pydicom

# Headers round positions to this, in mm; slices farther from their place on the grid get it in the segmentation.
_ROUNDED = 2e-3

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class DicomSource:
    """A series that a segmentation refers to.

    :param name: what messages call it.
    :param headers: of the slices' images in order, or of the one file that holds all of them.
    :param slices: which slice, from the first to the last, each frame of that one file is; else 0, 1, 2 ...
    :param numbers: of these frames in that file, from 1, where it holds other volumes as well; else empty.
    :param ijk_to_ras: 4x4 affine from voxel indices (i, j, k) to world RAS, mm; as `read_volume` has it.
    :param dimensions: voxels along (i, j, k).
    :param size: of a slice, (columns, rows).
    :param step: mean distance of slices, mm.
    :param series_number: of the series, where it has one.
    :param placement: where slices lie on the grid; None where they are the grid's.
    :param notes: identifiers that were made up.
    """

    name: str
    headers: tuple[pydicom.Dataset, ...]
    slices: np.ndarray
    numbers: tuple[int, ...]
    ijk_to_ras: np.ndarray
    dimensions: tuple[int, int, int]
    size: tuple[int, int]
    step: float
    series_number: int
    placement: Placement | None
    notes: tuple[str, ...]


def read_source(
    path: str | Path, series: str | int | None = None, derive_frame_of_reference: bool = False
) -> DicomSource:
    """Find the images of a series, as `read_volume` does, and read their headers.

    :param path: a DICOM folder, or a file; or a zip file of one, or a case of 3D-IRCADb.
    :param series: which series of several; see `read_dicom`.
    :param derive_frame_of_reference: the user agrees that identifiers which the headers lack are made from the series'
        UID; the notes say which.
    :raises MissingIdentifiers: headers were stripped of what a segmentation refers to its source by.
    :raises InputError: whatever `read_dicom` refuses, or a volume of several files with several frames each.
    """
    path = Path(path)
    if not is_place(path):
        raise InputError(f"'{path}' does not exist; check the path.")
    with files_on_disk(path) as place:
        return _source(path, place, series, derive_frame_of_reference)


def _source(path: Path, place: Path, series: str | int | None, derive_frame_of_reference: bool) -> DicomSource:
    """See `read_source`.

    :param path: what messages call it.
    :param place: where its files lie now.
    """
    found = find_frames(place) if place.is_dir() or is_dicom(place) else None
    if found is None or not found.frames:
        raise InputError(
            f"'{path}' is no DICOM series, and a DICOM SEG refers to the one that it is of; name its folder."
        )
    stack, _ = find_stack(found, series, str(path))
    arranged = arrange(stack, Pixels().same, str(path))
    frames = arranged.frames
    first = frames[0]
    headers, slices, numbers = _headers(frames, path)
    notes = complete(headers, frames, derive_frame_of_reference, str(path))
    heights = np.array([position_along(frame) for frame in frames])
    step = float(np.diff(heights).mean()) if len(frames) > 1 else float(np.linalg.norm(arranged.ijk_to_ras[:3, 2]))
    if first.frames == 1:
        for k, (header, frame) in enumerate(zip(headers, frames, strict=True)):
            _in_numbers(header, frame, step, None if arranged.placement else arranged.ijk_to_ras, k)
    number = first.series_number if isinstance(first.series_number, int) else 0
    return DicomSource(
        path.name,
        headers,
        slices,
        numbers,
        arranged.ijk_to_ras,
        arranged.dimensions,
        (first.columns, first.rows),
        step,
        number,
        arranged.placement,
        notes,
    )


def _in_numbers(header: pydicom.Dataset, frame: Frame, step: float, ijk_to_ras: np.ndarray | None, k: int) -> None:
    """Put into a header, as numbers, where it lies and how thick it is: the distance of slices where it does not say.

    :param ijk_to_ras: the grid whose slice k it is; a position that the header rounds is put on it.
    """
    assert frame.orientation is not None and frame.spacing is not None, "images of a volume are placed"
    position = np.array(frame.position)
    if ijk_to_ras is not None:
        on_grid = (_RAS_TO_LPS @ ijk_to_ras @ (0, 0, k, 1))[:3]
        position = on_grid if np.abs(on_grid - position).max() > _ROUNDED else position
    header.ImagePositionPatient = [f"{value:.10g}" for value in position]
    header.ImageOrientationPatient = [f"{value:.10g}" for value in frame.orientation]
    header.PixelSpacing = [f"{value:.10g}" for value in frame.spacing]
    header.SliceThickness = f"{frame.thickness if frame.thickness and frame.thickness > 0 else step:.10g}"


def _headers(frames: tuple[Frame, ...], path: Path) -> tuple[tuple[pydicom.Dataset, ...], np.ndarray, tuple[int, ...]]:
    """See `DicomSource`: headers, slices, numbers."""
    files = list(dict.fromkeys(frame.file for frame in frames))
    if len(files) > 1 and any(frame.frames > 1 for frame in frames):
        raise InputError(f"The volume in '{path}' is in several files of several frames; a DICOM SEG needs it in one.")
    headers = tuple(read_dataset(file, stop_before_pixels=True, force=True) for file in files)
    if frames[0].frames == 1:
        return headers, np.arange(len(frames)), ()
    ordered = sorted(range(len(frames)), key=lambda k: frames[k].index)
    if len(frames) == frames[0].frames:
        return headers, np.array(ordered), ()
    # a phase of several: highdicom gets a file of that phase alone
    (header,) = headers
    header.PerFrameFunctionalGroupsSequence = [
        header.PerFrameFunctionalGroupsSequence[frames[k].index] for k in ordered
    ]
    header.NumberOfFrames = len(frames)
    return headers, np.array(ordered), tuple(frames[k].index + 1 for k in ordered)
