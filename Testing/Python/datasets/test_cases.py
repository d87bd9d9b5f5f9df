"""Which files belong together, which patients may be used, and which labels can be read."""

import numpy as np
import pytest
from cli_case import write_volume
from training_case import SIZE, scan, write_case

from SAMLiverTumorLib.datasets.cases import CaseFiles, find_cases, load_case, patient_of, read_hold_out
from SAMLiverTumorLib.datasets.split import split_patients, split_slices
from SAMLiverTumorLib.errors import InputError
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


@pytest.fixture
def write(tmp_path):
    """Write one case from arrays (k, j, i) and affines; its files."""

    def write(image, label, image_affine=None, label_affine=None):
        affine = np.diag([-2.0, -2.0, 5.0, 1.0])
        paths = [tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz"]
        for path, array, at in zip(paths, (image, label), (image_affine, label_affine), strict=True):
            write_volume(path, Volume(array, affine if at is None else at, path.name))
        return CaseFiles("p", *paths)

    return write


@pytest.fixture
def store(tmp_path):
    """A store whose encoder sees nothing."""
    return SampleStore(tmp_path / "store", "0" * 64, "longest", lambda *_: np.zeros((256, 64, 64), np.float16))


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("volume-7.nii", "7"),
        ("segmentation-7.nii", "7"),
        ("liver_7_ct8.nii.gz", "liver_7"),
        ("Liver_7_Label.nii.gz", "Liver_7"),
        ("case_0000.nrrd", "case"),
        ("patient7/ct.nii.gz", "patient7"),
        ("patient7/label.seg.nrrd", "patient7"),
        ("a.b_ct.mha", "a_b"),
    ],
)
def test_a_files_name_says_its_patient(name, patient):
    assert patient_of(name) == patient


def test_files_of_one_patient_are_paired_in_natural_order(touch):
    folder = touch(*(f"{kind}-{n}.nii" for n in (10, 2, 1) for kind in ("volume", "segmentation")), "notes.txt")
    found = find_cases(folder, folder)
    assert [(case.name, case.image.name, case.label.name) for case in found] == [
        (str(n), f"volume-{n}.nii", f"segmentation-{n}.nii") for n in (1, 2, 10)
    ]


