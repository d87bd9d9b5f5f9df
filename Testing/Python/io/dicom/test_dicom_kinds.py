"""Series as scanners, exporters and de-identifiers leave them: one volume in its place, or parts to choose from."""

import importlib
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_case import COLUMNS, ORIGIN, ROWS, SERIES, STEP, affine, dataset, expected, stored, write_series
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.dicom.stacks import SeveralSeries
from SAMLiverTumorLib.io.images import read_volume

UID = "1.2.826.0.1.3680043.8.498.90"


def at(z, across=0.0, down=0.0):
    return {"ImagePositionPatient": [ORIGIN[0] + across, ORIGIN[1] + down, round(ORIGIN[2] + z, 4)]}


def same(read, count=5):
    """Whether a series was read as the volume of so many slices that was written."""
    assert (read.volume.array == expected(count)).all()
    assert read.volume.ijk_to_ras == pytest.approx(affine(), abs=1e-6)
    return True


def in_file(folder, keyword, vr, text):
    """Put bytes into each file as they are, whatever their VR wants."""
    tag, value = Tag(keyword), text.encode()
    value += b" " * (len(value) % 2)
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        image[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True, True)
        image.save_as(file)
    return folder


# -- identifiers


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda k: {"FrameOfReferenceUID": f"{UID}.{k}"}, "5 frames of reference"),
        (lambda k: {"StudyInstanceUID": f"{UID}.{k}"}, "5 studies"),
        (lambda k: {"SOPInstanceUID": UID}, "5 images of one instance UID"),
        (lambda k: {"SeriesInstanceUID": f"{UID}.{k}"}, "5 series"),
        (lambda k: {"SOPInstanceUID": None}, "no instance UIDs"),
        (
            lambda k: dict.fromkeys(("FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"), f"{UID}.{k}"),
            "5 frames of reference, 5 studies, 5 series",
        ),
    ],
    ids=["frame of reference", "study", "one instance", "series", "no instance", "all"],
)
def test_identifiers_that_a_de_identifier_remade_do_not_tear_a_volume_apart(tmp_path, change, told):
    read = read_dicom(write_series(tmp_path / "ct", change=change))
    assert same(read)
    (note,) = read.notes
    assert f"({told})" in note and "read as one volume" in note


def test_a_series_without_frame_of_reference_is_read_and_that_is_said(tmp_path):
    read = read_dicom(write_series(tmp_path / "ct", FrameOfReferenceUID=None))
    assert same(read) and read.notes[0].startswith("The series names no frame of reference")


def test_many_series_are_listed_in_few_words_the_longest_first(tmp_path):
    for n in range(9):
        write_series(
            tmp_path, 3 + n, f"{n}-{{}}", SeriesInstanceUID=f"{UID}.{n}", SeriesNumber=n, SeriesDescription="x" * 64
        )
    with pytest.raises(SeveralSeries) as caught:
        read_volume(tmp_path)
    told = str(caught.value)
    assert "holds 9 series; choose one by its number or UID (--series on the command line)" in told
    assert told.index("11 slices") < told.index("10 slices") < told.index("6 slices") and told.endswith("; and 3 more")
    assert len(told) < 1000 + len(str(tmp_path))


# -- what is no slice


