"""Deflated DICOM: read as what it holds, and refused before it fills the memory where it is a decompression bomb."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from dicom_case import affine, dataset, expected, write_series
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, SegmentationStorage, generate_uid

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.dicom.series import read_dicom
from SAMLiverTumorLib.io.dicom.source import read_source
from SAMLiverTumorLib.io.folders import DiskFile
from SAMLiverTumorLib.io.ircadb.slices import read_slice
from SAMLiverTumorLib.io.labels.reader import read_labels

# 2 GiB of zeros: what the files below claim to hold.
BOMB = 2 << 30


def bomb(path, size=BOMB, **meta_elements):
    """A deflated file of a few MB that holds so many zeros where its pixels should be."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = SegmentationStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.ImplementationClassUID = "1.2.3"
    for keyword, value in meta_elements.items():
        setattr(meta, keyword, value)
    stream = io.BytesIO()
    stream.write(bytes(128) + b"DICM")
    write_file_meta_info(stream, meta)
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    pixels = b"\xe0\x7f\x10\x00OB\0\0" + (size - (1 << 20)).to_bytes(4, "little")
    stream.write(deflate.compress(pixels) + deflate.flush(zlib.Z_FULL_FLUSH))
    # blocks between full flushes stand alone: one of them, again and again
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    stream.write(block * (size >> 20) + deflate.flush())
    path.write_bytes(stream.getvalue())
    return path


def refused(read):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"would unpack to more than \d+ MB, as no honest file does: refused"):
            read()
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [read_dicom, read_source, read_labels])
def test_a_bomb_is_refused_before_it_takes_memory(read, tmp_path):
    path = bomb(tmp_path / "1.dcm")
    assert path.stat().st_size < 4 << 20
    refused(lambda: read(path))


def test_a_bomb_among_honest_slices_is_named(tmp_path):
    folder = write_series(tmp_path / "ct", syntax=DeflatedExplicitVRLittleEndian)
    bomb(folder / "IM9999")
    refused(lambda: read_dicom(folder))
    with pytest.raises(InputError, match="IM9999"):
        read_dicom(folder)


def test_a_bomb_in_a_case_of_3d_ircadb_is_refused_however_long_its_meta_information_is(tmp_path):
    refused(lambda: read_slice(DiskFile(bomb(tmp_path / "image_1"))))
    refused(lambda: read_slice(DiskFile(bomb(tmp_path / "image_2", FileMetaInformationVersion=bytes(5000)))))


def test_deflated_slices_have_the_values_of_others(tmp_path):
    folder = write_series(tmp_path / "ct", syntax=DeflatedExplicitVRLittleEndian)
    read = read_dicom(folder)
    np.testing.assert_array_equal(read.volume.array, expected(5))
    np.testing.assert_allclose(read.volume.ijk_to_ras, affine())


def test_what_shrinks_a_thousandfold_and_is_small_is_no_bomb(tmp_path):
    # as masks do: 1024 x 1024 pixels of one value
    tags = {"Rows": 1024, "Columns": 1024, "PixelData": bytes(2 << 20), "syntax": DeflatedExplicitVRLittleEndian}
    dataset(0, **tags).save_as(tmp_path / "1.dcm")
    assert (tmp_path / "1.dcm").stat().st_size < 4096
    np.testing.assert_array_equal(np.unique(read_dicom(tmp_path / "1.dcm").volume.array), [-1024])


def test_damage_in_a_deflated_slice_is_told_as_damage(tmp_path):
    folder = write_series(tmp_path / "ct", syntax=DeflatedExplicitVRLittleEndian)
    data = bytearray((folder / "IM0002").read_bytes())
    data[-40:] = bytes(40)
    (folder / "IM0002").write_bytes(data)
    with pytest.raises(InputError, match=r"IM0002' is damaged"):
        read_dicom(folder)
