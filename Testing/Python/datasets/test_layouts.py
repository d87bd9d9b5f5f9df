"""Folders of public sets are understood as they are unpacked, and what is wrong with them is said."""

import numpy as np
import pytest
from cli_case import write_volume
from ircadb_case import SHAPE, Patient, boxes, hounsfield, usual_masks
from training_case import write_case

from SAMLiverTumorLib.datasets.cases import CaseFiles, find_cases, load_case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.label_files import compare_labels
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.spacing_check import doubtful_spacing
from SAMLiverTumorLib.training.samples.embedded_samples import SampleStore
from SAMLiverTumorLib.training.samples.prepare import labeled_cases, prepare
from SAMLiverTumorLib.training.settings import TrainSettings
from SAMLiverTumorLib.volume import Volume


@pytest.fixture
def touch(tmp_path):
    def touch(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return touch


def pairs(found, folder):
    """(patient, image, label) with paths below a folder."""
    return [
        (
            case.name,
            *(None if path is None else path.relative_to(folder).as_posix() for path in (case.image, case.label)),
        )
        for case in found
    ]


def msd(touch):
    names = [
        f"{kind}/{hidden}liver_{n}.nii.gz"
        for kind in ("imagesTr", "labelsTr")
        for hidden in ("", "._")
        for n in (10, 2)
    ]
    return touch(*names, "imagesTs/liver_200.nii.gz", "dataset.json")


@pytest.mark.parametrize(
    ("images", "labels"),
    [(".", "."), ("imagesTr", "labelsTr"), (".", "labelsTr"), ("imagesTr", ".")],
)
def test_the_decathlons_folder_is_paired_without_its_hidden_files(touch, images, labels):
    folder = msd(touch)
    assert pairs(find_cases(folder / images, folder / labels), folder) == [
        (f"liver_{n}", f"imagesTr/liver_{n}.nii.gz", f"labelsTr/liver_{n}.nii.gz") for n in (2, 10)
    ]


def test_the_decathlons_scans_can_be_taken_without_labels(touch):
    folder = msd(touch)
    assert [name for name, _, label in pairs(find_cases(folder, None), folder) if label is None] == [
        "liver_2",
        "liver_10",
    ]


def test_a_decathlon_label_that_is_missing_is_named(touch):
    folder = msd(touch)
    (folder / "labelsTr" / "liver_10.nii.gz").unlink()
    with pytest.raises(InputError, match=r"no label in .* for liver_10\.nii\.gz"):
        find_cases(folder, folder)


@pytest.mark.parametrize(
    "places",
    [
        ("", ""),
        ("Training Batch 1/", "Training Batch 1/"),
        ("volume_pt1/", "segmentations/"),
    ],
    ids=["one folder", "batches", "folders of each kind"],
)
def test_lits_is_paired_by_number(touch, places):
    images, labels = places
    names = [f"{images}volume-{n}.nii" for n in (3, 28, 130)] + [f"{labels}segmentation-{n}.nii" for n in (3, 28, 130)]
    folder = touch(*names)
    assert pairs(find_cases(folder, folder), folder) == [
        (str(n), f"{images}volume-{n}.nii", f"{labels}segmentation-{n}.nii") for n in (3, 28, 130)
    ]


def test_two_batches_of_lits_are_one_set(touch):
    folder = touch(*(f"batch {b}/{kind}-{n}.nii" for b, n in ((1, 3), (2, 28)) for kind in ("volume", "segmentation")))
    assert [name for name, *_ in pairs(find_cases(folder, folder), folder)] == ["3", "28"]


def test_a_folder_for_each_patient_or_for_each_kind_is_paired(touch):
    folder = touch("p1/ct.nii.gz", "p1/label.seg.nrrd", "p2/ct.nii.gz", "p2/label.nii.gz")
    assert [case[0] for case in pairs(find_cases(folder, folder), folder)] == ["p1", "p2"]
    folder = touch("set/images/a.nii.gz", "set/labels/a.nii.gz") / "set"
    assert pairs(find_cases(folder, folder), folder) == [("a", "images/a.nii.gz", "labels/a.nii.gz")]


@pytest.mark.parametrize(
    ("held", "name"), [("liver_4", "volume-4.nii"), ("lits8", "volume-8.nii"), ("liver_28", "3Dircadb1.1")]
)
def test_a_held_out_patient_is_known_by_its_name_in_another_set(tmp_path, held, name):
    if name.startswith("3D"):
        Patient(1).write(tmp_path)
    else:
        (tmp_path / name).touch()
        (tmp_path / name.replace("volume", "segmentation")).touch()
    find_cases(tmp_path, tmp_path, frozenset(["liver_27"]))
    with pytest.raises(InputError, match="held out"):
        find_cases(tmp_path, tmp_path, frozenset([held]))


@pytest.mark.parametrize("write", [Patient.write, Patient.write_zips, Patient.write_nested])
@pytest.mark.parametrize("one", [True, False], ids=["case", "set"])
def test_cases_of_3dircadb_are_image_and_label_at_once(tmp_path, write, one):
    path = write(Patient(1), tmp_path)
    (files,) = find_cases(path if one else tmp_path, path if one else tmp_path)
    assert files.name == "3Dircadb1_1" and files.image == files.label
    case = load_case(files)
    masks = usual_masks()
    tumor = masks["livertumor01"] | masks["livertumor02"]
    assert (case.tumor == tumor).all() and (case.volume.array == hounsfield(masks)).all()
    # the cyst is liver, the adrenal tumor is nothing
    assert (case.liver == masks["liver"] | tumor).all() and case.notes == ()


def test_scans_of_3dircadb_can_be_taken_without_labels(tmp_path):
    Patient(1).write(tmp_path)
    (files,) = find_cases(tmp_path, None)
    assert files.label is None
    with pytest.raises(InputError, match="has no labels"):
        load_case(files)


def test_labels_of_ones_own_may_go_with_scans_of_3dircadb(tmp_path):
    Patient(1).write(tmp_path / "set")
    affine = np.array([[-0.8, 0, 0, 20], [0, -0.8, 0, 30], [0, 0, 2, 100], [0, 0, 0, 1.0]])
    label = np.zeros(SHAPE, np.uint8)
    label[3, 5:9, 5:9] = 2
    (tmp_path / "mine").mkdir()
    write_volume(tmp_path / "mine" / "3Dircadb1.1_label.nii.gz", Volume(label, affine))
    (files,) = find_cases(tmp_path / "set", tmp_path / "mine")
    assert (load_case(files).tumor == (label == 2)).all()


def test_a_patient_without_liver_tumor_is_a_case_with_none(tmp_path):
    masks = boxes(liver=((1, 4, 4), (10, 30, 30)), tumor=((4, 30, 36), (6, 34, 40)))
    (files,) = find_cases(Patient(7, masks).write(tmp_path), tmp_path)
    case = load_case(files)
    assert not case.tumor.any() and (case.liver == masks["liver"]).all()


def test_one_patient_under_two_names_is_refused(tmp_path):
    Patient(1).write(tmp_path / "ircadb")
    write_case(tmp_path / "lits", "liver_28")
    write_case(tmp_path / "lits", "liver_27")
    places = (str(tmp_path / "ircadb"), str(tmp_path / "lits"))
    with pytest.raises(InputError, match="3Dircadb1_1 and liver_28 are very probably the same patient"):
        labeled_cases(TrainSettings(places, places))
    chosen = labeled_cases(TrainSettings(places, places, cases=("3Dircadb1_1", "liver_27")))
    assert [case.name for case in chosen] == ["3Dircadb1_1", "liver_27"]


def test_training_prepares_patients_of_3dircadb_without_naming_labels(tmp_path):
    masks = boxes(liver=((1, 2, 2), (11, 34, 40)), livertumor=((3, 8, 8), (7, 20, 22)))
    for number in (2, 3):
        Patient(number, masks).write_zips(tmp_path / "set")
    Patient(5, {"liver": masks["liver"]}).write(tmp_path / "set")
    store = SampleStore(tmp_path / "store", "0" * 64, "longest", lambda *_: np.zeros((256, 64, 64), np.float16))
    settings = TrainSettings((str(tmp_path / "set"),), validation=("3Dircadb1_3",), copies=0, negatives=1)
    notes = []
    prepared = prepare(settings, store, note=notes.append)
    by_case = [(sample.case, bool(sample.numbers)) for sample in prepared.train]
    # four slices with tumor and one of liver without; of patient 5 only the latter
    assert by_case.count(("3Dircadb1_2", True)) == 4 and by_case.count(("3Dircadb1_2", False)) == 1
    assert by_case.count(("3Dircadb1_5", True)) == 0 and by_case.count(("3Dircadb1_5", False)) == 1
    assert {sample.case for sample in prepared.validation} == {"3Dircadb1_3"}
    assert len(notes) == 1 and notes[0].startswith("3Dircadb1_2, 3Dircadb1_3, 3Dircadb1_5: very probably 29, 30, 32 of")


@pytest.mark.parametrize(
    ("dimensions", "spacing", "doubtful"),
    [
        ((512, 512, 129), (1, 1, 1), True),
        ((512, 129, 512), (1, 1, 1), True),
        ((512, 512, 129), (0.74, 0.74, 1), False),
        ((512, 512, 129), (0.976, 0.976, 1), False),
        ((400, 400, 400), (1, 1, 1), False),
        ((380, 300, 1800), (1, 1, 1), False),
    ],
)
def test_a_spacing_that_was_lost_is_told_from_one_that_can_be(dimensions, spacing, doubtful):
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, 1]]) * spacing
    assert bool(doubtful_spacing(dimensions, turned, "x")) is doubtful