def test_scouts_that_do_not_say_so_and_pages_need_no_question(tmp_path):
    folder = write_series(tmp_path / "ct")
    scout = {"ImageType": ["DERIVED", "SECONDARY", "REF_SURVIEW"], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    dataset(0, **scout, PixelSpacing=[0.97, 0.97]).save_as(folder / "scout")
    nowhere = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"))
    for n in range(2):
        page = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SeriesInstanceUID": UID, "SeriesNumber": 401, **nowhere}
        dataset(n, **page).save_as(folder / f"page{n}")
    dataset(0, SamplesPerPixel=3, PhotometricInterpretation="RGB", SeriesNumber=402).save_as(folder / "rendering")
    read = read_dicom(folder)
    assert same(read)
    assert read.notes == (
        "1 image was passed over as a scout or single slice ('scout', sagittal, 10 x 12 pixels).",
        "3 DICOM objects that are no slices were passed over (color image, image without a place in the patient).",
    )
    assert same(read_dicom(folder, 3)) and same(read_dicom(folder, "3/1"))


def test_one_slice_watched_for_contrast_is_no_volume(tmp_path):
    folder = write_series(tmp_path / "ct")
    for n in range(7):
        dataset(2, SeriesInstanceUID=UID, SeriesNumber=2, PixelData=stored(n)).save_as(folder / f"bolus{n}")
    read = read_dicom(folder)
    assert same(read) and "7 images that are no part of the volume were passed over" in read.notes[0]


def test_the_axial_series_is_taken_before_reformats_of_it_and_they_are_named(tmp_path):
    folder = write_series(tmp_path / "ct")
    turned = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "SeriesInstanceUID": UID, "SeriesNumber": 8}
    for n in range(7):
        place = [ORIGIN[0], ORIGIN[1] + 3 * n, ORIGIN[2]]
        dataset(n, **turned, ImagePositionPatient=place).save_as(folder / f"mpr{n}")
    read = read_dicom(folder)
    assert same(read)
    assert "The axial series 3 was read; there is also coronal 8: CT 'Portal venous', 7 slices" in read.notes[0]
    assert read_volume(folder, 8).dimensions[2] == 7


# -- several passes and phases in one series


def passes(folder, first, second, offset=0.0, **tags):
    """Slices of two passes: k of each; the second one 25 HU darker and so many mm higher."""
    for name, slices, number, intercept, more in (("a", first, 1, -1024, 0.0), ("b", second, 2, -1049, offset)):
        for k in slices:
            image = dataset(
                k,
                **{"AcquisitionNumber": number, "RescaleIntercept": intercept, **at(k * STEP + more), **tags},
                InstanceNumber=k + 1 + 100 * (number - 1),
            )
            folder.mkdir(exist_ok=True)
            image.save_as(folder / f"{name}{k:02}")
    return folder


@pytest.mark.parametrize(
    ("first", "second", "offset"),
    [
        (range(5), range(3, 8), 0.0),
        (range(5), range(3, 8), STEP / 2),
        (range(8), range(2, 6), 0.0),
        (range(4), range(4, 8), 60.0),
    ],
    ids=["overlap", "overlap off the grid", "one within the other", "gap"],
)
def test_passes_that_cannot_be_one_volume_are_parts_by_acquisition_number(tmp_path, first, second, offset):
    folder = passes(tmp_path / "ct", first, second, offset)
    with pytest.raises(SeveralSeries, match=r"AcquisitionNumber 1, .*AcquisitionNumber 2, "):
        read_dicom(folder)
    with pytest.raises(SeveralSeries, match="holds 2 series"):
        read_dicom(folder, 3)
    for part, slices, intercept, more in ((1, first, -1024, 0.0), (2, second, -1049, offset)):
        for name in (f"3/{part}", f"{SERIES}/{part}"):
            volume = read_volume(folder, name)
            assert (volume.array == np.stack([stored(k).astype(int) + intercept for k in slices])).all()
            z = ORIGIN[2] + slices[0] * STEP + more
            assert volume.ijk_to_ras == pytest.approx(affine(origin=(*ORIGIN[:2], z)), abs=1e-6)


def test_blocks_of_two_passes_that_join_exactly_are_one_volume(tmp_path):
    folder = passes(tmp_path / "ct", range(4), range(4, 8))
    hu = np.stack([stored(k).astype(int) - (1024 if k < 4 else 1049) for k in range(8)])
    read = read_dicom(folder)
    assert (read.volume.array == hu).all() and read.notes == ()


def test_phases_in_joined_blocks_are_put_together_phase_by_phase(tmp_path):
    folder = tmp_path / "ct"
    folder.mkdir()
    for number, slices in ((1, range(4)), (2, range(4, 8)), (3, range(4)), (4, range(4, 8))):
        for k in slices:
            dataset(k, AcquisitionNumber=number, RescaleIntercept=-1024 - (number > 2)).save_as(
                folder / f"{number}-{k}"
            )
    for part in (1, 2):
        assert (read_volume(folder, f"3/{part}").array == expected(8, 1, -1023 - part)).all()


