"""Numbers in headers as scanners and exporters leave them, and slices that are missing."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_case import COLUMNS, ROWS, STEP, at, expected, in_file, same, stored, write_series

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.images import read_volume

UID = "1.2.826.0.1.3680043.8.498.90"


@pytest.mark.parametrize("step", [0.625, 1.25])
def test_positions_rounded_to_tenths_lie_on_the_grid_that_they_were_rounded_from(tmp_path, step):
    heights = [round(k * step, 1) for k in range(24)]
    assert len({round(b - a, 1) for a, b in itertools.pairwise(heights)}) == 2
    folder = write_series(tmp_path / "ct", 24, change=lambda k: at(heights[k]), SliceThickness=step)
    read = read_dicom(folder)
    assert read.notes == () and (read.volume.array == expected(24)).all()
    assert read.volume.spacing[2] == pytest.approx(step, abs=1e-6)
    # thicker than they are apart: the fit alone says how far
    thick = write_series(tmp_path / "thick", 24, change=lambda k: at(heights[k]), SliceThickness=5)
    assert read_volume(thick).spacing[2] == pytest.approx(step, abs=2e-3)


def test_a_wobble_within_a_twentieth_of_a_millimeter_is_regular_and_more_is_said(tmp_path):
    wobble = np.random.default_rng(3).uniform(-0.045, 0.045, (12, 3)).round(3)
    folder = write_series(tmp_path / "a", 12, change=lambda k: at(k * STEP + wobble[k, 0], *wobble[k, 1:]))
    read = read_dicom(folder)
    assert read.notes == () and (read.volume.array == expected(12)).all()
    folder = write_series(tmp_path / "b", 12, change=lambda k: at(k * STEP + 5 * wobble[k, 0]))
    assert "at uneven distances" in read_dicom(folder).notes[0]


@pytest.mark.parametrize(
    "tags",
    [
        {"SliceThickness": None},
        {"SliceThickness": ""},
        {"SpacingBetweenSlices": -2.5},
        {"InstanceNumber": None},
        {"NumberOfFrames": "0"},
        {"SamplesPerPixel": None, "PhotometricInterpretation": None},
        {"BitsAllocated": None},
        {"BitsStored": None, "HighBit": None},
    ],
    ids=str,
)
def test_fields_that_the_volume_does_not_need_do_not_stop_it(tmp_path, tags):
    assert same(read_dicom(write_series(tmp_path / "ct", **tags)))


@pytest.mark.parametrize(
    ("keyword", "vr", "text"),
    [
        ("SeriesNumber", "IS", "A4"),
        ("SeriesNumber", "IS", "3.0"),
        ("InstanceNumber", "IS", "one"),
        ("AcquisitionNumber", "IS", "99999999999999"),
        ("SliceThickness", "DS", "2,5 mm"),
        ("GantryDetectorTilt", "DS", "none"),
        ("ContentTime", "TM", "midnight"),
        ("PixelSpacing", "UT", "0.8\\0.6"),
        ("PixelSpacing", "LO", "0.8 \\ 0.6"),
        ("PixelSpacing", "DS", "0,8\\0,6"),
    ],
)
def test_texts_where_numbers_belong_are_read_or_left_alone(tmp_path, keyword, vr, text):
    read = read_dicom(in_file(write_series(tmp_path / "ct"), keyword, vr, text))
    assert same(read) and read.notes == ()


def test_a_series_is_named_as_its_header_names_it(tmp_path):
    write_series(tmp_path, names="other{}", SeriesInstanceUID=UID, SeriesNumber=9)
    in_file(write_series(tmp_path / "ct"), "SeriesNumber", "IS", "A4")
    assert same(read_dicom(tmp_path, "A4"))


@pytest.mark.parametrize(
    ("keyword", "text"),
    [("PixelSpacing", "wide\\0.6"), ("ImagePositionPatient", "1\\2\\here"), ("RescaleSlope", "one")],
)
def test_a_text_that_the_volume_needs_as_numbers_is_shown_as_it_is(tmp_path, keyword, text):
    with pytest.raises(InputError) as caught:
        read_dicom(in_file(write_series(tmp_path / "ct"), keyword, "DS", text))
    assert f"{keyword} '{text}'" in str(caught.value) and "damaged" not in str(caught.value)


def test_one_pixel_spacing_is_that_of_rows_and_columns_and_said(tmp_path):
    folder = write_series(tmp_path / "ct", PixelSpacing="0.8")
    read = read_dicom(folder)
    # as GDCM, and so Slicer, reads it
    image = sitk.ReadImage(str(folder / "IM0000"))
    assert image.GetSpacing()[:2] == pytest.approx((0.8, 0.8)) == read.volume.spacing[:2]
    assert "one pixel spacing, 0.8 mm" in read.notes[0]


@pytest.mark.parametrize("kind", ["all", "high", "overlay"])
def test_bits_beyond_those_stored_mean_nothing_as_gdcm_has_it(tmp_path, kind):
    bits = {"all": np.random.default_rng(0).integers(0, 16, (ROWS, COLUMNS)), "high": 15, "overlay": 8}[kind]
    junk = (np.zeros((ROWS, COLUMNS), np.uint16) + np.asarray(bits, np.uint16)) << 12
    folder = write_series(tmp_path / "ct", change=lambda k: {"PixelData": stored(k) | junk})
    read = read_dicom(folder)
    assert same(read)
    by_gdcm = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(f)))[0] for f in sorted(folder.iterdir())])
    assert (read.volume.array == by_gdcm).all()
    count = 5 * np.count_nonzero(junk)
    assert read.notes[0].startswith(f"{count} pixels have bits set beyond")


def test_a_negative_padding_that_no_header_names_is_read_by_its_sign(tmp_path):
    words = stored(0).astype("<i2")
    words[:2] = -2000
    read = read_dicom(write_series(tmp_path / "ct", PixelRepresentation=1, PixelData=words.clip(-2000, 2000)))
    assert (read.volume.array[:, :2] == -3024).all() and read.notes == ()


def test_a_missing_sign_is_read_from_the_values_and_said(tmp_path):
    read = read_dicom(write_series(tmp_path / "a", PixelRepresentation=None))
    assert same(read) and "taken as without" in read.notes[0]
    words = stored(0).astype("<i2") - 1024
    wide = {"BitsStored": 16, "HighBit": 15, "RescaleIntercept": 0, "PixelData": words}
    read = read_dicom(write_series(tmp_path / "b", PixelRepresentation=None, **wide))
    assert (read.volume.array == words).all() and "taken as with one" in read.notes[0]


# -- slices missing


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("gone", [(4,), (4, 6), (3, 4)], ids=str)
def test_missing_slices_are_named_by_their_neighbors(tmp_path, gone, numbered):
    folder = write_series(tmp_path / "ct", 12, **({} if numbered else {"InstanceNumber": None}))
    for k in gone:
        (folder / f"IM{k:04}").unlink()
    before, after = gone[0] - 1, gone[0] + 1 + (gone == (3, 4))
    with pytest.raises(InputError, match=f"slices missing: .* between 'IM{before:04}' and 'IM{after:04}'"):
        read_dicom(folder)


def test_two_slices_far_apart_are_no_volume_and_thin_ones_leave_something_out(tmp_path):
    far = write_series(tmp_path / "far", 2, change=lambda k: at(200.0 * k))
    with pytest.raises(InputError, match=r"'IM0000' and 'IM0001' are all of it, 200\.00 mm apart"):
        read_dicom(far)
    thin = write_series(tmp_path / "thin", change=lambda k: at(10.0 * k), SliceThickness=1)
    read = read_dicom(thin)
    assert read.volume.spacing[2] == pytest.approx(10)
    assert read.notes == ("Slices are 1 mm thick, but up to 10.00 mm apart: what lies between is not seen.",)


def test_every_second_slice_missing_of_a_half_is_not_another_distance(tmp_path):
    folder = write_series(tmp_path / "ct", 12)
    for k in (7, 9):
        (folder / f"IM{k:04}").unlink()
    with pytest.raises(InputError, match="slices missing"):
        read_dicom(folder)
