"""Volumes come out of files with the voxels and the position that Slicer and pydicom give them."""

import shutil
import struct

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicer
from geometry import STORAGE_ORDERS, rotation

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.bootstrap import createScene
from SAMLiverTumorLib.mrml.nodes import volumeFromNode
from SAMLiverTumorLib.mrml.scene_io import loadVolume

SUFFIXES = ("nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd")


def image_of(kind=np.int16, directions=None):
    """A 9 x 8 x 7 image of noise, 0.7 x 0.8 x 5 mm, in ITK's left-posterior-superior coordinates."""
    array = np.random.default_rng(5).integers(0, 250, (7, 8, 9)).astype(kind)
    image = sitk.GetImageFromArray(array if kind == np.uint8 else array - np.array(120, kind))
    image.SetSpacing((0.7, 0.8, 5.0))
    image.SetOrigin((-211.5, 87.25, -1640.75))
    image.SetDirection((rotation((1, 2, 3), 25) if directions is None else directions).ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_files_come_back_with_every_voxel_and_their_position(tmp_path, suffix, kind, capfd):
    image = image_of(kind)
    sitk.WriteImage(image, str(tmp_path / f"ct.{suffix}"))
    volume = read_volume(tmp_path / f"ct.{suffix}")
    assert volume.name == f"ct.{suffix}"
    assert volume.array.dtype == kind
    assert (volume.array == sitk.GetArrayViewFromImage(image)).all()
    for ijk in ((0, 0, 0), (8, 0, 3), (2, 7, 6)):
        left, posterior, superior = image.TransformIndexToPhysicalPoint(ijk)
        assert (volume.ijk_to_ras @ [*ijk, 1])[:3] == pytest.approx([-left, -posterior, superior], abs=1e-3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("storage", STORAGE_ORDERS[::9], ids=str)
def test_slicers_own_reader_puts_every_voxel_at_the_same_place(tmp_path, suffix, storage):
    order, signs = storage
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(image_of(np.int16, np.eye(3)[:, list(order)] * signs), str(path))
    ours, slicers = read_volume(path), volumeFromNode(loadVolume(createScene(), path))
    # Slicer's reader may turn the axes around; each voxel has to keep its place
    assert sorted(ours.dimensions) == sorted(slicers.dimensions)
    for kji in np.argwhere(ours.array > 110):
        ras = ours.ijk_to_ras @ [*kji[::-1], 1]
        ijk = slicers.ras_to_ijk @ ras
        assert ijk[:3] == pytest.approx(np.rint(ijk[:3]), abs=1e-3)
        i, j, k = np.rint(ijk[:3]).astype(int)
        assert slicers.array[k, j, i] == ours.array[tuple(kji)]


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_an_oblique_affine_is_that_of_slicers_archetype_reader(tmp_path, suffix):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(image_of(), str(path))
    node = slicer.vtkMRMLScalarVolumeNode()
    storage_node = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage_node.SetFileName(str(path))
    assert storage_node.ReadData(node)
    volume = volumeFromNode(node)
    ours = read_volume(path)
    assert volume.ijk_to_ras == pytest.approx(ours.ijk_to_ras, abs=1e-4)
    assert (volume.array == ours.array).all()


def test_one_time_point_of_a_series_is_a_volume(tmp_path):
    image = image_of()
    sitk.WriteImage(sitk.JoinSeries([image]), str(tmp_path / "one.nii"))
    volume = read_volume(tmp_path / "one.nii")
    assert (volume.array == sitk.GetArrayViewFromImage(image)).all()


def test_scaled_nifti_values_are_read_in_hounsfield_units(tmp_path):
    sitk.WriteImage(image_of(np.uint8), str(tmp_path / "ct.nii"))
    data = bytearray((tmp_path / "ct.nii").read_bytes())
    data[112:120] = struct.pack("<2f", 2.0, -1024.0)  # slope and intercept
    (tmp_path / "ct.nii").write_bytes(data)
    stored = np.frombuffer(data, np.uint8, 7 * 8 * 9, 352).reshape(7, 8, 9)
    assert (read_volume(tmp_path / "ct.nii").array == stored * 2.0 - 1024).all()


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


def test_a_sheared_series_is_refused_naming_gantry_tilt(slices, capfd):
    for n, file in enumerate(sorted(slices.iterdir())):
        header = pydicom.dcmread(file)
        header.ImagePositionPatient[1] += 0.5 * n
        header.save_as(file)
    told = refused(slices, capfd)
    assert "sheared by 0.50 mm per slice" in told
    assert "harden" in told


def test_two_series_in_a_folder_are_told_apart(slices, shared_data, capfd):
    for file in (shared_data / "dcmqi/ct-3slice").iterdir():
        shutil.copy(file, slices)
    told = refused(slices, capfd)
    assert "holds 2 series" in told
    assert "(6 files)" in told
    assert "(3 files)" in told
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
