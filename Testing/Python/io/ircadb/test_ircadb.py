"""3D-IRCADb is read as it is delivered, in the right place and order, and tumors elsewhere are no liver tumors."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ircadb_case import ORIGIN, SHAPE, SPACING, Patient, boxes, hounsfield, labels_of, slice_bytes, usual_masks

from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.io.ircadb.cases import find_ircadb, is_ircadb, read_ircadb


@pytest.fixture
def patient():
    return Patient()


def careless(patient, folder):
    """PATIENT_DICOM/PATIENT_DICOM/ and the like, within 3Dircadb1.1/3Dircadb1.1/."""
    files = {}
    for path, content in patient.files().items():
        kind, _, rest = path.partition("/")
        files[f"{patient.name}/{kind}/{kind}/{rest}"] = content
    return patient.write(folder, files)


def partly(patient, folder):
    """Masks unpacked, the patient's slices not yet."""
    case = patient.write_zips(folder)
    with zipfile.ZipFile(case / "MASKS_DICOM.zip") as archive:
        archive.extractall(case)
    (case / "MASKS_DICOM.zip").unlink()
    (case / "MASKS_DICOM" / ".DS_Store").write_bytes(b"x")
    (case / "MASKS_DICOM" / "liver" / "Thumbs.db").write_bytes(b"x")
    return case


@pytest.mark.parametrize(
    "write",
    [
        lambda patient, folder: patient.write(folder),
        lambda patient, folder: patient.write_zips(folder),
        lambda patient, folder: patient.write_nested(folder),
        careless,
        partly,
    ],
    ids=["folders", "four zip files", "zip files in a zip file", "folders in folders", "partly unpacked"],
)
def test_every_way_of_delivery_gives_the_same_case(write, patient, tmp_path):
    case = read_ircadb(write(patient, tmp_path))
    assert case.name == "3Dircadb1.1" and case.notes == ()
    assert (case.volume.array == hounsfield(patient.masks)).all() and case.volume.array.dtype == np.int16
    assert {each.structure.folder for each in case.outlined} == set(patient.masks)
    for each in case.outlined:
        assert (each.mask.full() == patient.masks[each.structure.folder]).all(), each.structure.folder


def test_slices_lie_where_their_positions_say_whatever_their_numbers(patient, tmp_path):
    case = read_ircadb(patient.write(tmp_path))
    assert case.volume.spacing == pytest.approx(SPACING)
    # LPS to RAS: the first two coordinates change their signs
    corner = case.volume.ijk_to_ras @ [2, 3, 4, 1]
    expected = [-(ORIGIN[0] + 2 * SPACING[0]), -(ORIGIN[1] + 3 * SPACING[1]), ORIGIN[2] + 4 * SPACING[2]]
    assert corner[:3] == pytest.approx(expected)


def test_slices_that_run_from_head_to_feet_are_the_same_volume(patient, tmp_path):
    files = patient.files()
    turned = Patient(order=patient.order[::-1]).files()
    assert turned.keys() == files.keys()
    case = read_ircadb(patient.write(tmp_path, turned))
    assert (case.volume.array == hounsfield(patient.masks)).all()
    assert (case.liver_tumor.full() == patient.masks["livertumor01"] | patient.masks["livertumor02"]).all()


def test_folders_of_liver_tumors_are_merged_and_kept_apart(patient, tmp_path):
    case = read_ircadb(patient.write(tmp_path))
    first, second = patient.masks["livertumor01"], patient.masks["livertumor02"]
    assert (case.liver_tumor.full() == first | second).all()
    assert [each.structure.folder for each in case.tumors] == ["livertumor01", "livertumor02"]
    names = [each.structure.name for each in case.segments]
    assert names == [
        "liver tumor",
        *("left adrenal tumor", "liver", "liver cyst", "livertumor01", "livertumor02", "portal vein", "skin"),
    ]
    # 3 x 6 x 7 and 3 x 6 x 4 voxels
    assert case.liver_tumor.volume_ml == pytest.approx((126 + 72) * 0.8 * 0.8 * 2.0 / 1000)


def test_one_folder_of_liver_tumors_is_one_segment(tmp_path):
    masks = boxes(liver=((1, 4, 4), (10, 30, 30)), livertumors=((4, 8, 8), (7, 14, 15)))
    case = read_ircadb(Patient(19, masks).write(tmp_path))
    assert [each.structure.name for each in case.segments] == ["liver tumor", "liver"]


