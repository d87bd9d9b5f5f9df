"""Every shape that DICOM comes in is read with the geometry and HU it was written with."""

import shutil

import numpy as np
import pydicom
import pytest
from dicom_case import (
    COLUMNS,
    ORIGIN,
    ROWS,
    SERIES,
    SPACING,
    STEP,
    affine,
    dataset,
    expected,
    position,
    refused,
    stored,
    write_enhanced,
    write_series,
)
from pydicom.uid import RLELossless, generate_uid

from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.images import read_volume


def check(read, count=5, notes=()):
    assert read.volume.array == pytest.approx(expected(count), abs=0)
    assert read.volume.ijk_to_ras == pytest.approx(affine(), abs=1e-6)
    assert read.notes == notes


# -- read right


def test_slices_are_put_in_order_by_their_positions_not_by_names_or_numbers(tmp_path):
    shuffled = (3, 0, 4, 1, 2)
    folder = write_series(
        tmp_path / "ct",
        change=lambda n: {
            "ImagePositionPatient": position(shuffled[n]),
            "PixelData": stored(shuffled[n]),
            "InstanceNumber": 9 - n,
        },
    )
    check(read_dicom(folder))


def test_nested_folders_names_without_suffix_and_other_files_do_no_harm(tmp_path):
    folder = write_series(tmp_path / "patient" / "ST0" / "SE0", names="{}")
    for k in (3, 4):
        (tmp_path / "patient" / "more").mkdir(exist_ok=True)
        shutil.move(folder / str(k), tmp_path / "patient" / "more" / str(k))
    (tmp_path / "patient" / "README").write_text("exported today " * 40)
    (tmp_path / "patient" / "DICOMDIR").write_bytes(bytes(128) + b"DICMjunk")
    check(read_dicom(tmp_path / "patient"))


@pytest.mark.parametrize("big", [False, True], ids=["little endian", "big endian"])
def test_files_without_preamble_and_meta_information_are_read(tmp_path, big):
    folder = tmp_path / "ct"
    folder.mkdir()
    for k in range(5):
        image = dataset(k)
        del image.file_meta
        image.preamble = None
        if big:
            image.PixelData = stored(k).astype(">u2").tobytes()
        pydicom.dcmwrite(folder / f"{k}", image, implicit_vr=not big, little_endian=not big, enforce_file_format=False)
    assert (folder / "0").read_bytes()[128:132] != b"DICM"
    check(read_dicom(folder))


def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path):
    slopes, intercepts = (1, 2, 0.5, 1.25, 1), (-1024, -1000, 0, -7.5, 3)
    folder = write_series(
        tmp_path / "ct", change=lambda k: {"RescaleSlope": slopes[k], "RescaleIntercept": intercepts[k]}
    )
    by_hand = np.stack([stored(k).astype(float) * slopes[k] + intercepts[k] for k in range(5)])
    assert by_hand[3].max() % 1  # not all are whole numbers
    assert (read_volume(folder).array == by_hand.astype(np.float32)).all()


def test_whole_numbers_stay_whole_numbers(tmp_path):
    assert read_volume(write_series(tmp_path / "ct")).array.dtype == np.int16
    wide = write_series(tmp_path / "wide", BitsStored=16, HighBit=15, PixelData=np.full((ROWS, COLUMNS), 50000, "<u2"))
    volume = read_volume(wide)
    assert volume.array.dtype == np.int32
    assert (volume.array == 50000 - 1024).all()


def test_a_sign_in_twelve_of_sixteen_bits_is_a_sign(tmp_path):
    """Bits above BitsStored say nothing: -5 may be stored as 0x0FFB."""
    words = np.full((ROWS, COLUMNS), 0x0FFB, "<u2")
    folder = write_series(tmp_path / "ct", PixelRepresentation=1, PixelData=words, RescaleIntercept=0)
    assert (read_volume(folder).array == -5).all()


def test_overlay_bits_in_the_pixels_are_no_values(tmp_path):
    words = stored(0) | 0x8000
    folder = write_series(tmp_path / "ct", PixelData=words)
    read = read_dicom(folder)
    assert (read.volume.array == stored(0).astype(int) - 1024).all()
    assert read.notes[0].startswith("600 pixels have bits set beyond those that the headers say hold values")
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        image.add_new((0x6000, 0x0102), "US", 15)
        image.save_as(file)
    read = read_dicom(folder)
    assert (read.volume.array == stored(0).astype(int) - 1024).all() and read.notes == ()


