"""Label layers to a DICOM SEG that refers to the images it was made on."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib import __version__
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.atomic import atomic_path
from SAMLiverTumorLib.io.dicom.segments import describe, set_provenance
from SAMLiverTumorLib.io.dicom.slices.resampling import onto_slices
from SAMLiverTumorLib.io.dicom.source import DicomSource
from SAMLiverTumorLib.io.labels.grids import fits_grid, onto_grid, refuse_lost_place
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails

if TYPE_CHECKING:
    import pydicom

MANUFACTURER = "SAM Liver Tumor"

# Attributes that DICOM wants present, if empty, and that de-identified series often lack.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)

# Segments in Slicer's numbering of derived series come a hundred after their source.
_SERIES_OFFSET = 100


def write_dicom_seg(
    labels: LabelFile,
    source: DicomSource,
    path: Path,
    overwrite: bool = False,
    resample: bool = False,
    algorithm: str = "",
) -> tuple[str, ...]:
    """Write a BINARY DICOM SEG on the grid of the series it is of; of the patient it holds what the series does.

    Segments may overlap. Codes, colors and provenance are those of the labels' details; segments without codes get
    those their name says.

    :param path: ends in .dcm.
    :param overwrite: replace an existing file.
    :param resample: labels on another grid are brought onto the series' by nearest neighbor rather than refused.
    :param algorithm: what made segments of unknown origin; empty for by hand.
    :return: notes for the reader.
    :raises InputError: labels on another grid, no segment, headers that cannot be carried over.
    :raises OutputError: the file exists, or folder or disk refuses; highdicom is missing.

    >>> write_dicom_seg(read_labels("tumor.seg.nrrd"), read_source("ct"), Path("tumor.dcm"))  # doctest: +SKIP
    """
    if not labels.entries:
        raise InputError(f"'{labels.name}' has no segment to write; a DICOM SEG needs one.")
    refuse_lost_place(labels, source.ijk_to_ras, source.dimensions)
    if not resample and not fits_grid(labels, source.ijk_to_ras, source.dimensions):
        raise InputError(
            f"'{labels.name}' lies on another voxel grid than the series '{source.name}'; name the series that it was "
            "made on, or add --resample to bring it onto this one by nearest neighbor."
        )
    labels, notes = onto_grid(labels, source.ijk_to_ras, source.dimensions)
    if source.placement is not None:
        labels = _on_slices(labels, source)
        notes = (
            *notes,
            f"The segments were written on the original slices of '{source.name}', by the nearest voxel. Programs "
            "that read a DICOM SEG onto a straight grid (dcmqi, Slicer) show it shifted or with gaps; give them a "
            ".seg.nrrd.",
        )
    with atomic_path(path, overwrite) as temporary:
        data = dicom_seg(labels, source, algorithm)
        data.save_as(temporary, enforce_file_format=True)
    return (*notes, *source.notes)


def dicom_seg(labels: LabelFile, source: DicomSource, algorithm: str = "") -> pydicom.Dataset:
    """As `write_dicom_seg`, in memory, for labels whose layers are the series' slices.

    :raises InputError: headers that cannot be carried over.
    :raises OutputError: highdicom is missing.
    """
    try:
        import highdicom
    except ImportError as error:
        raise OutputError(
            f"Writing DICOM SEG needs the package highdicom ({error}); install it: pip install sam-liver-tumor[dicom]."
        ) from error
    details = [labels.details.get(name, SegmentDetails()) for name in labels.entries]
    names = _short_names(labels)
    descriptions = [
        describe(number, name, known, algorithm)
        for number, (name, known) in enumerate(zip(names, details, strict=True), 1)
    ]
    headers = [_completed(header) for header in source.headers]
    # at uneven distances, slices that are left out could not be told from room between others
    uneven = source.placement is not None and not np.allclose(np.diff(source.placement.heights, 2), 0, atol=0.01)
    try:
        with warnings.catch_warnings():
            # about names of patients without a caret, and segments without a voxel
            warnings.simplefilter("ignore")
            data = highdicom.seg.Segmentation(
                source_images=headers,
                pixel_array=_pixels(labels)[source.slices],
                segmentation_type="BINARY",
                segment_descriptions=descriptions,
                series_instance_uid=highdicom.UID(),
                series_number=min(max(source.series_number, 0) + _SERIES_OFFSET, 2**31 - 1),
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=MANUFACTURER,
                manufacturer_model_name="sam-liver-tumor",
                software_versions=__version__,
                # DICOM wants one; which computer it was is nobody's business
                device_serial_number="0",
                content_label="SEGMENTATION",
                content_description="Not a medical device: for research only",
                series_description="Segmentation",
                # names of segments are in any language
                specific_character_set="ISO_IR 192",
                omit_empty_frames=not uneven,
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"The headers of '{source.name}' cannot be carried over to a DICOM SEG ({error}).") from error
    # DICOM wants it present, and dcmqi says so; who it was, the header does not know
    data.ContentCreatorName = None
    if uneven:
        _own_thickness(data, source)
    else:
        # readers need it where slices without a voxel are left out, and the source's thickness is another length
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = f"{np.linalg.norm(source.ijk_to_ras[:3, 2]):.10g}"
    if source.numbers:
        _renumber(data, source.numbers)
    for item, known in zip(data.SegmentSequence, details, strict=True):
        if known.provenance:
            set_provenance(item, known.provenance)
    return data


def _own_thickness(data: pydicom.Dataset, source: DicomSource) -> None:
    """Give each frame of uneven slices the thickness that its neighbors leave it, from middle to middle."""
    step = float(np.linalg.norm(source.ijk_to_ras[:3, 2]))
    assert source.placement is not None, "only resampled series have uneven slices"
    heights = source.placement.heights * step
    gaps = np.diff(heights)
    thickness = (np.append(gaps[0], gaps) + np.append(gaps, gaps[-1])) / 2
    normal = np.cross(source.ijk_to_ras[:3, 0], source.ijk_to_ras[:3, 1]) * (-1, -1, 1)
    normal /= np.linalg.norm(normal)
    places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in data.PerFrameFunctionalGroupsSequence]
    along = np.array(places, float) @ normal
    along -= along.min()
    (measures,) = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    for frame, height in zip(data.PerFrameFunctionalGroupsSequence, along, strict=True):
        own = copy.deepcopy(measures)
        own.SliceThickness = f"{thickness[np.abs(heights - height).argmin()]:.10g}"
        frame.PixelMeasuresSequence = [own]


def _renumber(data: pydicom.Dataset, numbers: tuple[int, ...]) -> None:
    """Refer to frames by their numbers in the source's file rather than among those that were handed over."""
    for frame in data.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            for image in derivation.SourceImageSequence:
                image.ReferencedFrameNumber = numbers[int(image.ReferencedFrameNumber) - 1]


