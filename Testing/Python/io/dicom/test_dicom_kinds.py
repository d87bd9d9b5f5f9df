"""Series as scanners, exporters and de-identifiers leave them: one volume in its place, or parts to choose from."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_case import (
    ORIGIN,
    SERIES,
    STEP,
    affine,
    at,
    dataset,
    expected,
    same,
    stored,
    write_series,
)

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.dicom.stacks import SeveralSeries
from SAMLiverTumorLib.io.images import read_volume

UID = "1.2.826.0.1.3680043.8.498.90"


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
