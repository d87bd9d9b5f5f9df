"""Label maps with the value 1 alone: a liver without tumor, or a tumor without liver; nobody says which."""

import json

import numpy as np
import pytest
from support.nifti_files import AFFINE, write_nifti

from SAMLiverTumorLib.datasets.cases import LITS_VALUES, CaseFiles, load_case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.liver import liver_of
from SAMLiverTumorLib.io.labels.lone_label import is_named_liver, is_named_tumor
from SAMLiverTumorLib.io.labels.reader import read_labels

# 2 x 2 x 5 mm, so that 50 voxels are 1 ml
COARSE = np.diag([-2.0, -2.0, 5.0, 1.0])
LIVER_ML, TUMOR_ML = 1200, 12


def mask(ml):
    array = np.zeros((20, 80, 80), np.uint8)
    array.ravel()[: ml * 50] = 1
    return array


@pytest.fixture
def read(tmp_path):
    """Reads a case whose label file has a name and so many ml of the value 1."""
    ct = write_nifti(tmp_path / "ct.nii", np.zeros((20, 80, 80), np.int16), COARSE)

    def case(name, ml, names=None, others=None):
        return load_case(CaseFiles("p1", ct, write_nifti(tmp_path / name, mask(ml), COARSE)), names, others)

    return case


@pytest.mark.parametrize("others", [None, LITS_VALUES])
def test_a_large_mask_is_the_liver_of_a_patient_without_tumor_and_that_is_said(read, others):
    for name in ("segmentation-7.nii", "liver_7.nii", "hcc_7.nii", "p1_liver.nii"):
        case = read(name, LIVER_ML, {}, others)
        assert case.liver.sum() == LIVER_ML * 50 and not case.tumor.any()
        assert any("taken as a liver without tumor, as in LiTS" in note for note in case.notes)


@pytest.mark.parametrize("name", ["p1_tumor.nii", "LiverTumor_p1.nii", "lesions.nii", "p1-metastases.nii", "肿瘤.nii"])
def test_a_mask_named_as_a_tumor_is_the_tumor_and_that_is_said(read, name):
    case = read(name, TUMOR_ML)
    assert case.tumor.sum() == TUMOR_ML * 50 and case.liver is None
    assert any("named as tumors" in note and "taken as the tumor" in note for note in case.notes)


@pytest.mark.parametrize(
    ("name", "ml", "reason"),
    [("p1.nii", TUMOR_ML, "little for a liver"), ("livertumor_p1_tumor.nii", LIVER_ML, "much for a tumor")],
)
def test_what_name_and_size_do_not_tell_is_asked(read, name, ml, reason):
    with pytest.raises(InputError, match=rf"{reason}.*--label 1=liver or --label 1=tumor"):
        read(name, ml)
    assert read(name, ml, {"1": "tumor"}).tumor.sum() == ml * 50
    assert read(name, ml, {"1": "liver"}).liver.sum() == ml * 50
    # said for both values, it is not the usual meaning that nobody asked for
    assert read(name, ml, {"1": "liver", "2": "tumor"}).liver.sum() == ml * 50


def test_dataset_json_is_asked_first(read, tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tumor": 1}}))
    assert read("p1.nii", LIVER_ML).tumor.sum() == LIVER_ML * 50


def test_a_tumor_is_not_taken_for_the_liver_that_no_tumor_leaves(tmp_path):
    path = write_nifti(tmp_path / "p1_tumor.nii", mask(TUMOR_ML), COARSE)
    with pytest.raises(InputError, match=r"named as a tumor, so its only value 1 is hardly the liver.*liver-label 1"):
        liver_of(read_labels(path))
    assert liver_of(read_labels(path), "1")[1] == (
        "The liver is taken to be 1, the only value of 'p1_tumor.nii' (12 ml), little for a liver: is it a tumor?",
    )
    _, (note,) = liver_of(read_labels(write_nifti(tmp_path / "mask.nii", mask(LIVER_ML), COARSE)))
    assert note == "The liver is taken to be 1, the only value of 'mask.nii' (1200 ml)."
    assert liver_of(read_labels(write_nifti(tmp_path / "p1_liver.nii", mask(TUMOR_ML), AFFINE)))[1] == ()


def test_names_of_sets_say_nothing():
    assert not any(map(is_named_tumor, ["hcc_3.nii", "liver_3.nii.gz", "tumorless.nii", "p1.nii", "CRLM-1.nrrd"]))
    assert not any(
        map(is_named_liver, ["liver_3.nii.gz", "liver-3.nii", "liver3.nii", "delivery.nii", "liver_tumor.nii"])
    )
