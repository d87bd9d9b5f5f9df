"""DICOM that is no volume is refused with the reason; a slice that differs is left out and said."""

import numpy as np
import pydicom
import pytest
from dicom_case import (
    dataset,
    expected,
    position,
    refused,
    same,
    stored,
    write_enhanced,
    write_series,
)

from SAMLiverTumorLib.io.dicom.series import read_dicom


def test_two_different_images_at_one_position_are_refused(tmp_path, capfd):
    folder = write_series(tmp_path / "ct")
    dataset(2, PixelData=stored(3)).save_as(folder / "other")
    told = refused(folder, capfd)
    assert "two different images at one position, 'IM0002' and 'other'" in told


def test_images_beside_each_other_in_one_plane_are_refused(tmp_path, capfd):
    folder = write_series(tmp_path / "ct")
    dataset(2, ImagePositionPatient=position(2, across=6.0)).save_as(folder / "beside")
    assert "'IM0002' and 'beside'" in refused(folder, capfd)


def test_missing_slices_are_refused(tmp_path, capfd):
    folder = write_series(tmp_path / "ct")
    (folder / "IM0002").unlink()
    assert "slices missing: the step is 2.50 mm, but 5.00 mm between 'IM0001' and 'IM0003'" in refused(folder, capfd)


def test_a_tilt_that_only_the_header_names_is_said(tmp_path):
    read = read_dicom(write_series(tmp_path / "ct", GantryDetectorTilt=12.5))
    assert same(read) and read.notes == (
        "The header names a gantry tilt of 12.5 degrees, but images and positions are straight.",
    )


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImagePositionPatient": None}, "has no position in the patient"),
        ({"ImageOrientationPatient": None}, "has no position in the patient"),
        ({"PixelSpacing": None}, "has no pixel spacing in mm"),
        ({"PixelSpacing": [0, 0.8]}, "has no pixel spacing in mm"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.8, 0]}, "not at right angles"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "not at right angles"),
        ({"RescaleSlope": 0}, "rescale slope of 0"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "color image (RGB)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "color image (PALETTE COLOR)"),
        ({"PixelData": stored(0)[:-1]}, "110 of 120 pixels are there"),
        ({"PixelData": None}, "has no pixels"),
        ({"BitsAllocated": 1}, "1 bits per pixel"),
        ({"HighBit": 15, "BitsStored": 17}, "use 17 bits"),
        ({"NumberOfFrames": 2}, "one of 2 frames in a file, has no position"),
    ],
    ids=str,
)
def test_images_that_cannot_be_placed_or_measured_are_refused(tmp_path, tags, reason, capfd):
    told = refused(write_series(tmp_path / "ct", **tags), capfd)
    assert reason in told
    assert "IM000" in told


def test_a_lookup_table_of_values_is_refused(tmp_path, capfd):
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [3, 0, 16], bytes(6)
    told = refused(write_series(tmp_path / "ct", ModalityLUTSequence=pydicom.Sequence([table])), capfd)
    assert "maps its values by a table" in told


def test_one_slice_of_unknown_thickness_is_no_volume(tmp_path, capfd):
    folder = write_series(tmp_path / "ct", 1, SliceThickness=None)
    assert "names no slice thickness; name the folder of its whole series" in refused(folder, capfd)


def test_frames_that_share_one_position_are_refused(tmp_path, capfd):
    """A multi-frame file of the older kind says where its first frame lies, and nothing of the others."""
    path = tmp_path / "old.dcm"
    dataset(0, NumberOfFrames=3, PixelData=np.stack([stored(k) for k in range(3)])).save_as(path)
    assert "'old.dcm, frame 1', one of 3 frames in a file, has no position" in refused(path, capfd)


def test_a_missing_frame_is_refused(tmp_path, capfd):
    path = write_enhanced(tmp_path / "ct.dcm")
    image = pydicom.dcmread(path)
    del image.PerFrameFunctionalGroupsSequence[2]
    image.save_as(path)
    assert "names 5 frames and describes 4" in refused(path, capfd)


def test_billions_of_frames_are_refused_without_counting_them(tmp_path, capfd):
    path = tmp_path / "ct.dcm"
    dataset(0, NumberOfFrames=2_000_000_000).save_as(path)
    assert "names 2,000,000,000 frames" in refused(path, capfd)


def test_values_without_a_scale_are_as_stored_and_said(tmp_path):
    read = read_dicom(write_series(tmp_path / "ct", RescaleSlope=None, RescaleIntercept=None))
    assert (read.volume.array == expected(5, 1, 0)).all()
    assert read.notes == ("The headers do not say how stored values become Hounsfield units; values are as stored.",)
