"""`Frame`: one two-dimensional image, and what its header says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.io.dicom.slices.header_values import number_of, numbers_of, text_of

# What tells apart images of one series that lie at the same place: phases, time points, echoes, diffusion weights,
# Dixon images, kernels, tube voltages. What a de-identifier may have remade comes last.
_DISTINGUISHING = (
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "StackID",
    "EchoNumbers",
    "EchoTime",
    "DiffusionBValue",
    "ImageType",
    "ConvolutionKernel",
    "KVP",
    "SliceThickness",
    "ContrastBolusAgent",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "SeriesTime",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentTime",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "StudyInstanceUID",
)

# Those of them that an enhanced image says of each frame.
_OF_FRAMES = ("FrameAcquisitionNumber", "TemporalPositionIndex", "StackID", "NominalPercentageOfCardiacPhase")

# Only these are read: neither names nor other data of the patient come into memory.
TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "InstanceNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "PixelSpacing",
    "SpacingBetweenSlices",
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
    :param series_number: a whole number as the standard wants it, else the header's text.
    :param spacing: mm between the centers of (rows, columns).
    :param orientation: directions (LPS) in which columns and rows count up: six cosines.
    :param position: center of the first pixel, mm, LPS.
    :param thickness: slice thickness in mm.
    :param between: distance of slices in mm, as the header says it.
    :param slope, intercept: value in HU (or the modality's units) = stored value * slope + intercept.
    :param distinguishing: acquisition, echo, time ... by the header's own names.
    :param unreadable: keyword -> the header's text, of what should be numbers and is not.
    :param one_spacing: the header says one pixel spacing where two should be; pixels are taken as square.
    """

    file: Path
    index: int
    frames: int
    instance_uid: str
    series_uid: str
    study_uid: str
    series_number: int | str | None
    description: str
    modality: str
    frame_of_reference: str
    instance_number: int | None
    rows: int
    columns: int
    samples: int
    photometric: str
    spacing: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    position: tuple[float, float, float] | None
    thickness: float | None
    between: float | None
    slope: float | None
    intercept: float | None
    has_lookup_table: bool
    tilt: float
    lossy: bool
    distinguishing: tuple[tuple[str, str], ...]
    unreadable: dict[str, str]
    one_spacing: bool

    @property
    def name(self) -> str:
        """What messages call it: the file, and the frame where the file holds several."""
        return self.file.name if self.frames == 1 else f"{self.file.name}, frame {self.index + 1}"

    @property
    def is_projection(self) -> bool:
        """Whether it is a CT's localizer (scout): seen through the whole patient, and so no slice."""
        return self.modality == "CT" and "LOCALIZER" in dict(self.distinguishing).get("ImageType", "")

    @property
    def is_color(self) -> bool:
        """Whether it is a color image, as pages of reports and renderings are."""
        return self.samples > 1 or "PALETTE" in self.photometric

    @property
    def has_place(self) -> bool:
        """Whether the header says where in the patient it lies, if only in numbers that cannot be read."""
        known = {"ImagePositionPatient": self.position, "ImageOrientationPatient": self.orientation}
        return all(value is not None or keyword in self.unreadable for keyword, value in known.items())


def frame_of(file: Path, header, index: int, count: int, own, shared) -> Frame:
    """An image from its file's header.

    :param index, count: which of how many frames of the file.
    :param own, shared: its functional groups, and those of all frames; None where the file has none.
    """

    def holder(keyword: str, group: str):
        """The frame's own functional group, the shared one, or the file's header: the first that says it."""
        for groups in (own, shared):
            sequence = groups.get(group) if groups is not None else None
            if sequence and keyword in sequence[0]:
                return sequence[0]
        return header

    unreadable: dict[str, str] = {}

    def number(keyword: str, group: str, needed: bool = False) -> float | None:
        value, text = number_of(holder(keyword, group), keyword)
        if needed and value is None and text:
            unreadable[keyword] = text
        return value

    def numbers(keyword: str, group: str, size: int) -> Any:
        # Any: the length, which the fields' types name, is checked here
        values, text = numbers_of(holder(keyword, group), keyword)
        if keyword == "PixelSpacing" and len(values) == 1:
            values *= 2
        if text and len(values) != size:
            unreadable[keyword] = text
        return values if len(values) == size else None

    # a file of several frames without functional groups has one position for all: it says nothing of the others
    alone = count == 1 or own is not None
    told = {name: text_of(header, name) for name in _DISTINGUISHING}
    for name in _OF_FRAMES:
        told[name] = text_of(holder(name, "FrameContentSequence"), name)
    told["SliceThickness"] = text_of(holder("SliceThickness", "PixelMeasuresSequence"), "SliceThickness")
    number_given, text = number_of(header, "SeriesNumber")
    is_whole = number_given is not None and number_given.is_integer()
    instance, _ = number_of(header, "InstanceNumber")
    spacing_values, _ = numbers_of(holder("PixelSpacing", "PixelMeasuresSequence"), "PixelSpacing")
    return Frame(
        file=file,
        index=index,
        frames=count,
        instance_uid=text_of(header, "SOPInstanceUID"),
        series_uid=text_of(header, "SeriesInstanceUID"),
        study_uid=told["StudyInstanceUID"],
        series_number=int(number_given) if number_given is not None and is_whole else (text or None),
        description=" ".join(told["SeriesDescription"].split()),
        modality=text_of(header, "Modality"),
        frame_of_reference=told["FrameOfReferenceUID"],
        instance_number=None if instance is None else int(instance),
        rows=int(header.Rows),
        columns=int(header.Columns),
        samples=int(number_of(header, "SamplesPerPixel")[0] or 1),
        photometric=text_of(header, "PhotometricInterpretation"),
        spacing=numbers("PixelSpacing", "PixelMeasuresSequence", 2),
        orientation=numbers("ImageOrientationPatient", "PlaneOrientationSequence", 6),
        position=numbers("ImagePositionPatient", "PlanePositionSequence", 3) if alone else None,
        thickness=number("SliceThickness", "PixelMeasuresSequence"),
        between=number("SpacingBetweenSlices", "PixelMeasuresSequence"),
        slope=number("RescaleSlope", "PixelValueTransformationSequence", True),
        intercept=number("RescaleIntercept", "PixelValueTransformationSequence", True),
        has_lookup_table=bool(header.get("ModalityLUTSequence")),
        tilt=number_of(header, "GantryDetectorTilt")[0] or 0.0,
        lossy=text_of(header, "LossyImageCompression") == "01",
        distinguishing=tuple((name, value) for name, value in told.items() if value),
        unreadable=unreadable,
        one_spacing=len(spacing_values) == 1,
    )
