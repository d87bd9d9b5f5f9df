"""DICOM series of real scanners are read as pydicom alone reads them; spoiled copies of them are refused by name."""

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume


def by_hand(folder, pattern="*"):
    """Voxels (k, j, i) in HU and slice positions of a DICOM folder, with pydicom alone, sorted along z."""
    slices = sorted((pydicom.dcmread(f) for f in folder.glob(pattern)), key=lambda s: s.ImagePositionPatient[2])
    try:
        stack = [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    except RuntimeError:
        stack = None  # pydicom has no decoder for this compression here
    return stack, slices


@pytest.mark.parametrize(
    ("folder", "count"), [("chaos3/dicom", 78), ("totalseg/dicom", 20), ("dcmqi/ct-3slice", 3)], ids=str
)
def test_dicom_folders_have_the_hounsfield_units_and_places_of_their_headers(shared_data, folder, count, capfd):
    volume = read_volume(shared_data / folder)
    stack, slices = by_hand(shared_data / folder)
    assert volume.dimensions == (slices[0].Columns, slices[0].Rows, count)
    row_step, column_step = (float(x) for x in slices[0].PixelSpacing)
    step = float(slices[1].ImagePositionPatient[2]) - float(slices[0].ImagePositionPatient[2])
    assert volume.spacing == pytest.approx((column_step, row_step, abs(step)), abs=1e-3)
    for k, header in enumerate(slices):
        left, posterior, superior = (float(x) for x in header.ImagePositionPatient)
        assert (volume.ijk_to_ras @ [0, 0, k, 1])[:3] == pytest.approx([-left, -posterior, superior], abs=0.01)
    if stack is not None:
        assert (volume.array == np.array(stack)).all()
    assert volume.looks_like_hounsfield
    assert capfd.readouterr() == ("", "")


def test_slices_of_a_compressed_series_are_in_order(shared_data):
    # pydicom alone cannot decode JPEG 2000
    volume = read_volume(shared_data / "totalseg/dicom")
    files = sorted((shared_data / "totalseg/dicom").iterdir(), key=lambda f: pydicom.dcmread(f).ImagePositionPatient[2])
    for k in (0, 7, 19):
        one = sitk.GetArrayFromImage(sitk.ReadImage(str(files[k])))[0]
        assert (volume.array[k] == one).all()
    assert volume.array.min() >= -1024


@pytest.fixture
def slices(shared_data, tmp_path):
    """A folder of six slices of a CT, copied so that a test may spoil them; names run from the top down."""
    folder = tmp_path / "series"
    folder.mkdir()
    for file in sorted((shared_data / "chaos3/dicom").glob("*.dcm"))[:6]:
        shutil.copy(file, folder)
    return folder


def refused(path, capfd):
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert capfd.readouterr() == ("", "")
    return str(caught.value)


def test_a_missing_slice_is_told_between_its_neighbors(slices, capfd):
    files = sorted(slices.iterdir())
    files[3].unlink()
    told = refused(slices, capfd)
    assert f"'{slices}'" in told
    assert "the step is 2.00 mm, but 4.00 mm between" in told
    assert files[2].name in told
    assert files[4].name in told


@pytest.mark.parametrize("kept", [0, 300, -2, -100_000])
@pytest.mark.parametrize("which", [0, 3, 5])
def test_a_damaged_slice_is_named_also_at_either_end(slices, kept, which, capfd):
    damaged = sorted(slices.iterdir())[which]
    damaged.write_bytes(damaged.read_bytes()[:kept])
    told = refused(slices, capfd)
    assert f"'{damaged}' is damaged" in told
    assert "copy it again" in told


def test_slices_at_one_position_are_no_volume(slices, capfd):
    for file in slices.iterdir():
        header = pydicom.dcmread(file)
        header.ImagePositionPatient = [0, 0, 0]
        header.save_as(file)
    assert "all lie at one position" in refused(slices, capfd)


def test_a_sheared_series_is_read_naming_gantry_tilt(slices):
    for n, file in enumerate(sorted(slices.iterdir())):
        header = pydicom.dcmread(file)
        header.ImagePositionPatient[1] += 0.5 * n
        header.save_as(file)
    notes = []
    # 2.5 mm over five steps are 3.4 pixels
    assert read_volume(slices, note=notes.append).dimensions == (512, 516, 6)
    assert "as by a gantry tilt of 14.0 degrees" in notes[0]


def test_two_series_in_a_folder_are_told_apart(slices, shared_data, capfd):
    for file in (shared_data / "dcmqi/ct-3slice").iterdir():
        shutil.copy(file, slices)
    told = refused(slices, capfd)
    assert "holds 2 series; choose one by its number or UID (--series on the command line)" in told
    assert "4: CT '', 6 slices of 512 x 512, 1.2.840.113704.1.1762661655.11024.1129934350.12" in told
    assert "2: CT '', 3 slices of 512 x 512" in told
    assert "own folder" in told


def test_other_files_beside_the_slices_do_no_harm(slices, capfd):
    (slices / "README.txt").write_text("exported today")
    (slices / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"junk")
    assert read_volume(slices).dimensions[2] == 6
    assert capfd.readouterr() == ("", "")


def test_a_single_slice_is_as_thick_as_its_header_says(slices):
    for file in sorted(slices.iterdir())[1:]:
        file.unlink()
    (file,) = slices.iterdir()
    assert read_volume(slices).spacing[2] == float(pydicom.dcmread(file).SliceThickness) != 1.0


@pytest.mark.parametrize("content", [None, "hello"])
def test_a_folder_without_slices_says_what_to_name(tmp_path, content, capfd):
    folder = tmp_path / "nothing here"
    folder.mkdir()
    if content:
        (folder / "notes.txt").write_text(content)
    told = refused(folder, capfd)
    assert f"'{folder}' holds no DICOM" in told
    assert "name the folder with the slices" in told
