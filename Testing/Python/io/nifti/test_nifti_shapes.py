"""NIfTI files of every type, byte order, version and number of dimensions are read to the very voxel."""

import bz2
import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from support.nifti_files import AFFINE, nifti_bytes, scan, write_nifti

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.reader import read_labels

CT, LABELS = scan()
# What Slicer's VTK and PyTorch both have.
KNOWN = ("uint8", "int16", "uint16", "int32", "float32")


def read(path):
    """The volume, which has to say nothing of itself."""
    notes = []
    volume = read_volume(path, note=notes.append)
    assert notes == []
    return volume


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_type_and_byte_order_is_read_with_its_values(tmp_path, kind, order):
    low, high = (0, 120) if kind[0] == "u" else (-128, 110)
    array = np.clip(CT, low, high).astype(kind)
    volume = read(write_nifti(tmp_path / "ct.nii", array, order=order))
    assert volume.array.dtype.name in KNOWN
    assert volume.array.dtype.isnative
    assert np.array_equal(volume.array, np.clip(CT, low, high))
    assert np.allclose(volume.ijk_to_ras, AFFINE)


def test_whole_numbers_beyond_16_bits_keep_their_values(tmp_path):
    array = CT.astype(np.int64)
    array[0, 0, 0] = 70_000
    volume = read(write_nifti(tmp_path / "ct.nii", array))
    assert (volume.array.dtype, volume.array[0, 0, 0]) == (np.int32, 70_000)


@pytest.mark.parametrize("further", [(1,), (1, 1), (1, 1, 1, 1)], ids=["4d", "5d", "7d"])
def test_one_frame_of_many_dimensions_is_a_volume(tmp_path, further):
    assert np.array_equal(read(write_nifti(tmp_path / "ct.nii", CT, extra_sizes=further)).array, CT)


def test_unused_dimensions_may_say_0(tmp_path):
    changes = [(40, "8h", (4, 40, 32, 12, 0, 0, 0, 0))]
    assert np.array_equal(read(write_nifti(tmp_path / "ct.nii", CT, changes=changes)).array, CT)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_2_is_read(tmp_path, order):
    volume = read(write_nifti(tmp_path / "ct.nii", CT, order=order, version=2))
    assert np.array_equal(volume.array, CT)
    assert np.allclose(volume.ijk_to_ras, AFFINE)


def test_a_pair_of_header_and_voxels_is_read_by_either_name(tmp_path):
    whole = nifti_bytes(CT, changes=[(108, "f", (0.0,)), (344, "4s", (b"ni1\0",))])
    (tmp_path / "pair.hdr").write_bytes(whole[:348])
    (tmp_path / "pair.img").write_bytes(whole[352:])
    for name in ("pair.hdr", "pair.img"):
        assert np.array_equal(read(tmp_path / name).array, CT)
    (tmp_path / "pair.img").rename(tmp_path / "else.img")
    with pytest.raises(InputError, match=r"keeps its voxels in 'pair\.img', which is not there"):
        read_volume(tmp_path / "pair.hdr")
    with pytest.raises(InputError, match=r"keeps its header in 'else\.hdr', which is not there"):
        read_volume(tmp_path / "else.img")


def test_an_offset_of_0_means_behind_the_header(tmp_path):
    assert np.array_equal(read(write_nifti(tmp_path / "ct.nii", CT, changes=[(108, "f", (0.0,))])).array, CT)


def test_voxels_right_behind_the_header_are_found(tmp_path):
    content = nifti_bytes(CT, changes=[(108, "f", (0.0,))])
    (tmp_path / "ct.nii").write_bytes(content[:348] + content[352:])
    assert np.array_equal(read(tmp_path / "ct.nii").array, CT)


@pytest.mark.parametrize("scaling", [(0.0, 0.0), (0.0, -1024.0), (float("nan"), float("nan"))])
def test_a_slope_of_0_or_nan_scales_nothing(tmp_path, scaling):
    assert np.array_equal(read(write_nifti(tmp_path / "ct.nii", CT, changes=[(112, "2f", scaling)])).array, CT)


def test_hounsfield_units_come_from_the_intercept(tmp_path):
    stored = (CT.astype(int) + 1024).astype(np.uint16)
    volume = read(write_nifti(tmp_path / "ct.nii", stored, changes=[(112, "2f", (1.0, -1024.0))]))
    assert (volume.array.dtype, volume.array.min()) == (np.int16, -1000)
    assert np.array_equal(volume.array, CT)


def test_a_broken_slope_gives_the_values_that_itk_gives(tmp_path):
    path = write_nifti(tmp_path / "ct.nii", CT, changes=[(112, "2f", (0.37, 12.5))])
    assert np.allclose(read(path).array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))), atol=1e-4)


def test_nan_around_the_field_of_view_counts_as_air_and_is_said(tmp_path):
    array = CT.astype(np.float32)
    array[CT == -1000] = np.nan
    notes = []
    volume = read_volume(write_nifti(tmp_path / "ct.nii", array), note=notes.append)
    assert np.array_equal(volume.array, CT)
    (note,) = notes
    assert f"{(CT == -1000).sum():,} voxels" in note
    assert "-1000" in note


@pytest.mark.parametrize("suffix", ["nii", "nrrd", "mha"])
def test_nan_around_the_field_of_view_is_the_same_in_every_format(tmp_path, suffix):
    array = CT.astype(np.float64)
    array[CT == -1000] = np.nan
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(image, str(tmp_path / f"ct.{suffix}"))
    assert np.array_equal(read_volume(tmp_path / f"ct.{suffix}").array, CT)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.float64])