def test_monochrome1_is_only_how_it_is_shown(tmp_path):
    check(read_dicom(write_series(tmp_path / "ct", PhotometricInterpretation="MONOCHROME1")))


def test_bright_padding_is_made_as_dark_as_air_and_said(tmp_path):
    """-2000 as unsigned 16 bits is 63,536: a ring as bright as metal around the patient."""
    words = stored(0).copy()
    words[:2] = 63536
    folder = write_series(tmp_path / "ct", BitsStored=16, HighBit=15, PixelPaddingValue=63536, PixelData=words)
    read = read_dicom(folder)
    assert (read.volume.array[:, :2] == -1000).all()
    assert (read.volume.array[:, 2:] == stored(0)[2:].astype(int) - 1024).all()
    assert read.notes == ("100 padding pixels, which hold no measurement, were made dark.",)


def test_bright_padding_of_an_mr_is_made_as_dark_as_the_least_value(tmp_path):
    words = stored(0).copy()
    words[:2] = 4095
    folder = write_series(
        tmp_path / "mr", 1, Modality="MR", PixelPaddingValue=4095, PixelData=words, RescaleIntercept=0
    )
    assert (read_volume(folder).array[0, :2] == stored(0)[2:].min()).all()


def test_padding_that_is_darker_than_air_stays_as_stored(tmp_path):
    words = stored(0).astype("<i2")
    words[:2] = -2000
    folder = write_series(
        tmp_path / "ct", BitsStored=16, HighBit=15, PixelRepresentation=1, PixelPaddingValue=-2000, PixelData=words
    )
    read = read_dicom(folder)
    assert (read.volume.array == words.astype(int) - 1024).all()
    assert read.notes == ()


def test_images_held_twice_are_read_once_and_said(tmp_path):
    folder = write_series(tmp_path / "ct")
    shutil.copy(folder / "IM0002", folder / "IM0002 (1)")
    again = pydicom.dcmread(folder / "IM0004")
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    again.save_as(folder / "sent again")
    check(read_dicom(folder), notes=("2 images held twice, 'IM0002 (1)' for one: read once.",))


def test_objects_without_images_beside_the_slices_are_passed_over_and_said(tmp_path, shared_data):
    folder = write_series(tmp_path / "ct")
    shutil.copy(shared_data / "dcmqi" / "liver.dcm", folder / "seg")
    shutil.copy(pydicom.data.get_testdata_file("test-SR.dcm", download=False), folder / "report.dcm")
    kinds = "Comprehensive SR Storage, Segmentation Storage"
    check(read_dicom(folder), notes=(f"2 DICOM objects that are no slices were passed over ({kinds}).",))


def test_a_localizer_in_the_series_is_passed_over_and_said(tmp_path):
    folder = write_series(tmp_path / "ct")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    dataset(0, **scout).save_as(folder / "scout")
    check(read_dicom(folder), notes=("1 DICOM object that is no slice was passed over (CT localizer).",))


def test_a_loss_in_compression_is_said(tmp_path):
    (note,) = read_dicom(write_series(tmp_path / "ct", LossyImageCompression="01")).notes
    assert "compressed with a loss" in note


def test_oblique_slices_have_the_place_that_their_headers_name(tmp_path):
    turned = np.array([[0.8, 0.36, -0.48], [0, 0.8, 0.6], [0.6, -0.48, 0.64]])
    across, down, normal = turned[:, 0], turned[:, 1], turned[:, 2]
    assert np.cross(across, down) == pytest.approx(normal)
    folder = write_series(
        tmp_path / "ct",
        ImageOrientationPatient=[*across.tolist(), *down.tolist()],
        change=lambda k: {"ImagePositionPatient": (np.array(ORIGIN) + normal * STEP * k).round(4).tolist()},
    )
    volume = read_volume(folder)
    for i, j, k in ((0, 0, 0), (9, 0, 4), (3, 11, 2)):
        left, posterior, superior = ORIGIN + across * SPACING[1] * i + down * SPACING[0] * j + normal * STEP * k
        assert (volume.ijk_to_ras @ [i, j, k, 1])[:3] == pytest.approx([-left, -posterior, superior], abs=1e-3)
        assert volume.array[k, j, i] == int(stored(k)[j, i]) - 1024


def test_an_enhanced_ct_is_read_with_the_place_and_the_rescale_of_each_frame(tmp_path):
    check(read_dicom(write_enhanced(tmp_path / "ct.dcm", order=(4, 1, 0, 3, 2))))
    slopes = [1, 2, 1, 0.5, 1]
    volume = read_volume(write_enhanced(tmp_path / "other.dcm", slopes=slopes))
    assert (volume.array == np.stack([stored(k).astype(float) * slopes[k] - 1024 for k in range(5)])).all()


