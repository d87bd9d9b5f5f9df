"""Image files that cannot be used are refused by name, with the remedy, and without noise on the screen."""

import re
import struct
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.mrml.application.headless_scene import createScene
from SAMLiverTumorLib.mrml.scene_files import loadVolume

FORMATS = ("nii", "nii.gz", "nrrd", "mha")
NOISE = np.random.default_rng(6).integers(-1000, 1000, (10, 20, 30)).astype(np.int16)


def written(path, array=NOISE, compressed=False, **options):
    image = array if isinstance(array, sitk.Image) else sitk.GetImageFromArray(array, **options)
    if image.GetDimension() == 3:
        image.SetSpacing((0.7, 0.8, 5.0))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def refused(path, capfd):
    """What the error says; neither Python nor C++ may print anything."""
    capfd.readouterr()
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert capfd.readouterr() == ("", "")
    told = str(caught.value)
    assert path.name in told
    assert "\n" not in told
    return told


def test_a_missing_file_is_named(tmp_path, capfd):
    assert "does not exist; check the path" in refused(tmp_path / "gone.nii.gz", capfd)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.99, 0.5, 0.1])
def test_truncated_files_are_refused(tmp_path, suffix, compressed, kept, capfd):
    path = written(tmp_path / f"cut.{suffix}", compressed=compressed)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    told = refused(path, capfd)
    assert re.search(r"truncated|fread got only", told)
    assert "copy" in told
    with pytest.raises(InputError, match=r"cut"):
        loadVolume(createScene(), path)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_compressed_voxels_that_were_damaged_are_refused(tmp_path, suffix, capfd):
    path = written(tmp_path / f"flipped.{suffix}", compressed=True)
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in refused(path, capfd)
    with pytest.raises(InputError, match="damaged"):
        loadVolume(createScene(), path)


def test_voxels_in_a_file_of_their_own_have_to_be_there_and_complete(tmp_path, capfd):
    path = written(tmp_path / "ct.mhd")
    raw = tmp_path / "ct.raw"
    raw.write_bytes(raw.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"ct\.raw' is truncated: 11,999 of 12,000 bytes"):
        read_volume(path)
    raw.unlink()
    assert "keeps its voxels in 'ct.raw', which is not there" in refused(path, capfd)
    path = written(tmp_path / "other.nhdr")
    (tmp_path / "other.raw").unlink()
    assert "other.raw" in refused(path, capfd)


@pytest.mark.parametrize("suffix", FORMATS)
def test_images_that_are_no_scalar_volume_are_refused(tmp_path, suffix, capfd):
    flat = written(tmp_path / f"flat.{suffix}", NOISE[0])
    assert "two-dimensional" in refused(flat, capfd)
    times = written(tmp_path / f"times.{suffix}", sitk.JoinSeries([sitk.GetImageFromArray(NOISE)] * 2))
    told = refused(times, capfd)
    assert "(30, 20, 10, 2)" in told
    assert "file of its own" in told
    color = np.repeat(NOISE.astype(np.uint8)[..., None], 3, axis=-1)
    assert "3 values per voxel" in refused(written(tmp_path / f"color.{suffix}", color, isVector=True), capfd)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", FORMATS)
def test_voxels_that_are_no_numbers_are_refused(tmp_path, suffix, value, kind, capfd):
    array = NOISE.astype(kind)
    array[4, 10, 15] = value  # NIfTI's reader in ITK would make it 0
    told = refused(written(tmp_path / f"nan.{suffix}", array), capfd)
    assert "NaN or infinite voxels" in told
    assert "replace them" in told


@pytest.mark.parametrize("suffix", FORMATS)
def test_float_voxels_that_are_numbers_are_read(tmp_path, suffix):
    array = (NOISE / 7).astype(np.float32)
    assert (read_volume(written(tmp_path / f"float.{suffix}", array)).array == array).all()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *product(["mha", "nrrd spacings", "nrrd directions"], ["0", "-1", "nan"]),
        ("nii", "0"),
        ("nii", "nan"),  # a negative one is its size: test_nifti_place.py
    ],
)
def test_spacing_that_is_no_distance_is_refused(tmp_path, kind, value, capfd):
    path = written(tmp_path / f"ct.{kind.split()[0]}")
    data = path.read_bytes()
    if kind == "nii":
        # by the qform alone: a sform has a spacing of its own
        data = data[:88] + struct.pack("<f", float(value)) + data[92:254] + bytes(2) + data[256:]
    elif kind == "mha":
        data = re.sub(rb"ElementSpacing = .*", f"ElementSpacing = 0.7 0.8 {value}".encode(), data)
    elif kind == "nrrd spacings":
        data = re.sub(rb"space: .*\n|space origin: .*\n", b"", data)
        data = re.sub(rb"space directions: .*", f"spacings: 0.7 0.8 {value}".encode(), data)
    else:  # a direction of (0, 0, -1) is a legitimate axis toward the feet
        value = value.replace("-1", "inf")
        data = re.sub(rb"space directions: .*", f"space directions: (0.7,0,0) (0,0.8,0) (0,0,{value})".encode(), data)
    path.write_bytes(data)
    told = refused(path, capfd)
    assert "spacing of" in told
    assert "correct" in told
    assert "header" in told


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_that_are_something_else_are_refused(tmp_path, suffix, capfd):
    text, empty = tmp_path / f"text.{suffix}", tmp_path / f"empty.{suffix}"
    text.write_text("Dear colleague, please find the CT attached.\n" * 20)
    empty.write_bytes(b"")
    for path in (text, empty):
        assert re.search(r"is not a|Not a gzipped file", refused(path, capfd))


def test_unknown_file_types_say_which_are_known(tmp_path, capfd):
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 \x00\x01")
    assert "a NIfTI, NRRD or MHA file or a DICOM folder is needed" in refused(path, capfd)


def test_a_nifti_2_header_of_zeros_is_refused(tmp_path, capfd):
    path = tmp_path / "two.nii"
    path.write_bytes(struct.pack("<i", 540) + b"n+2\0\r\n\032\n" + bytes(600))
    assert "no usable size" in refused(path, capfd)


def test_axes_that_are_not_at_right_angles_are_refused(tmp_path, capfd):
    path = written(tmp_path / "sheared.nii")
    data = bytearray(path.read_bytes())
    data[252:256] = struct.pack("<2h", 0, 1)  # the affine in the header is the one to take
    data[280:328] = struct.pack("<12f", 0.7, 0.3, 0, 0, 0, 0.8, 0, 0, 0, 0, 5, 0)
    path.write_bytes(data)
    assert "not at right angles" in refused(path, capfd)