def test_a_lost_spacing_is_said_and_the_case_is_read(tmp_path):
    image = np.zeros((2, 512, 512), np.int16)
    label = (image == 0).astype(np.uint8)
    for name, array in (("volume-28.nii", image), ("segmentation-28.nii", label)):
        write_volume(tmp_path / name, Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0])))
    (files,) = find_cases(tmp_path, tmp_path)
    case = load_case(files)
    assert case.liver.all() and len(case.notes) == 2
    assert "spacing of '28' is 1 x 1 x 1 mm, which cannot be true" in case.notes[0]


def test_a_file_beside_a_zip_file_named_as_image_and_label_is_not_confused(tmp_path):
    path = Patient(1).write_nested(tmp_path)
    assert find_cases(path, path) == [CaseFiles("3Dircadb1_1", *[path / "3Dircadb1.1"] * 2)]


def test_a_lost_spacing_is_said_in_an_evaluation():
    array = np.zeros((1, 512, 512), np.uint8)
    array[0, 100:110, 100:110] = 1
    for affine, said in ((np.eye(4), 1), (np.diag([0.74, 0.74, 1, 1]), 0)):
        labels = LabelFile("segmentation-28.nii", (array,), {"1": (0, 1)}, affine)
        notes = compare_labels(labels, labels, label="1").notes
        assert sum("1 x 1 x 1 mm, which cannot be true" in note for note in notes) == said