def test_only_the_liver_and_its_tumors_are_read_for_training(patient, tmp_path):
    files = patient.files()
    broken = {p: b"damaged" if "portalvein" in p or "LABELLED" in p else content for p, content in files.items()}
    case = read_ircadb(patient.write(tmp_path, broken), liver_only=True)
    assert [each.structure.folder for each in case.outlined] == ["liver", "livertumor01", "livertumor02"]
    assert (case.liver.full() == patient.masks["liver"]).all()


def test_a_patient_without_liver_tumor_has_an_empty_one(tmp_path):
    masks = boxes(liver=((1, 4, 4), (10, 30, 30)), tumor=((4, 30, 36), (6, 34, 40)))
    case = read_ircadb(Patient(7, masks).write(tmp_path))
    assert case.liver_tumor.count == 0 and case.tumors == () and case.notes == ()
    assert [each.structure.name for each in case.segments] == ["liver", "tumor outside the liver"]


def test_missing_tumors_are_noticed_by_the_patients_number(tmp_path):
    masks = boxes(liver=((1, 4, 4), (10, 30, 30)))
    assert "should have liver tumors" in read_ircadb(Patient(3, masks).write(tmp_path)).notes[0]
    masks |= boxes(livertumor=((4, 8, 8), (7, 14, 15)))
    assert "has none" in read_ircadb(Patient(5, masks).write(tmp_path)).notes[0]


def test_a_mask_that_differs_from_the_labels_is_named_with_the_voxels(tmp_path):
    masks = usual_masks()
    labels = labels_of(masks)
    # 2 x 2 x 2 voxels of the portal vein are labeled liver, 1 x 2 x 2 next to the cyst are labeled cyst
    labels[5:7, 14:16, 16:18] = 20
    labels[3, 20:22, 8:10] = 50
    notes = read_ircadb(Patient(1, masks, labels=labels).write(tmp_path)).notes
    # 3 x 3 x 10 and 2 x 3 x 3 voxels
    assert "portalvein: mask and LABELLED_DICOM differ in 8 voxels (8.9% of the mask)." in notes
    assert "liverkyst: mask and LABELLED_DICOM differ in 4 voxels (22.2% of the mask)." in notes
    assert len(notes) == 2


def test_labels_without_a_mask_are_noticed(patient, tmp_path):
    files = {path: content for path, content in patient.files().items() if "leftsurretumor" not in path}
    notes = read_ircadb(patient.write(tmp_path, files)).notes
    # in skin's mask as well, as everything: only the label itself tells
    assert notes == ()
    masks = {name: mask for name, mask in patient.masks.items() if name not in ("skin", "leftsurretumor")}
    labels = labels_of(patient.masks)
    labels[labels == 10] = 0
    notes = read_ircadb(Patient(1, masks, labels=labels).write(tmp_path / "bare")).notes
    assert notes == ("LABELLED_DICOM has 32 voxels of value 70 that are in no mask: is one missing?",)


def test_without_labels_it_is_said_that_nothing_was_checked(patient, tmp_path):
    case = patient.write(tmp_path)
    shutil.rmtree(case / "LABELLED_DICOM")
    assert "could not be checked" in read_ircadb(case).notes[0]


def test_labels_that_cannot_be_read_are_noted_and_the_case_is_read(patient, tmp_path):
    case = patient.write(tmp_path)
    (case / "LABELLED_DICOM" / "image_4").unlink()
    (note,) = read_ircadb(case).notes
    assert "was not compared" in note and "lacks 1 of 12 slices, those of image_4" in note


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: (c / "PATIENT_DICOM" / "image_5").unlink(), "missing or doubled"),
        (lambda c: shutil.copy(c / "PATIENT_DICOM" / "image_5", c / "PATIENT_DICOM" / "copy"), "missing or doubled"),
        (lambda c: (c / "MASKS_DICOM" / "liver" / "image_5").unlink(), "lacks 1 of 12 slices, those of image_5"),
        (lambda c: shutil.copy(c / "MASKS_DICOM/liver/image_5", c / "MASKS_DICOM/liver/x"), "lies where"),
        (
            lambda c: (c / "MASKS_DICOM" / "liver" / "image_5").write_bytes(b"no DICOM"),
            r"liver/image_5' cannot be read",
        ),
        (lambda c: (c / "PATIENT_DICOM" / "image_5").write_bytes(b""), r"PATIENT_DICOM/image_5' cannot be read"),
        (lambda c: shutil.rmtree(c / "PATIENT_DICOM"), "holds no PATIENT_DICOM"),
        (lambda c: shutil.rmtree(c / "MASKS_DICOM"), "holds no PATIENT_DICOM with MASKS_DICOM"),
        (lambda c: [p.unlink() for p in (c / "MASKS_DICOM" / "liver").iterdir()], "liver' holds no slices"),
        (lambda c: [p.unlink() for p in (c / "PATIENT_DICOM").iterdir()], "PATIENT_DICOM' holds no slices"),
    ],
)
def test_a_case_that_is_not_whole_is_refused(change, told, patient, tmp_path):
    case = patient.write(tmp_path)
    change(case)
    with pytest.raises(InputError, match=told):
        read_ircadb(case)


