"""`sam-liver-tumor ircadb` lists cases and writes what Slicer opens."""

import numpy as np
import pytest
import SimpleITK as sitk
from cli_case import files, read_in_slicer
from ircadb_case import SPACING, Patient, boxes, hounsfield

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.mrml.segments.segments import LIVER_TUMOR_TERMINOLOGY


def call(*words):
    return main(["ircadb", *map(str, words)])


def test_a_case_is_listed_with_volumes_and_the_license(tmp_path, capsys):
    assert call(Patient(1).write_zips(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "3Dircadb1.1: 48 x 40 x 12 voxels of 0.8 x 0.8 x 2 mm" in shown
    # 198 voxels of 1.28 cubic millimeters
    assert "liver tumor          0.25 ml  all folders of liver tumors" in shown
    assert "left adrenal tumor   0.04 ml  MASKS_DICOM/leftsurretumor" in shown
    assert "very probably 28 of LiTS" in shown and "CC BY-NC-ND 3.0" in shown
    assert files(tmp_path / "3Dircadb1.1") == ["LABELLED_DICOM.zip", "MASKS_DICOM.zip", "PATIENT_DICOM.zip"]


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_a_case_is_converted_for_slicer(tmp_path, ending):
    patient = Patient(1)
    case = patient.write_nested(tmp_path / "in")
    assert call(case, "-o", tmp_path / "out", "--format", ending) == 0
    assert files(tmp_path / "out") == ["3Dircadb1.1.seg.nrrd", f"3Dircadb1.1_ct.{ending}"]
    volume = read_volume(tmp_path / "out" / f"3Dircadb1.1_ct.{ending}")
    assert (volume.array == hounsfield(patient.masks)).all() and volume.spacing == pytest.approx(SPACING)
    segments = read_labels(tmp_path / "out" / "3Dircadb1.1.seg.nrrd")
    assert segments.dimensions == volume.dimensions
    assert np.allclose(segments.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)
    masks = patient.masks
    assert (segments.segments["liver tumor"] == (masks["livertumor01"] | masks["livertumor02"])).all()
    for name, folder in {"livertumor02": "livertumor02", "liver": "liver", "liver cyst": "liverkyst"}.items():
        assert (segments.segments[name] == masks[folder]).all(), name


def test_slicer_reads_names_colors_and_terms_from_the_file(tmp_path):
    call(Patient(1).write(tmp_path), "-o", tmp_path)
    segmentation = read_in_slicer(tmp_path / "3Dircadb1.1.seg.nrrd").GetSegmentation()
    by_name = {(segment := segmentation.GetNthSegment(n)).GetName(): segment for n in range(8)}
    assert set(by_name) == {
        *("liver tumor", "livertumor01", "livertumor02", "liver", "liver cyst", "portal vein", "skin"),
        "left adrenal tumor",
    }
    assert by_name["liver tumor"].GetTerminology() == LIVER_TUMOR_TERMINOLOGY
    assert "SCT^32764006^Portal vein" in by_name["portal vein"].GetTerminology()
    assert by_name["liver"].GetColor() == pytest.approx((221 / 255, 130 / 255, 101 / 255), abs=0.002)


def test_the_files_train_no_one_and_nothing_is_left_where_a_case_is_broken(tmp_path, capsys):
    good, bad = Patient(1).write(tmp_path / "set"), Patient(2).write(tmp_path / "set")
    (bad / "PATIENT_DICOM" / "image_3").write_bytes(b"")
    assert call(tmp_path / "set", "-o", tmp_path / "out") == 2
    shown = capsys.readouterr()
    assert "3Dircadb1.2: not read" in shown.out and "1 of 2 cases could not be read: 3Dircadb1.2" in shown.err
    assert files(tmp_path / "out") == ["3Dircadb1.1.seg.nrrd", "3Dircadb1.1_ct.nii.gz"]
    assert call(good, "-o", tmp_path / "out") == 2
    assert "exists already" in capsys.readouterr().err
    assert call(good, "-o", tmp_path / "out", "--overwrite") == 0


def test_a_patient_without_liver_tumor_is_written_without_one(tmp_path, capsys):
    masks = boxes(liver=((1, 4, 4), (10, 30, 30)), tumor=((4, 30, 36), (6, 34, 40)))
    assert call(Patient(7, masks).write(tmp_path), "-o", tmp_path / "out") == 0
    assert "(no liver tumor)" in capsys.readouterr().out
    assert list(read_labels(tmp_path / "out" / "3Dircadb1.7.seg.nrrd").entries) == ["liver", "tumor outside the liver"]


def test_real_ct_in_this_layout_comes_out_voxel_for_voxel(sample, tmp_path):
    """The sample case cut to slices with tumor, as a patient of 3D-IRCADb."""
    volume, labels = sample
    part = np.s_[40:52, 30:70, 30:78]
    hu, labels = np.rint(volume.array[part]).astype(np.int16), labels[part]
    masks = {"liver": labels > 0, "livertumor": labels == 2}
    case = Patient(2, masks, hu=hu).write_zips(tmp_path)
    assert call(case, "-o", tmp_path / "out") == 0
    image = sitk.ReadImage(str(tmp_path / "out" / "3Dircadb1.2_ct.nii.gz"))
    assert (sitk.GetArrayFromImage(image) == hu).all()
    segments = read_labels(tmp_path / "out" / "3Dircadb1.2.seg.nrrd").segments
    assert segments["liver tumor"].sum() == (labels == 2).sum() > 0


@pytest.mark.parametrize("name", ["none", "empty"])
def test_what_is_no_case_is_refused_in_one_line(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    assert call(tmp_path / name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sam-liver-tumor: error: ")