def test_phases_that_instance_numbers_alone_tell_apart_are_parts(tmp_path):
    folder = write_series(tmp_path / "ct", names="a{}")
    write_series(folder, names="b{}", change=lambda k: {"InstanceNumber": 6 + k, "RescaleIntercept": -1000})
    assert (read_volume(folder, "3/1").array == expected(5)).all()
    assert (read_volume(folder, "3/2").array == expected(5, 1, -1000)).all()
    with pytest.raises(SeveralSeries, match=r"images 1 to 5, .* images 6 to 10, "):
        read_dicom(folder)


def test_a_copy_of_one_file_does_not_hide_that_there_are_two_phases(tmp_path):
    folder = write_series(tmp_path / "ct", names="a{}", AcquisitionNumber=1)
    write_series(folder, names="b{}", AcquisitionNumber=2, RescaleIntercept=-1000)
    shutil.copy(folder / "a2", folder / "a2 (1)")
    read = read_dicom(folder, "3/1")
    assert (read.volume.array == expected(5)).all() and "held twice" in read.notes[0]


# -- numbers


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


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The folders of ../shared/cases, their files made; skips where the generators or what they need are not here."""
    source = Path(__file__).resolve().parents[5] / "shared" / "cases"
    if not source.is_dir():
        pytest.skip(f"needs the generators in {source}")
    pytest.importorskip("nibabel", reason="the generators need it")
    folder = tmp_path_factory.mktemp("cases")
    for name in CASES:
        shutil.copytree(source / name, folder / name)
    shutil.copy(source / "common.py", folder)
    for name in CASES:
        subprocess.run([sys.executable, "-W", "ignore", folder / name / "make.py"], check=True, capture_output=True)
    return folder


CASES = ("dicom-deidentified", "dicom-enhanced", "dicom-multipass", "dicom-odd-numbers", "dicom-undeclared-scout")


def test_the_cases_of_public_bug_reports_are_read_or_offered_as_parts(cases):
    sys.path.insert(0, str(cases))
    try:
        common = importlib.import_module("common")
    finally:
        sys.path.remove(str(cases))
    ct = np.clip(common.phantom()[0].astype(int), -1024, 3071)
    in_parts, other, count = {}, {}, 0
    for folder in sorted(each for name in CASES for each in (cases / name).iterdir() if each.is_dir()):
        if folder.name == "__pycache__":
            continue
        count += 1
        try:
            volume = read_dicom(folder).volume
        except SeveralSeries as several:
            in_parts[folder.name] = [len(stack.frames) for stack in several.stacks]
            continue
        except InputError as error:
            other[folder.name] = str(error)
            continue
        where = common.AFFINE.copy()
        if folder.name.startswith("z_rounded"):
            where[2, 2] = 1.25 if folder.name.endswith("1.25") else 0.625
        assert volume.ijk_to_ras == pytest.approx(where, abs=1e-6), folder.name
        beside = (volume.array != ct).sum()
        # values: none known; metal beyond the bits; padding
        assert beside == 0 or folder.name in ("empty_rescale", "metal_above_4095", *PADDED), folder.name
        assert folder.name not in PADDED or ((volume.array != ct) == (ct == -1000)).all()
    assert count == 34
    assert in_parts == {
        "four_files": [24] * 4,
        "two_files_same_time": [24] * 2,
        "two_phases_one_file": [24] * 2,
        "overlap_same_positions": [16] * 2,
        "overlap_half_step": [16] * 2,
        "phase_within_phase": [24, 12],
        "gap_between": [12] * 2,
    }
    assert list(other) == ["classic_multiframe"] and "one of 24 frames in a file" in other["classic_multiframe"]


PADDED = ("pad_-2000_undeclared", "pad_63536_undeclared")