def test_compressed_frames_are_read_with_the_rescale_of_each(tmp_path):
    slopes = [1, 2, 1, 0.5, 1]
    path = write_enhanced(tmp_path / "ct.dcm", order=(4, 1, 0, 3, 2), slopes=slopes)
    image = pydicom.dcmread(path)
    image.compress(RLELossless, generate_instance_uid=False)
    image.save_as(path)
    assert path.stat().st_size < 5 * ROWS * COLUMNS * 2 + 6000
    volume = read_volume(path)
    assert (volume.array == np.stack([stored(k).astype(float) * slopes[k] - 1024 for k in range(5)])).all()
    assert volume.ijk_to_ras == pytest.approx(affine(), abs=1e-6)


def test_a_compressed_series_is_read_slice_by_slice(tmp_path):
    folder = write_series(tmp_path / "ct", change=lambda k: {"RescaleSlope": k + 1})
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(file)
    by_hand = np.stack([stored(k).astype(int) * (k + 1) - 1024 for k in range(5)])
    assert (read_volume(folder).array == by_hand).all()


# -- chosen among several


@pytest.fixture
def mixed(tmp_path):
    """Two series and a localizer in one folder, and an arterial and a venous phase in one series."""
    write_series(tmp_path / "all", names="a{}")
    two = generate_uid()
    write_series(tmp_path / "all", 3, "b{}", SeriesInstanceUID=two, SeriesNumber=4, SeriesDescription="Bone")
    phases = generate_uid()
    for n, phase in enumerate((7, 12)):
        write_series(
            tmp_path / "all",
            4,
            f"c{n}{{}}",
            SeriesInstanceUID=phases,
            SeriesNumber=5,
            AcquisitionNumber=phase,
            RescaleIntercept=-1000 - n,
        )
    return tmp_path / "all", two, phases


def test_a_series_is_chosen_by_number_or_uid(mixed):
    folder, two, phases = mixed
    check(read_dicom(folder, 3))
    check(read_dicom(folder, SERIES))
    assert read_volume(folder, "4").dimensions == (COLUMNS, ROWS, 3)
    assert read_volume(folder, two).dimensions == (COLUMNS, ROWS, 3)
    first, second = read_volume(folder, "5/1"), read_volume(folder, f"{phases}/2")
    assert (first.array == expected(4, 1, -1000)).all()
    assert (second.array == expected(4, 1, -1001)).all()


def test_without_a_choice_all_series_are_listed(mixed, capfd):
    folder, two, phases = mixed
    told = refused(folder, capfd)
    assert "holds 4 series (a series of several volumes has a part after its number); choose one" in told
    # the longest first
    assert f"3: CT 'Portal venous', 5 slices of 10 x 12, {SERIES}; 5/1: CT" in told
    assert f"5/1: CT 'Portal venous', 4 slices of 10 x 12, AcquisitionNumber 7, {phases}/1; 5/2:" in told
    assert told.endswith(f"4: CT 'Bone', 3 slices of 10 x 12, {two}")
    told = refused(folder, capfd, 5)
    assert "holds 2 series" in told
    assert "Bone" not in told
    assert "holds no series '6'; it holds 3: CT" in refused(folder, capfd, 6)
    assert "holds no series '5/3'" in refused(folder, capfd, "5/3")


def test_a_number_that_two_series_share_is_no_choice(tmp_path, capfd):
    write_series(tmp_path, names="a{}")
    write_series(tmp_path, names="b{}", SeriesInstanceUID=generate_uid())
    assert "holds 2 series; choose one by its number or UID" in refused(tmp_path, capfd, 3)
    assert read_volume(tmp_path, SERIES).dimensions[2] == 5


@pytest.mark.parametrize(
    "other",
    [
        {"Rows": 6, "PixelData": stored(0)[:6]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
        {"PixelSpacing": [0.8, 0.7]},
    ],
    ids=["size", "orientation", "spacing"],
)
def test_a_slice_that_differs_is_no_part_of_the_volume_and_said(tmp_path, other):
    folder = write_series(tmp_path / "ct", change=lambda k: other if k == 4 else {})
    read = read_dicom(folder)
    assert read.volume.array == pytest.approx(expected(4), abs=0)
    (note,) = read.notes
    assert "1 image was passed over" in note and "'IM0004'" in note
    check(read_dicom(folder, "3/1"), 4)
    assert read_dicom(folder, "3/2").volume.array.shape[0] == 1
