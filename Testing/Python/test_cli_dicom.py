"""`sam-liver-tumor segment` on DICOM folders: the series asked for, and what there is to know about it."""

import shutil

import numpy as np
import pytest
from cli_case import read_segment, refused, run

from SAMLiverTumorLib.inference.segment import segment
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.prompts import Box, Prompts


@pytest.fixture
def mixed(shared_data, tmp_path):
    """Five slices of a liver CT, series 4, one of them twice, and three slices of another, series 2."""
    folder = tmp_path / "exported"
    shutil.copytree(shared_data / "dcmqi/ct-3slice", folder / "other")
    for file in sorted((shared_data / "chaos3/dicom").glob("*.dcm"))[40:45]:
        shutil.copy(file, folder)
    shutil.copy(file, folder / "again.dcm")
    return folder


def test_a_folder_of_several_series_asks_for_one(mixed, out, capsys):
    told = refused(capsys, mixed, "-o", out, "--point=0,0,0")
    assert "holds 2 series; choose one by its number or UID (--series on the command line)" in told
    assert "holds no series '9'" in refused(capsys, mixed, "-o", out, "--point=0,0,0", "--series", 9)
    assert not out.exists()


def test_series_of_an_image_file_is_refused(ct, out, capsys):
    assert "is no DICOM file or folder" in refused(capsys, ct, "-o", out, "--point=0,0,0", "--series", 4)


def test_the_series_asked_for_is_segmented_and_its_notes_are_printed(mixed, out, pool, warm, capsys):
    volume = read_volume(mixed, 4)
    center = (volume.ijk_to_ras @ [180, 240, 2, 1])[:3]
    half = np.array([30, 30, 0])
    box = Box.from_corners(center - half, center + half)
    text = ",".join(f"{x:.4f}" for x in (*box.corners.min(axis=0), *box.corners.max(axis=0)))
    assert run(mixed, "-o", out, f"--box={text}", "--series", "4", "--yes") == 0
    assert "note: 1 image held twice, " in capsys.readouterr().out
    expected = segment(volume, Prompts(box=box), pool).mask
    assert expected.count > 100
    assert np.array_equal(read_segment(out)[0], expected.full())
