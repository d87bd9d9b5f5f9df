"""Volumes come out of files with the voxels and the position that Slicer and pydicom give them."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from geometry import STORAGE_ORDERS, rotation

from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.nodes.conversions import volumeFromNode
from SAMLiverTumorLib.mrml.scene_files import loadVolume

SUFFIXES = ("nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd")


def image_of(kind=np.int16, directions=None):
    """A 9 x 8 x 7 image of noise, 0.7 x 0.8 x 5 mm, in ITK's left-posterior-superior coordinates."""
    array = np.random.default_rng(5).integers(0, 250, (7, 8, 9)).astype(kind)
    image = sitk.GetImageFromArray(array if kind == np.uint8 else array - np.array(120, kind))
    image.SetSpacing((0.7, 0.8, 5.0))
    image.SetOrigin((-211.5, 87.25, -1640.75))
    image.SetDirection((rotation((1, 2, 3), 25) if directions is None else directions).ravel().tolist())
    return image


def read_by_slicer(path):
    """The volume as Slicer's own storage node reads it."""
    node = slicer.vtkMRMLScalarVolumeNode()
    storage_node = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage_node.SetFileName(str(path))
    storage_node.SetSingleFile(True)
    assert storage_node.ReadData(node)
    return volumeFromNode(node)


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
    ours, slicers = read_volume(path), read_by_slicer(path)
    loaded = volumeFromNode(loadVolume(createScene(), path))
    assert (loaded.array == ours.array).all()
    assert loaded.ijk_to_ras == pytest.approx(ours.ijk_to_ras)
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
    volume = read_by_slicer(path)
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
