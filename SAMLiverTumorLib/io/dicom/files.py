"""Which DICOM images a folder holds: one `Frame` for each two-dimensional image, read from headers alone."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.parse import read_dataset

_Parsed = TypeVar("_Parsed")

# Of the files in a DICOM folder that are no images, those that belong there.
_NO_IMAGES = ("DICOMDIR", "VERSION", "LOCKFILE")

# Objects with pixels that are no images of a scanner, though they lie beside them.
_DERIVED = ("Segmentation Storage", "Label Map Segmentation Storage", "RT Dose Storage", "Parametric Map Storage")

# No scanner makes more; damaged headers name billions.
_MOST_FRAMES = 1 << 16

# What tells apart images of one series that lie at the same place: phases, time points, echoes, diffusion weights,
# Dixon images.
_DISTINGUISHING = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "EchoNumbers",
    "EchoTime",
    "DiffusionBValue",
    "ImageType",
    "SeriesTime",
    "AcquisitionTime",
    "ContentTime",
)

# Only these are read: neither names nor other data of the patient come into memory.
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "GantryDetectorTilt",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *_DISTINGUISHING,
]


@dataclass(frozen=True)
class Frame:
    """One two-dimensional image, and what its header says of it; None where it says nothing.

    :param index: number of the frame in its file, from 0; a file of one image holds frame 0.
    :param spacing: mm between the centers of (rows, columns).
    :param orientation: directions (LPS) in which columns and rows count up: six cosines.
    :param position: center of the first pixel, mm, LPS.
    :param thickness: slice thickness in mm.
    :param slope, intercept: value in HU (or the modality's units) = stored value * slope + intercept.
    :param distinguishing: acquisition, echo, time ... by the header's own names.
    """

    file: Path
    index: int
    frames: int
    instance_uid: str
    series_uid: str
    series_number: int | None
    description: str
    modality: str
    frame_of_reference: str
    rows: int
    columns: int
    samples: int
    photometric: str
    spacing: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    position: tuple[float, float, float] | None
    thickness: float | None
    slope: float | None
    intercept: float | None
    has_lookup_table: bool
    tilt: float
    lossy: bool
    distinguishing: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What messages call it: the file, and the frame where the file holds several."""
        return self.file.name if self.frames == 1 else f"{self.file.name}, frame {self.index + 1}"

    @property
    def is_projection(self) -> bool:
        """Whether it is a CT's localizer (scout): seen through the whole patient, and so no slice."""
        return self.modality == "CT" and "LOCALIZER" in dict(self.distinguishing).get("ImageType", "")


@dataclass(frozen=True)
class Found:
    """What a folder, or a file, holds: the images, and how many other DICOM objects by kind."""

    frames: tuple[Frame, ...]
    others: tuple[str, ...]


def is_dicom(file: Path) -> bool:
    """Whether a file begins as DICOM files do, or as those do that were saved without their preamble."""
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise InputError(f"'{file}' cannot be read: {error.strerror or error}.") from error
    if start[128:] == b"DICM" or file.suffix.lower() in (".dcm", ".ima"):
        return True
    # without the preamble a file begins with group 2 or 8 in either byte order, and an element below 0x100
    return len(start) == 132 and start[:4] in _FIRST_TAGS


_FIRST_TAGS = {
    bytes(tag)
    for group in (2, 8)
    for element in range(0x20)
    for tag in ((group, 0, element, 0), (0, group, 0, element))
}


def find_frames(path: Path) -> Found:
    """The images of one file, or of a folder and the folders in it.

    :raises InputError: a file that is damaged; what it should hold cannot be known, so nothing is read without it.
    """
    files = sorted(_files(path)) if path.is_dir() else [path]
    frames: list[Frame] = []
    others: list[str] = []
    for file in files:
        if path.is_dir() and (file.name.upper() in _NO_IMAGES or not is_dicom(file)):
            continue
        found = _parsed(file, _frames_of)
        if isinstance(found, str):
            others.append(found)
        else:
            frames.extend(found)
    return Found(tuple(frames), tuple(others))


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            if (file := Path(where, name)).is_file():
                yield file


def _parsed(file: Path, take: Callable[[Path, Any], _Parsed]) -> _Parsed:
    """What `take` makes of a file's header.

    :raises InputError: whatever goes wrong in it: pydicom answers damaged bytes with any kind of exception, and reads
        values only when they are asked for.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # force: GDCM, and so Slicer, also reads files without the preamble
            return take(file, read_dataset(file, stop_before_pixels=True, force=True, specific_tags=_TAGS))
    except InputError:
        raise
    except Exception as error:  # MemoryError too: headers are small, but what damage takes for a length is not
        raise InputError(f"'{file}' is damaged: {_one_line(error)}; copy it again.") from error


def _frames_of(file: Path, header) -> list[Frame] | str:
    """The images in a file, or what kind of other object it is."""
    # a DICOMDIR names its kind in the meta information alone
    kind = header.get("SOPClassUID") or getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", "")
    name = getattr(kind, "name", "") or str(kind)
    if header.get("Rows") is None or header.get("Columns") is None:
        # reports and presentation states may lie beside the images
        if not name or "Image" in name:
            raise InputError(f"'{file}' is damaged or holds no image; copy it again, or remove it from the folder.")
        return name
    if name in _DERIVED:
        return name
    count = int(header.get("NumberOfFrames") or 1)
    if count > _MOST_FRAMES:
        raise InputError(f"'{file}' is damaged: it names {count:,} frames; copy it again.")
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    if count < 1 or (per_frame and len(per_frame) != count):
        raise InputError(f"'{file}' is damaged: it names {count} frames and describes {len(per_frame)}; copy it again.")
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), None)
    return [_frame(file, header, n, count, per_frame[n] if per_frame else None, shared) for n in range(count)]


def _frame(file: Path, header, index: int, count: int, own, shared) -> Frame:
    def get(keyword: str, group: str | None = None):
        """A value of the frame's own functional group, of the shared one, or of the file's header."""
        for groups in (own, shared) if group else ():
            sequence = groups.get(group) if groups is not None else None
            if sequence and sequence[0].get(keyword) is not None:
                return sequence[0].get(keyword)
        return header.get(keyword)

    # a file of several frames without functional groups has one position for all: it says nothing of the others
    alone = count == 1 or own is not None
    number = header.get("SeriesNumber")
    told = {name: header.get(name) for name in _DISTINGUISHING}
    for name in ("TemporalPositionIndex",):
        told[name] = get(name, "FrameContentSequence")
    return Frame(
        file=file,
        index=index,
        frames=count,
        instance_uid=str(header.get("SOPInstanceUID", "")),
        series_uid=str(header.get("SeriesInstanceUID", "")),
        series_number=None if number is None else int(number),
        description=str(header.get("SeriesDescription") or ""),
        modality=str(header.get("Modality") or ""),
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
        rows=int(header.Rows),
        columns=int(header.Columns),
        samples=int(header.get("SamplesPerPixel") or 1),
        photometric=str(header.get("PhotometricInterpretation") or ""),
        spacing=_numbers(get("PixelSpacing", "PixelMeasuresSequence"), 2),
        orientation=_numbers(get("ImageOrientationPatient", "PlaneOrientationSequence"), 6),
        position=_numbers(get("ImagePositionPatient", "PlanePositionSequence"), 3) if alone else None,
        thickness=_number(get("SliceThickness", "PixelMeasuresSequence")),
        slope=_number(get("RescaleSlope", "PixelValueTransformationSequence")),
        intercept=_number(get("RescaleIntercept", "PixelValueTransformationSequence")),
        has_lookup_table=bool(header.get("ModalityLUTSequence")),
        tilt=_number(header.get("GantryDetectorTilt")) or 0.0,
        lossy=str(header.get("LossyImageCompression") or "") == "01",
        distinguishing=tuple((name, str(value)) for name, value in told.items() if value not in (None, "")),
    )


def _number(value) -> float | None:
    """A finite number; None where there is none."""
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a number")
    return number


def _numbers(values: Any, count: int) -> Any:
    """So many finite numbers; None where there are none.

    :raises ValueError: another count, or what is not a number.
    """
    if values is None or values == "":
        return None
    numbers = tuple(_number(value) for value in values)
    if len(numbers) != count or None in numbers:
        raise ValueError(f"{numbers} are not {count} numbers")
    return numbers


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