def test_folders_of_images_and_labels_are_paired_by_name(touch):
    folder = touch("images/a.nii.gz", "images/b/1.dcm", "labels/a.nii.gz", "labels/b.seg.nrrd")
    found = find_cases(folder / "images", folder / "labels")
    assert [(case.name, case.image.name, case.label.name) for case in found] == [
        ("a", "a.nii.gz", "a.nii.gz"),
        ("b", "b", "b.seg.nrrd"),
    ]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a_ct.nii", "b_ct.nii", "b_label.nii"], "no label in .* for a_ct.nii"),
        (["a_label.nii", "b_ct.nii", "b_label.nii"], "no image in .* for a_label.nii"),
        (["a_ct.nii", "a_ct.nrrd", "a_label.nii"], "same patient, 'a'"),
        (["notes.txt"], "no image files"),
    ],
)
def test_what_does_not_pair_is_refused(touch, names, told):
    folder = touch(*names)
    with pytest.raises(InputError, match=told):
        find_cases(folder, folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_cases(tmp_path / "none", tmp_path)


def test_held_out_patients_are_refused_however_they_are_spelled(touch):
    folder = touch("liver_4_ct8.nii", "liver_4_label.nii")
    (folder / "held.txt").write_text("# judged on\nliver_4_label.nii  # this one\n\n")
    held = read_hold_out(folder / "held.txt")
    assert held == {"liver_4_label.nii"}
    with pytest.raises(InputError, match="liver_4 is held out"):
        find_cases(folder, folder, held)
    with pytest.raises(InputError, match="cannot be read"):
        read_hold_out(folder / "none.txt")


def test_a_held_out_patient_can_be_left_out_by_choosing_others(touch):
    folder = touch(*(f"{n}_{kind}.nii" for n in "ab" for kind in ("ct", "label")))
    (folder / "held.txt").write_text("a")
    settings = TrainSettings((str(folder),), (str(folder),), hold_out=str(folder / "held.txt"), cases=("b",))
    assert [case.name for case in labeled_cases(settings)] == ["b"]
    with pytest.raises(InputError, match="a is held out"):
        labeled_cases(TrainSettings((str(folder),), (str(folder),), hold_out=str(folder / "held.txt")))


def test_one_patient_in_two_folders_is_refused(touch):
    folder = touch(*(f"{place}/a_{kind}.nii" for place in ("x", "y") for kind in ("ct", "label")))
    places = (str(folder / "x"), str(folder / "y"))
    with pytest.raises(InputError, match="'a' is in two of the folders"):
        labeled_cases(TrainSettings(places, places))


def test_labels_become_tumor_and_liver_with_the_tumor_in_it(write):
    label = np.zeros((3, 8, 8), np.uint8)
    label[1, 2:6, 2:6] = 1
    label[1, 3:5, 3:5] = 2
    case = load_case(write(label.astype(np.int16), label))
    assert (case.tumor == (label == 2)).all() and (case.liver == (label > 0)).all()
    turned = load_case(write(label.astype(np.int16), label), {"1": "tumor", "2": "ignore"})
    assert (turned.tumor == (label == 1)).all() and turned.liver is None


def test_labels_of_another_size_are_refused(write):
    with pytest.raises(InputError, match=r"different sizes.*resample"):
        load_case(write(np.zeros((3, 8, 8), np.int16), np.ones((3, 8, 9), np.uint8)))


def test_labels_in_another_place_are_refused(write):
    place = np.diag([-2.0, -2.0, 5.0, 1.0])
    place[:3, 3] = 10.0, 10.0, 10.0
    moved = place.copy()
    moved[0, 3] = 13.0
    with pytest.raises(InputError, match=r"different places.*up to 3\)"):
        load_case(write(np.zeros((3, 8, 8), np.int16), np.ones((3, 8, 8), np.uint8), place, moved))


def test_a_label_value_without_meaning_is_refused_with_what_to_give(write):
    label = np.zeros((3, 8, 8), np.uint8)
    label[1, 1:3] = 7
    with pytest.raises(InputError, match=r"value 7, whose meaning .*--label 7=tumor"):
        load_case(write(label.astype(np.int16), label))


def test_patients_are_drawn_by_the_seed_and_never_in_two_parts():
    names = [f"p{n}" for n in range(8)]
    split = split_patients(names, (), ("p3",), 0.25, seed=1)
    assert split == split_patients(names, (), ("p3",), 0.25, seed=1)
    assert len(split.validation) == 2 and split.test == ("p3",)
    assert sorted([*split.train, *split.validation, *split.test]) == names
    others = {split_patients(names, (), (), 0.25, seed).validation for seed in range(8)}
    assert len(others) > 1


@pytest.mark.parametrize(
    ("validation", "test", "told"),
    [
        (["x"], [], "no patient x"),
        (["a"], ["a"], "a cannot be for validation and for the test"),
        (["a", "b"], [], "left to train on"),
        ([], ["a"], "left for validation"),
        (["a"], ["b"], "left to train on"),
    ],
)
def test_impossible_splits_are_refused(validation, test, told):
    with pytest.raises(InputError, match=told):
        split_patients(["a", "b"], validation, test, 0.25, 0)


def test_slices_of_one_volume_are_split_with_a_gap_of_ten_millimeters():
    # a quarter of twelve is three; slice 7 lies 2 x 5 mm from slice 9
    assert split_slices(list(range(12)), 5.0, 0.25) == (list(range(8)), [9, 10, 11])
    with pytest.raises(InputError, match="too few"):
        split_slices([3, 4, 5], 2.0, 0.25)


def test_a_single_patient_is_split_by_slices_and_that_is_said(tmp_path, store):
    write_case(tmp_path / "cases", "p1", slices=9, with_tumor=range(1, 9))
    settings = TrainSettings((str(tmp_path / "cases"),), (str(tmp_path / "cases"),), copies=0, negatives=0)
    prepared = prepare(settings, store)
    slices = [[int(sample.name.split()[-1]) for sample in part] for part in (prepared.train, prepared.validation)]
    # eight slices with tumor, two for validation, and 10 mm to the next that is learned from
    assert slices == [[1, 2, 3, 4, 5], [7, 8]]
    assert "do not generalize to other patients" in prepared.split.note


def test_whole_patients_are_prepared_with_their_negatives_and_hashes(tmp_path, store):
    for number in (1, 2):
        write_case(tmp_path / "cases", f"p{number}", seed=number)
    folder = (str(tmp_path / "cases"),)
    settings = TrainSettings(folder, folder, validation=("p2",), copies=0, negatives=1)
    prepared = prepare(settings, store)
    assert [(sample.case, sample.numbers) for sample in prepared.train] == [("p1", (1,))] * 3 + [("p1", ())]
    assert {sample.case for sample in prepared.validation} == {"p2"} and prepared.test == ()
    assert set(prepared.hashes) == {"p1", "p2"} and len(set(prepared.hashes.values())) == 2


@pytest.mark.parametrize(("empty", "what"), [("p1", "train on in p1"), ("p2", "validate on in p2")])
def test_a_part_without_tumor_is_refused(tmp_path, store, empty, what):
    for name in ("p1", "p2"):
        write_case(tmp_path / "cases", name, with_tumor=() if name == empty else (2,))
    folder = (str(tmp_path / "cases"),)
    with pytest.raises(InputError, match=f"no tumor of at least 50 pixels on a slice to {what}"):
        prepare(TrainSettings(folder, folder, validation=("p2",), copies=0), store)


def test_the_scan_of_these_tests_is_what_it_says():
    volume, labels = scan(center=(32, 30), radius=10)
    assert volume.array.shape == (5, SIZE, SIZE)
    # a disc of radius 10
    assert (labels.array[2] == 2).sum() == pytest.approx(np.pi * 100, rel=0.05)
    assert not (labels.array[[0, 4]] == 2).any()
