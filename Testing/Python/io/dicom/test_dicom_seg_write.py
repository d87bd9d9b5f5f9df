"""DICOM SEG written: what it says of patient, source, segments and algorithm, and that it holds every voxel."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_case import affine, write_enhanced, write_series

from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.io.dicom.seg_writer import write_dicom_seg
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.grids import onto_grid
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails

SHAPE = (5, 12, 10)
LIVER, TUMOR = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
LIVER[1:4, 2:10, 1:8], TUMOR[2:4, 4:7, 3:9] = 1, 1
SHA = "9f" * 32
PROVENANCE = json.dumps(
    [
        {
            "models": [{"id": "liver-tumor", "sha256": SHA, "window": [-60, 140]}],
            "prompts": {"include": [[1.5, 2.0, 3.0]]},
            "versions": {"sam-liver-tumor": "0.0.9"},
        }
    ]
)
PATIENT = {"PatientID": "P-7", "PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"}


def label_file(**changes):
    """A liver and a tumor that reaches out of it."""
    details = {"Liver tumor": SegmentDetails((0.9, 0.38, 0.0), None, PROVENANCE)}
    return replace(
        LabelFile("made", (LIVER, TUMOR), {"Liver": (0, 1), "Liver tumor": (1, 1)}, affine(), details=details),
        **changes,
    )


@pytest.fixture
def ct(tmp_path):
    """A series of five slices, its files named against their order."""
    return write_series(tmp_path / "ct", change=lambda k: {"InstanceNumber": 9 - k}, **PATIENT)


@pytest.fixture
def written(ct, tmp_path):
    """The file as pydicom reads it."""
    write_dicom_seg(label_file(), read_source(ct), tmp_path / "seg.dcm")
    return pydicom.dcmread(tmp_path / "seg.dcm")


@pytest.mark.parametrize(
    ("labels", "series"),
    [("chaos3/liver.nii.gz", "chaos3/dicom"), ("dcmqi/liver.dcm", "dcmqi/ct-3slice")],
    ids=["chaos3", "dcmqi"],
)
def test_round_trip_of_real_labels_is_exact(shared_data, tmp_path, labels, series):
    before = read_labels(shared_data / labels)
    write_dicom_seg(before, read_source(shared_data / series), tmp_path / "seg.dcm")
    ct = read_volume(shared_data / series)
    after, notes = onto_grid(read_labels(tmp_path / "seg.dcm"), ct.ijk_to_ras, ct.dimensions)
    assert notes == ()
    (name,) = before.entries
    expected, _ = onto_grid(before, ct.ijk_to_ras, ct.dimensions)
    np.testing.assert_array_equal(after.segments[name], expected.segments[name])


def test_overlapping_segments_come_back_voxel_by_voxel(ct, tmp_path):
    write_dicom_seg(label_file(), read_source(ct), tmp_path / "seg.dcm")
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), affine(), SHAPE[::-1])
    np.testing.assert_array_equal(back.segments["Liver"], LIVER)
    np.testing.assert_array_equal(back.segments["Liver tumor"], TUMOR)


def test_each_frame_lies_on_the_image_it_refers_to(written, ct):
    images = {x.SOPInstanceUID: x for x in (pydicom.dcmread(file) for file in ct.iterdir())}
    frames = written.PerFrameFunctionalGroupsSequence
    assert len(frames) == 3 + 2
    pixels = written.pixel_array
    for frame, mask in zip(frames, pixels, strict=True):
        image = images[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient
        k = round((image.ImagePositionPatient[2] - 100.0) / 2.5)
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(mask, (LIVER, TUMOR)[number - 1][k])
    (series,) = written.ReferencedSeriesSequence
    assert {x.ReferencedSOPInstanceUID for x in series.ReferencedInstanceSequence} == set(images)
    first = next(iter(images.values()))
    for attribute in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert written[attribute].value == first[attribute].value
    assert str(written.PatientName) == "Müller^Jörg"
    assert written.SeriesInstanceUID != first.SeriesInstanceUID


def test_segments_say_what_they_are_in_snomed_codes(written):
    liver, tumor = written.SegmentSequence
    assert liver.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert tumor.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert tumor.SegmentedPropertyTypeCodeSequence[0].CodeValue == "4147007"
    assert tumor.AnatomicRegionSequence[0].CodeValue == "10200004"
    assert {x.CodingSchemeDesignator for x in tumor.SegmentedPropertyTypeCodeSequence} == {"SCT"}
    assert [x.SegmentLabel for x in written.SegmentSequence] == ["Liver", "Liver tumor"]
    assert len({liver.TrackingUID, tumor.TrackingUID}) == 2 and tumor.TrackingID == "Liver tumor"
    assert written.SegmentsOverlap == "YES" and written.SegmentationType == "BINARY"


def test_algorithm_is_named_with_model_and_hash(written, tmp_path):
    liver, tumor = written.SegmentSequence
    assert liver.SegmentAlgorithmType == "MANUAL" and "SegmentationAlgorithmIdentificationSequence" not in liver
    assert tumor.SegmentAlgorithmType == "SEMIAUTOMATIC"
    (algorithm,) = tumor.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "SAM Liver Tumor: liver-tumor" and algorithm.AlgorithmVersion == "0.0.9"
    assert algorithm.AlgorithmParameters == f"model=liver-tumor,sha256={SHA},window=-60 to 140"
    # the whole of it comes back, prompts included
    assert json.loads(read_labels(tmp_path / "seg.dcm").details["Liver tumor"].provenance) == json.loads(PROVENANCE)


def test_found_by_text_alone_counts_as_automatic(ct, tmp_path):
    text = json.dumps([{"models": [{"id": "m", "sha256": SHA}], "prompts": {"text": "liver tumor"}}])
    labels = label_file(details={"Liver tumor": SegmentDetails(None, None, text)})
    write_dicom_seg(labels, read_source(ct), tmp_path / "seg.dcm", algorithm="nnU-Net")
    liver, tumor = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert tumor.SegmentAlgorithmType == "AUTOMATIC"
    assert (liver.SegmentAlgorithmType, liver.SegmentAlgorithmName) == ("AUTOMATIC", "nnU-Net")


def test_codes_and_color_survive_a_second_round(ct, tmp_path, shared_data):
    source = read_source(shared_data / "dcmqi" / "ct-3slice")
    write_dicom_seg(read_labels(shared_data / "dcmqi" / "liver.dcm"), source, tmp_path / "seg.dcm")
    before = read_labels(shared_data / "dcmqi" / "liver.dcm").details["Liver"]
    after = read_labels(tmp_path / "seg.dcm").details["Liver"]
    assert (after.terminology, after.algorithm) == (before.terminology, before.algorithm)
    np.testing.assert_allclose(after.color, before.color, atol=0.01)


def test_enhanced_ct_with_frames_out_of_order_is_a_source(tmp_path):
    path = write_enhanced(tmp_path / "ct.dcm", order=[3, 0, 4, 1, 2])
    write_dicom_seg(label_file(), read_source(path), tmp_path / "seg.dcm")
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), affine(), SHAPE[::-1])
    np.testing.assert_array_equal(back.segments["Liver tumor"], TUMOR)


def test_labels_stored_in_another_order_are_put_right(ct, tmp_path):
    flipped = affine() @ np.array([[-1, 0, 0, 9], [0, 1, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1.0]])
    layers = tuple(layer[::-1, :, ::-1] for layer in (LIVER, TUMOR))
    write_dicom_seg(label_file(layers=layers, ijk_to_ras=flipped), read_source(ct), tmp_path / "seg.dcm")
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), affine(), SHAPE[::-1])
    np.testing.assert_array_equal(back.segments["Liver"], LIVER)


def test_other_grid_is_refused_and_resampled_only_when_asked(ct, tmp_path):
    finer = affine() @ np.diag([0.5, 0.5, 1, 1])
    layers = tuple(np.repeat(np.repeat(layer, 2, 1), 2, 2) for layer in (LIVER, TUMOR))
    # centers of the finer voxels lie a quarter voxel beside
    finer[:3, 3] = (affine() @ [-0.25, -0.25, 0, 1])[:3]
    labels = label_file(layers=layers, ijk_to_ras=finer)
    with pytest.raises(InputError, match="another voxel grid"):
        write_dicom_seg(labels, read_source(ct), tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()
    assert "resampled" in write_dicom_seg(labels, read_source(ct), tmp_path / "seg.dcm", resample=True)[0]
    back, _ = onto_grid(read_labels(tmp_path / "seg.dcm"), affine(), SHAPE[::-1])
    np.testing.assert_array_equal(back.segments["Liver"], LIVER)


def test_segment_without_a_voxel_is_described_all_the_same(ct, tmp_path):
    labels = label_file(layers=(LIVER, np.zeros_like(TUMOR)))
    write_dicom_seg(labels, read_source(ct), tmp_path / "seg.dcm")
    back = read_labels(tmp_path / "seg.dcm")
    assert list(back.entries) == ["Liver", "Liver tumor"] and not back.segments["Liver tumor"].any()
    nothing = label_file(layers=(np.zeros_like(LIVER),) * 2)
    write_dicom_seg(nothing, read_source(ct), tmp_path / "seg.dcm", overwrite=True)
    assert not read_labels(tmp_path / "seg.dcm").segments["Liver"].any()


@pytest.mark.parametrize("attribute", ["StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"])
def test_series_stripped_of_its_identifiers_is_refused(tmp_path, attribute):
    folder = write_series(tmp_path / "ct", **{attribute: None})
    with pytest.raises(InputError, match=f"no {attribute}"):
        read_source(folder)


def test_existing_file_stays_unless_told(written, ct, tmp_path):
    before = (tmp_path / "seg.dcm").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_dicom_seg(label_file(), read_source(ct), tmp_path / "seg.dcm")
    assert (tmp_path / "seg.dcm").read_bytes() == before


def test_nothing_of_this_computer_is_in_the_file(written):
    text = str(written.file_meta) + str(written)
    for secret in (socket.gethostname(), str(Path.home())):
        assert secret not in text
    assert written.DeviceSerialNumber == "0"