def _on_slices(labels: LabelFile, source: DicomSource) -> LabelFile:
    """Labels of the resampled grid with the original slices for layers; their affine is then that of no volume."""
    assert source.placement is not None, "only resampled series are put back on their slices"
    layers = tuple(onto_slices(layer, source.placement, source.size) for layer in labels.layers)
    return replace(labels, layers=layers)


def _pixels(labels: LabelFile) -> np.ndarray:
    """(k, j, i) with segment numbers from 1, or (k, j, i, segment) where segments overlap."""
    numbered = np.zeros(labels.layers[0].shape, np.uint8 if len(labels.entries) < 256 else np.uint16)
    for number, name in enumerate(labels.entries, 1):
        mask = labels.segments[name]
        if numbered[mask].any():
            return np.stack([labels.segments[name] for name in labels.entries], axis=-1).view(np.uint8)
        numbered[mask] = number
    return numbered


def _short_names(labels: LabelFile) -> list[str]:
    """Names as DICOM can hold them: 64 characters, no backslash, no line breaks."""
    names = (" ".join(name.replace("\\", "/").split())[:64] for name in labels.entries)
    return [name or f"Segment {n}" for n, name in enumerate(names, 1)]


def _completed(header: pydicom.Dataset) -> pydicom.Dataset:
    """A header with what may be empty in it."""
    for attribute in _MAY_BE_EMPTY:
        if attribute not in header:
            setattr(header, attribute, "")
    return header
