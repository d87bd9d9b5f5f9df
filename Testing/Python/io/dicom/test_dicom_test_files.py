"""pydicom's own test files, as its wheel ships them: read as computed here from the header, or refused with a reason.

What pydicom cannot decode here, or cannot decode right, is compared with a copy of the same picture that it can.
"""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.images import read_volume

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"

# Images of one slice with a place in the patient, and the file that pydicom decodes to the same pixels.
READ = {
    "693_J2KI.dcm": None,
    "CT_small.dcm": None,
    "J2K_pixelrep_mismatch.dcm": None,
    "MR_small.dcm": None,
    "MR_small_RLE.dcm": "MR_small.dcm",
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "MR_small_expb.dcm": "MR_small.dcm",
    "MR_small_implicit.dcm": "MR_small.dcm",
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "MR_small_padded.dcm": "MR_small.dcm",
    "examples_overlay.dcm": None,
}

REFUSED = {
    "MR_truncated.dcm": "is damaged: 4,065 of 4,096 pixels are there",
    "ExplVR_BigEnd.dcm": "color image (RGB)",
    "GDCMJ2K_TextGBR.dcm": "color image (YBR_RCT)",
    "examples_palette.dcm": "color image (PALETTE COLOR)",
    "examples_ybr_color.dcm": "color image (YBR_FULL_422)",
    "image_dfl.dcm": "no position",
    "JPEG-lossy.dcm": "no position",
    "JPEG2000.dcm": "no position",
    "JPEG2000-embedded-sequence-delimiter.dcm": "no position",
    "JPEGLSNearLossless_08.dcm": "no position",
    "JPEGLSNearLossless_16.dcm": "no position",
    "JPGExtended.dcm": "no position",
    "liver_1frame.dcm": "holds no DICOM slices, only Segmentation Storage",
    "rtdose.dcm": "holds no DICOM slices, only RT Dose Storage",
    "rtdose_rle.dcm": "holds no DICOM slices, only RT Dose Storage",
    "rtplan.dcm": "holds no DICOM slices, only RT Plan Storage",
    "rtstruct.dcm": "holds no DICOM slices, only RT Structure Set Storage",
    "test-SR.dcm": "holds no DICOM slices, only Comprehensive SR Storage",
    "waveform_ecg.dcm": "holds no DICOM slices, only 12-lead ECG Waveform Storage",
    "reportsi.dcm": "holds no DICOM slices, only Basic Text SR Storage",
    "badVR.dcm": "",
}


def by_hand(file, pixels):
    """(HU (j, i), ijk to RAS) from header and pixels with pydicom and numpy alone."""
    header = pydicom.dcmread(file)
    values = pydicom.dcmread(pixels).pixel_array * float(header.get("RescaleSlope", 1))
    values = values + float(header.get("RescaleIntercept", 0))
    across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = across * float(header.PixelSpacing[1])
    affine[:3, 1] = down * float(header.PixelSpacing[0])
    affine[:3, 2] = np.cross(across, down) * float(header.SliceThickness)
    affine[:3, 3] = np.array(header.ImagePositionPatient, float)
    return values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize("name", READ)
@pytest.mark.filterwarnings("ignore")
def test_images_of_scanners_are_read_with_the_affine_and_values_of_their_header(name, capfd):
    read = read_dicom(FOLDER / name)
    values, affine = by_hand(FOLDER / name, FOLDER / (READ[name] or name))
    assert read.volume.array.shape == (1, *values.shape)
    assert (read.volume.array[0] == values).all()
    assert read.volume.ijk_to_ras == pytest.approx(affine, abs=2e-4 * np.abs(affine).max())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_no_part_of_a_volume_are_refused_with_the_reason(name, capfd):
    with pytest.raises(InputError) as caught:
        read_volume(FOLDER / name)
    assert REFUSED[name] in str(caught.value)
    assert name in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.dcm")), ids=lambda file: file.name)
def test_every_other_file_is_refused(file, capfd):
    if file.name in READ:
        pytest.skip("read, and compared above")
    with pytest.raises(InputError, match=re.escape(file.name)):
        read_volume(file)
    assert capfd.readouterr() == ("", "")


def test_a_folder_of_slices_far_apart_is_refused_and_its_regular_part_read(tmp_path):
    """CT2 of the DICOMDIR example: one localizer-like slice 202 mm below three that lie 1.25 mm apart."""
    folder = FOLDER / "dicomdirtests" / "77654033" / "CT2"
    with pytest.raises(InputError, match=r"slices missing: the step is 1\.25 mm, but 202\.50 mm"):
        read_volume(folder)
    for name in ("17136", "17166", "17196"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    read = read_dicom(tmp_path)
    by_name = [pydicom.dcmread(folder / name) for name in ("17136", "17166", "17196")]
    assert (read.volume.array == np.stack([s.pixel_array.astype(int) - 1024 for s in by_name])).all()
    assert read.volume.spacing == pytest.approx((0.488281, 0.488281, 1.25))
    assert (read.volume.ijk_to_ras @ [0, 0, 2, 1])[:3] == pytest.approx([125.0, 128.100006, 105.519997])


def test_a_directory_of_files_is_no_image(name="DICOMDIR-bigEnd"):
    with pytest.raises(InputError, match="holds no DICOM slices, only Media Storage Directory Storage"):
        read_volume(FOLDER / "dicomdirtests" / name)


def test_localizers_which_look_through_the_whole_patient_are_no_slices():
    with pytest.raises(InputError, match="holds no DICOM slices, only CT localizer"):
        read_volume(FOLDER / "dicomdirtests" / "98892001" / "CT2N")
    read = read_dicom(FOLDER / "dicomdirtests" / "98892001")
    assert [frame.series_number for frame in read.frames] == [5] * 5


def test_of_the_whole_example_of_a_dicomdir_the_one_volume_is_taken():
    with pytest.raises(InputError, match=r"slices missing: the step is 1\.25 mm, but 202\.50 mm"):
        read_volume(FOLDER / "dicomdirtests" / "77654033")