def test_types_that_slicer_lacks_are_cast_in_every_format(tmp_path, suffix, kind):
    array = np.clip(CT, 0, 120).astype(kind)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"ct.{suffix}"))
    volume = read_volume(tmp_path / f"ct.{suffix}")
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, array)


@pytest.mark.parametrize(
    ("code", "told"),
    [(1, "single bits"), (32, "complex numbers"), (128, "3 values per voxel"), (77, "type 77, which is not known")],
)
def test_types_that_are_no_ct_are_refused_by_name(tmp_path, code, told):
    with pytest.raises(InputError, match=told):
        read_volume(write_nifti(tmp_path / "ct.nii", CT, changes=[(70, "h", (code,))]))


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "ct.nrrd", "ct.mha", "ct.img", "ct.hdr"])
@pytest.mark.parametrize("times", [0, 1, 2], ids=["plain", "gzip", "gzip of gzip"])
def test_files_are_read_by_content_whatever_their_ending(tmp_path, name, times):
    content = nifti_bytes(CT)
    for _ in range(times):
        content = gzip.compress(content, mtime=0)
    (tmp_path / name).write_bytes(content)
    assert np.array_equal(read(tmp_path / name).array, CT)


@pytest.mark.parametrize("made", ["nrrd", "mha"])
@pytest.mark.parametrize("name", ["label.nii.gz", "label.nii", "label.nrrd", "label.mha"])
@pytest.mark.parametrize("zipped", [False, True])
def test_nrrd_and_metaimage_are_read_by_content_too(tmp_path, made, name, zipped):
    sitk.WriteImage(sitk.GetImageFromArray(LABELS), str(tmp_path / f"made.{made}"))
    content = (tmp_path / f"made.{made}").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    assert np.array_equal(read_labels(tmp_path / name).segments["2"], LABELS == 2)
    assert np.array_equal(read_volume(tmp_path / name).array, LABELS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04" + bytes(400), "a zip archive; unpack it"),
        (bz2.compress(nifti_bytes(CT)), "compressed with bzip2; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>Sign in</html>" + bytes(400), "a web page; download the file again"),
        (b"", "it is empty"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(tmp_path, content, told):
    (tmp_path / "ct.nii.gz").write_bytes(content)
    for reader in (read_volume, read_labels):
        with pytest.raises(InputError, match=told):
            reader(tmp_path / "ct.nii.gz")


def test_bytes_behind_the_compressed_image_do_not_matter_but_a_wrong_checksum_does(tmp_path):
    path = tmp_path / "ct.nii.gz"
    content = gzip.compress(nifti_bytes(CT))
    path.write_bytes(content + b"\nfooter of a download")
    assert np.array_equal(read(path).array, CT)
    path.write_bytes(content[:-8] + struct.pack("<I", 1) + content[-4:])
    with pytest.raises(InputError, match="damaged"):
        read_volume(path)


def test_a_header_that_asks_for_more_than_there_is_takes_no_memory(tmp_path):
    path = write_nifti(tmp_path / "ct.nii", CT, changes=[(40, "8h", (3, 32767, 32767, 32767, 1, 1, 1, 1))])
    with pytest.raises(InputError, match="truncated"):
        read_volume(path)


@pytest.mark.parametrize("kind", ["i8", "f8", "u4", "f4"])
def test_labels_of_every_type_are_labels(tmp_path, kind):
    labels = read_labels(write_nifti(tmp_path / "label.nii", LABELS.astype(kind)))
    assert labels.label_values == {"1": 1, "2": 2}
    assert np.array_equal(labels.segments["2"], LABELS == 2)


def test_labels_saved_with_the_scaled_header_of_a_ct_are_those_labels(tmp_path):
    # nibabel spreads 0..2 over 16 bits: stored value * 2 / 65535 + 1
    slope = np.float32(2 / 65535)
    stored = np.rint((LABELS.astype(float) - 1) / slope).clip(-32768, 32767).astype(np.int16)
    path = write_nifti(tmp_path / "label.nii", stored, changes=[(112, "2f", (slope, 1.0))])
    back = stored * np.float64(slope) + 1
    assert 0 < np.abs(back - LABELS).max() < 1e-3
    labels = read_labels(path)
    assert labels.label_values == {"1": 1, "2": 2}
    assert np.array_equal(labels.segments["1"], LABELS == 1)
    assert np.array_equal(labels.segments["2"], LABELS == 2)


@pytest.mark.parametrize(("off", "whole"), [(9e-4, True), (1.1e-3, False), (0.5, False)])
def test_labels_are_whole_numbers_within_a_thousandth(tmp_path, off, whole):
    array = LABELS.astype(np.float64)
    array[LABELS == 2] += off
    path = write_nifti(tmp_path / "label.nii", array)
    if whole:
        assert np.array_equal(read_labels(path).segments["2"], LABELS == 2)
    else:
        with pytest.raises(InputError, match="not integers"):
            read_labels(path)


def test_nan_in_a_label_map_is_no_label_and_is_said(tmp_path):
    array = LABELS.astype(np.float32)
    array[:, 0, :] = np.nan
    labels = read_labels(write_nifti(tmp_path / "label.nii", array))
    assert np.array_equal(labels.segments["2"], LABELS == 2)
    assert labels.notes == ("480 voxels of 'label.nii' have no value (NaN); they count as no label.",)
