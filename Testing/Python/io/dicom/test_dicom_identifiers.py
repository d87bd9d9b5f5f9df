"""What a DICOM SEG refers to its source by: made up with consent alone, the same each time, and said."""

import uuid

import numpy as np
import pydicom
import pytest
from dicom_case import SERIES, STUDY, affine, write_series

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.identifiers import MissingIdentifiers
from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.reader import read_labels

MASK = np.zeros((5, 12, 10), np.uint8)
MASK[1:4, 4:7, 3:9] = 1
LABELS = LabelFile("made", (MASK,), {"Liver tumor": (0, 1)}, affine())


def made_of(series, what):
    """The UID as PS3.5, B.2 makes one of a UUID, and RFC 4122 a UUID of a name."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{series} {what}').int}"


def written(folder, out, derive=True):
    notes = write_dicom_seg(LABELS, read_source(folder, derive_frame_of_reference=derive), out)
    return pydicom.dcmread(out), notes


def came_back(out):
    back, _ = onto_grid(read_labels(out), affine(), MASK.shape[::-1])
    return (back.segments["Liver tumor"] == MASK).all()


def test_one_frame_of_reference_is_made_of_the_series_uid(tmp_path):
    folder = write_series(tmp_path / "ct", FrameOfReferenceUID=None)
    data, notes = written(folder, tmp_path / "a.dcm")
    assert data.FrameOfReferenceUID == made_of(SERIES, "FrameOfReferenceUID")
    assert len(data.FrameOfReferenceUID) <= 64 and str(data.FrameOfReferenceUID) in notes[0] and len(notes) == 1
    # everything else is the series' own
    assert (data.StudyInstanceUID, data.ReferencedSeriesSequence[0].SeriesInstanceUID) == (STUDY, SERIES)
    images = {pydicom.dcmread(file).SOPInstanceUID for file in folder.iterdir()}
    assert {x.ReferencedSOPInstanceUID for x in data.ReferencedSeriesSequence[0].ReferencedInstanceSequence} == images
    assert came_back(tmp_path / "a.dcm")
    # the same for the next segmentation, another one for another series
    assert written(folder, tmp_path / "b.dcm")[0].FrameOfReferenceUID == data.FrameOfReferenceUID
    other = write_series(tmp_path / "other", FrameOfReferenceUID=None, SeriesInstanceUID="1.2.3")
    assert written(other, tmp_path / "c.dcm")[0].FrameOfReferenceUID == made_of("1.2.3", "FrameOfReferenceUID")


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        (lambda k: {"FrameOfReferenceUID": f"1.2.{k}"}, "not one FrameOfReferenceUID (5 of them)"),
        (lambda k: {"StudyInstanceUID": f"1.2.{k}"}, "not one StudyInstanceUID (5 of them)"),
        (lambda k: {"SOPInstanceUID": "1.2.3"}, "not one SOPInstanceUID (1 for 5 images)"),
        (lambda k: {"SOPInstanceUID": None}, "no SOPInstanceUID"),
        (lambda k: {"SeriesInstanceUID": None, "StudyInstanceUID": None}, "no StudyInstanceUID, no SeriesInstanceUID"),
        (lambda k: {"SOPClassUID": None}, "no SOPClassUID"),
    ],
    ids=["frames of reference", "studies", "one instance", "no instances", "no series", "no class"],
)
def test_whatever_lacks_is_refused_in_one_line_and_made_up_with_consent(tmp_path, change, lacking):
    folder = write_series(tmp_path / "ct", change=change)
    with pytest.raises(MissingIdentifiers) as caught:
        read_source(folder)
    told = str(caught.value)
    assert lacking in told and "--derive-frame-of-reference" in told and "\n" not in told and "damaged" not in told
    data, notes = written(folder, tmp_path / "seg.dcm")
    assert came_back(tmp_path / "seg.dcm")
    assert all(name in " ".join(notes) for name in caught.value.lacking)
    again, _ = written(folder, tmp_path / "again.dcm")
    for name in ("FrameOfReferenceUID", "StudyInstanceUID"):
        assert data[name].value == again[name].value
    references = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len({x.ReferencedSOPInstanceUID for x in references}) == 5
    assert {x.ReferencedSOPClassUID for x in references} == {"1.2.840.10008.5.1.4.1.1.2"}


def test_what_is_the_patients_is_not_made_up(tmp_path):
    folder = write_series(tmp_path / "ct", FrameOfReferenceUID=None)
    data, _ = written(folder, tmp_path / "seg.dcm")
    for name in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert not data[name].value


def test_a_series_that_has_all_of_them_keeps_them(tmp_path):
    folder = write_series(tmp_path / "ct")
    data, notes = written(folder, tmp_path / "seg.dcm")
    assert notes == () and data.FrameOfReferenceUID == pydicom.dcmread(folder / "IM0000").FrameOfReferenceUID


def test_an_mr_of_no_kind_is_refused_even_with_consent(tmp_path):
    folder = write_series(tmp_path / "mr", Modality="MR", SOPClassUID=None)
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        image.file_meta.MediaStorageSOPClassUID = ""
        image.save_as(file)
    with pytest.raises(InputError, match="what kind of image"):
        read_source(folder, derive_frame_of_reference=True)


@pytest.mark.parametrize("tags", [{"SliceThickness": None}, {"SliceThickness": ""}], ids=str)
def test_a_segmentation_is_as_thick_as_the_slices_are_apart_where_no_header_says(tmp_path, tags):
    folder = write_series(tmp_path / "ct", **tags)
    data, _ = written(folder, tmp_path / "seg.dcm")
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == float(measures.SpacingBetweenSlices) == 2.5
    assert came_back(tmp_path / "seg.dcm")


def test_positions_rounded_to_tenths_are_written_on_the_grid(tmp_path):
    heights = [round(k * 0.625, 1) for k in range(24)]
    folder = write_series(
        tmp_path / "ct",
        24,
        change=lambda k: {"ImagePositionPatient": [-30.0, -12.5, round(100 + heights[k], 1)]},
        SliceThickness=0.625,
    )
    source = read_source(folder)
    mask = np.zeros((24, 12, 10), np.uint8)
    mask[5:20, 4:7, 3:9] = 1
    write_dicom_seg(LabelFile("made", (mask,), {"x": (0, 1)}, source.ijk_to_ras), source, tmp_path / "seg.dcm")
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    z = [float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in data.PerFrameFunctionalGroupsSequence]
    assert sorted(z) == pytest.approx([100 + 0.625 * k for k in range(5, 20)], abs=2.1e-3)
    back, notes = onto_grid(read_labels(tmp_path / "seg.dcm"), source.ijk_to_ras, source.dimensions)
    assert notes == () and (back.segments["x"] == mask).all()


def test_a_phase_in_a_file_of_two_is_referred_to_by_its_own_frames(tmp_path):
    from dicom_case import write_enhanced
    from pydicom.dataset import Dataset

    path = write_enhanced(tmp_path / "both.dcm", 5, order=[0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    image = pydicom.dcmread(path)
    for n, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.FrameAcquisitionNumber = 1 + n // 5
        frame.FrameContentSequence = [content]
    image.NumberOfFrames = 10
    image.save_as(path)
    source = read_source(path, "3/2")
    write_dicom_seg(LABELS, source, tmp_path / "seg.dcm")
    assert came_back(tmp_path / "seg.dcm")
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    numbers = [
        f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for f in data.PerFrameFunctionalGroupsSequence
    ]
    # slices 1 to 3 of the second phase are frames 7 to 9
    assert sorted(numbers) == [7, 8, 9]
