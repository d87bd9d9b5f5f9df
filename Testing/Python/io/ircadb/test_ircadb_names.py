"""What folders and patients of 3D-IRCADb are: structures with codes, tumors elsewhere, patients in LiTS."""

import pytest

from SAMLiverTumorLib.io.ircadb.lits_cases import LITS_NUMBERS, doubles, overlap_note, patient_number, same_in_lits
from SAMLiverTumorLib.io.ircadb.structures import structure_of
from SAMLiverTumorLib.io.labels.segment_details import details_of_tags
from SAMLiverTumorLib.io.labels.terminology import terminology_of_name


@pytest.mark.parametrize(
    "folder", ["livertumor", "livertumors", "livertumor1", "livertumor01", "livertumor12", "LiverTumor", "livertumour"]
)
def test_liver_tumors_are_known_however_they_are_spelled(folder):
    assert structure_of(folder).is_liver_tumor


@pytest.mark.parametrize(
    "folder",
    [
        *("liver", "livercyst", "liverkyst", "liverkyste", "leftsurretumor", "rightsurretumor", "leftsurrenaltumor"),
        *("rightsurrenaltumor", "tumor", "metastasectomie", "Hyperplasie", "portalvein", "lungtumor", "unknown"),
    ],
)
def test_false_friends_are_no_liver_tumors(folder):
    assert not structure_of(folder).is_liver_tumor


@pytest.mark.parametrize(
    ("folder", "name", "codes"),
    [
        ("liver", "liver", "SCT^10200004^Liver"),
        ("livertumor03", "livertumor03", "SCT^4147007^Mass~^^~Anatomic codes - DICOM master list~SCT^10200004^Liver"),
        ("liverkyste", "liver cyst", "SCT^367643001^Cyst~^^~Anatomic codes - DICOM master list~SCT^10200004^Liver"),
        ("rightsurretumor", "right adrenal tumor", "SCT^23451007^Adrenal gland~SCT^24028007^Right"),
        ("leftsurrenalgland", "left adrenal gland", "SCT^23451007^Adrenal gland~SCT^7771000^Left"),
        ("surrenalgland", "adrenal glands", "SCT^23451007^Adrenal gland~SCT^51440002^Right and left"),
        ("rightkidney", "right kidney", "SCT^64033007^Kidney~SCT^24028007^Right"),
        ("kidneys", "kidneys", "SCT^64033007^Kidney~SCT^51440002^Right and left"),
        ("lungs", "lungs", "SCT^39607008^Lung~SCT^51440002^Right and left"),
        ("portalvein1", "portal vein 1", "SCT^32764006^Portal vein"),
        ("smallintestin", "small intestine", "SCT^30315005^Small Intestine"),
        ("something new", "something new", "SCT^85756007^Tissue"),
    ],
)
def test_structures_have_names_and_codes(folder, name, codes):
    structure = structure_of(folder)
    assert structure.name == name and codes in str(structure.term)
    assert structure.is_liver_tumor or (len(structure.color) == 3 and max(structure.color) <= 1)


def test_terms_are_those_of_all_other_segments_and_keep_their_list_through_text():
    assert structure_of("livertumor03").term == terminology_of_name("Liver tumor")
    assert structure_of("liver").term == terminology_of_name("Liver")
    # Slicer shows a segment's term only where the list it is named with has it
    vein = str(structure_of("portalvein").term)
    assert vein.startswith("Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~")
    assert str(details_of_tags({"TerminologyEntry": vein}).meaning("portal vein")) == vein


def test_patients_are_cases_of_lits_as_users_found():
    assert len(LITS_NUMBERS) == 20 and {27, 45} & set(LITS_NUMBERS) == set()
    assert [same_in_lits(f"3Dircadb1.{n}") for n in (1, 17, 18, 20)] == [28, 44, 46, 48]
    note = overlap_note(["p3", "3Dircadb1.4", "3Dircadb1_18"])
    assert note.startswith("3Dircadb1.4, 3Dircadb1_18: very probably 31, 46 of LiTS") and "users' comparison" in note
    assert overlap_note(["liver_31"]) == ""


@pytest.mark.parametrize("name", ["3Dircadb2.1", "3Dircadb1.21", "3Dircadb1.0", "liver_28", "1"])
def test_other_data_are_no_patients_of_it(name):
    assert patient_number(name) is None


def test_one_patient_under_two_names_is_found():
    names = ["3Dircadb1.18", "3Dircadb1_2", "liver_46", "45", "volume-29", "p3"]
    assert doubles(names) == [("3Dircadb1.18", "liver_46"), ("3Dircadb1_2", "volume-29")]