@pytest.mark.parametrize(
    ("pixels", "elements", "told"),
    [
        ((40, 48), {"ImagePositionPatient": [-20, -30, 300]}, "does not lie on the patient's slices"),
        ((40, 48), {"ImagePositionPatient": [-18, -30, 100]}, "does not lie on the patient's slices"),
        ((40, 48), {"PixelSpacing": [0.9, 0.9]}, "does not lie on the patient's slices"),
        ((40, 50), {}, "another size"),
        ((40, 48), {"NumberOfFrames": 2}, "2 frames"),
        ((40, 48), {"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels"),
        ((40, 48), {"ImagePositionPatient": ["nan", 0, 0]}, "cannot be read"),
    ],
)
def test_a_mask_in_another_place_is_refused(pixels, elements, told, patient, tmp_path):
    case = patient.write(tmp_path)
    path = case / "MASKS_DICOM" / "liver" / f"image_{patient.order[0]}"
    path.write_bytes(slice_bytes(np.zeros(pixels), 0, dtype=np.uint8, **elements))
    with pytest.raises(InputError, match=told):
        read_ircadb(case)


def test_masks_without_positions_are_placed_by_their_file_names_and_that_is_said(patient, tmp_path):
    case = patient.write(tmp_path)
    for k, number in enumerate(patient.order):
        content = slice_bytes(np.where(patient.masks["liver"][k], 255, 0), k, dtype=np.uint8, position=False)
        (case / "MASKS_DICOM" / "liver" / f"image_{number}").write_bytes(content)
    read = read_ircadb(case)
    assert (read.liver.full() == patient.masks["liver"]).all()
    assert read.notes == ("liver: the mask's slices have no positions; they were placed by their file names.",)


def test_a_rescale_copied_into_a_masks_header_does_not_fill_it(patient, tmp_path):
    case = patient.write(tmp_path)
    for k, number in enumerate(patient.order):
        content = slice_bytes(np.where(patient.masks["liver"][k], 255, 0), k, intercept=-1024, dtype=np.uint8)
        (case / "MASKS_DICOM" / "liver" / f"image_{number}").write_bytes(content)
    assert (read_ircadb(case).liver.full() == patient.masks["liver"]).all()


def test_a_mask_of_several_values_is_said(patient, tmp_path):
    case = patient.write(tmp_path)
    path = case / "MASKS_DICOM" / "liver" / f"image_{patient.order[4]}"
    path.write_bytes(slice_bytes(np.where(patient.masks["liver"][4], 128, 0), 4, dtype=np.uint8))
    read = read_ircadb(case)
    assert (read.liver.full() == patient.masks["liver"]).all()
    assert "liver: the mask has the values 128, 255 instead of one; all of them count." in read.notes


def test_a_sheared_stack_is_refused(patient, tmp_path):
    files = patient.files()
    for k, number in enumerate(patient.order):
        files[f"PATIENT_DICOM/image_{number}"] = slice_bytes(
            np.zeros(SHAPE[1:]), k, ImagePositionPatient=[0, 0.4 * k, 2.0 * k]
        )
    with pytest.raises(InputError, match="sheared"):
        read_ircadb(patient.write(tmp_path, files))


def test_a_set_lists_its_patients_by_number(tmp_path):
    for number in (10, 2, 1):
        Patient(number).write(tmp_path / "3Dircadb1") if number != 2 else Patient(2).write_nested(
            tmp_path / "3Dircadb1"
        )
    (tmp_path / "3Dircadb1" / "3Dircadb1.3").mkdir()
    (tmp_path / "3Dircadb1" / "notes.txt").write_text("mine")
    (tmp_path / "3Dircadb1" / "holiday.zip").write_text("not looked into")
    found = find_ircadb(tmp_path / "3Dircadb1")
    assert [case.name for case in found] == ["3Dircadb1.1", "3Dircadb1.2", "3Dircadb1.10"]
    assert [read_ircadb(case.path).name for case in found] == [case.name for case in found]
    with pytest.raises(InputError, match="holds 3 cases"):
        read_ircadb(tmp_path / "3Dircadb1")


def test_a_whole_set_in_one_zip_file_is_read(tmp_path):
    inner = {number: Patient(number).write_nested(tmp_path / "made") for number in (1, 2)}
    path = tmp_path / "3Dircadb1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, case in inner.items():
            archive.write(case, f"3Dircadb1/3Dircadb1.{number}.zip")
    found = find_ircadb(path)
    assert [case.name for case in found] == ["3Dircadb1.1", "3Dircadb1.2"]
    assert read_ircadb(found[1].path).liver_tumor.count == 198
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3Dircadb1.zip", "made"]


def test_a_renamed_case_keeps_its_folders_name(patient, tmp_path):
    case = patient.write(tmp_path)
    assert read_ircadb(case.rename(tmp_path / "mine")).name == "mine"
    nested = patient.write_nested(tmp_path / "zip")
    assert read_ircadb(nested.rename(tmp_path / "download (1).zip")).name == "3Dircadb1.1"


def test_other_folders_are_not_taken_for_it(patient, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "ct.nii.gz").touch()
    assert not is_ircadb(tmp_path / "a") and not is_ircadb(tmp_path / "a" / "ct.nii.gz") and not is_ircadb("none")
    assert is_ircadb(patient.write(tmp_path / "c")) and is_ircadb(tmp_path / "c")
    assert is_ircadb(patient.write_nested(tmp_path / "d")) and is_ircadb(tmp_path / "d")
    with pytest.raises(InputError, match="no case of 3D-IRCADb"):
        find_ircadb(tmp_path / "a")


def test_progress_counts_every_slice_and_cancel_stops(patient, tmp_path):
    case = patient.write(tmp_path)
    seen = []
    read_ircadb(case, progress=lambda done, total: seen.append((done, total)))
    # the patient, the labels and seven masks
    assert seen == [(n, 9 * 12) for n in range(1, 9 * 12 + 1)]
    seen.clear()
    with pytest.raises(Cancelled):
        read_ircadb(case, progress=lambda *now: seen.append(now), cancel=lambda: len(seen) == 20)
    assert len(seen) == 20


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_header_or_archive_is_told_as_the_users_to_mend(seed, patient, tmp_path):
    rng = np.random.default_rng(seed)
    masks = {name: patient.masks[name] for name in ("liver", "livertumor01")}
    files = Patient(1, masks).files()
    nested = bytearray(Patient(1, masks).write_nested(tmp_path).read_bytes())
    paths = [path for path in files if path.startswith(("PATIENT", "MASKS"))]
    for number in range(40):
        path = paths[rng.integers(len(paths))]
        content = bytearray(files[path])
        for _ in range(rng.integers(1, 20)):
            content[rng.integers(900)] = rng.integers(256)
        changed = nested.copy()
        for _ in range(rng.integers(1, 20)):
            changed[rng.integers(len(changed))] = rng.integers(256)
        (tmp_path / "zip").mkdir(exist_ok=True)
        place = tmp_path / "zip" / "3Dircadb1.1.zip"
        place.write_bytes(changed)
        damaged = Patient(1, masks).write(tmp_path / "folder", files if number else None)
        (damaged / path).write_bytes(content)
        for case in (place, damaged):
            try:
                assert read_ircadb(case).volume.dimensions == SHAPE[::-1]
            except InputError as error:
                assert str(error)
        (damaged / path).write_bytes(files[path])


def test_a_meta_header_of_a_wrong_length_is_told(patient, tmp_path):
    case = patient.write(tmp_path)
    path = case / "MASKS_DICOM" / "liver" / "image_5"
    content = bytearray(path.read_bytes())
    # the length of the first element, which pydicom answers with an exception of its own
    content[136:140] = b"UL\x6a\x09"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"image_5' cannot be read"):
        read_ircadb(case)


def test_the_users_files_are_only_read(patient, tmp_path):
    case = patient.write_zips(tmp_path)
    before = {path: path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()}
    read_ircadb(case)
    assert {path: path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()} == before
