"""What `dataset.json` says label values mean is what they mean; where it is not clear, its words are in the refusal."""

import json

import numpy as np
import pytest
from cli_case import write_volume
from training_case import scan

from SAMLiverTumorLib.batch.jobs import BatchSettings, Job
from SAMLiverTumorLib.batch.worker import _compare
from SAMLiverTumorLib.cli.compare_files import read_cases
from SAMLiverTumorLib.datasets.cases import LITS_VALUES, find_cases, load_case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.dataset_json import dataset_labels, named_by_set, reference_label
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.labels.region import liver_on
from SAMLiverTumorLib.training.runs.resume_checks import check_resumable
from SAMLiverTumorLib.training.samples.embedded_samples import SampleStore
from SAMLiverTumorLib.training.samples.prepare import prepare
from SAMLiverTumorLib.training.settings import TrainSettings
from SAMLiverTumorLib.volume import Volume

SWAPPED = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1, "liver": 2}, "file_ending": ".nii.gz"}


@pytest.fixture
def a_set(tmp_path):
    """A function that writes an nnU-Net set of two cases, values changed by a table; its folder."""

    def write(description, values=(0, 1, 2), cases=2):
        for n in range(cases):
            ct, label = scan(seed=n)
            changed = np.array(values, np.uint8)[label.array]
            for kind, end, volume in (
                ("imagesTr", "_0000", ct),
                ("labelsTr", "", Volume(changed, label.ijk_to_ras, "label")),
            ):
                (tmp_path / kind).mkdir(exist_ok=True)
                write_volume(tmp_path / kind / f"case_{n}{end}.nii.gz", volume)
        text = description if isinstance(description, bytes) else json.dumps(description).encode()
        (tmp_path / "dataset.json").write_bytes(text)
        return tmp_path

    return write


def first(folder):
    return find_cases(folder, folder)[0]


TRUTH = scan()[1].array
TUMOR, LIVER = TRUTH == 2, TRUTH > 0


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"background": 0, "tumor": 1, "liver": 2}, (0, 2, 1)),
        ({"0": "background", "1": "Tumour", "2": "Liver"}, (0, 2, 1)),
        ({"background": 0, "liver": [1, 2], "tumor": 2}, (0, 1, 2)),
        ({"background": "0", "liver": ["1", "2"], "cancer": [1]}, (0, 2, 1)),
        (["background", "lesion", "liver"], (0, 2, 1)),
        ({"LiverTumor": 7, "Liver_Parenchyma": 9}, (0, 9, 7)),
        ({"背景": 0, "肝脏": 2, "肿瘤": 1}, (0, 2, 1)),
        ({"Hintergrund": 0, "Leber": 2, "Lebertumor": 1}, (0, 2, 1)),
        ({"0": "background", "1": "liver_segment_4a", "2": "HCC", "3": "spleen"}, (0, 1, 2)),
    ],
)
def test_a_value_means_what_the_set_says(a_set, labels, values):
    case = load_case(first(a_set({"labels": labels}, values)))
    assert (case.tumor == TUMOR).all() and (case.liver == LIVER).all()
    assert [note for note in case.notes if note.startswith("Label values as dataset.json says: ")]


def test_a_byte_order_mark_or_utf_16_does_not_hide_what_the_set_says(a_set):
    for code in ("utf-8-sig", "utf-16"):
        case = load_case(first(a_set(json.dumps(SWAPPED).encode(code), (0, 2, 1))))
        assert (case.tumor == TUMOR).all()


def test_what_is_neither_liver_nor_tumor_is_neither(a_set):
    folder = a_set({"labels": {"0": "background", "1": "Vessel", "2": "Tumour"}, "name": "HepaticVessel"})
    case = load_case(first(folder))
    assert (case.tumor == TUMOR).all() and case.liver is None
    assert "1 'Vessel' is ignored, 2 'Tumour' is tumor" in case.notes[0]


def test_the_tumor_may_be_the_only_label(a_set):
    case = load_case(first(a_set({"labels": {"background": 0, "tumor": 1}}, (0, 0, 1))))
    assert (case.tumor == TUMOR).all() and case.liver is None


def test_a_label_option_overrules_the_set(a_set):
    folder = a_set(SWAPPED)
    case = load_case(first(folder), {"1": "liver", "2": "tumor"})
    assert (case.tumor == TUMOR).all() and (case.liver == LIVER).all()
    assert "Overruled by --label: 1 is liver, 2 is tumor" in case.notes[0]
    # one value may be overruled, the other stays as the set says
    case = load_case(first(folder), {"1": "ignore"})
    assert not case.tumor.any() and (case.liver == TUMOR).all()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"class_1": 1, "class_2": 2}, r"says 1 'class_1', 2 'class_2'.* whether 1, 2 are .*--label 1=tumor"),
        ({"kidney": 1, "tumor": 2}, r"says 1 'kidney', 2 'tumor'.* whether 2 is .*--label 2=tumor"),
        ({"liver": 1, "liver cyst": 2}, r"2 'liver cyst'.* whether 2 is"),
        ({"tumor": 1, "non-tumor liver": 2}, r"2 'non-tumor liver'.* whether 2 is"),
        ({"pancreas": 1, "cancer": 2}, r"1 'pancreas', 2 'cancer'"),
    ],
)
def test_what_is_not_clear_stops_and_says_what_the_set_says(a_set, labels, said):
    folder = a_set({"labels": labels})
    with pytest.raises(InputError, match=said):
        load_case(first(folder))
    case = load_case(first(folder), {"1": "liver", "2": "tumor"})
    assert (case.tumor == TUMOR).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"labels": ', "cannot be parsed"),
        (b'{"labels": "liver"}', "does not say what labels mean"),
        (b'{"labels": {"liver": 1.5}}', "does not say what labels mean"),
        (b'{"labels": {"liver": true}}', "does not say what labels mean"),
        (b'{"labels": {"liver": Infinity}}', "does not say what labels mean"),
        (b'{"labels": {"liver": {"a": 1}}}', "does not say what labels mean"),
        (b"[" * 100_000, "cannot be parsed"),
        (b"\xff\xfe\x00", "cannot be parsed"),
    ],
)
def test_a_description_that_cannot_be_read_stops_unless_values_are_given(a_set, text, said):
    folder = a_set(text)
    with pytest.raises(InputError, match=said):
        load_case(first(folder))
    case = load_case(first(folder), LITS_VALUES)
    assert (case.tumor == TUMOR).all() and "What --label says was taken" in case.notes[0]


@pytest.mark.parametrize("text", [b"{}", b'{"labels": {}}', b"[]", b'{"name": "x"}', b"3"])
def test_a_description_without_labels_leaves_the_usual_values(a_set, text):
    case = load_case(first(a_set(text)))
    assert (case.tumor == TUMOR).all() and case.notes == ()


def test_a_value_that_the_set_does_not_name_is_refused(a_set):
    folder = a_set({"labels": {"background": 0, "liver": 1}}, (0, 1, 3))
    with pytest.raises(InputError, match="value 3, whose meaning is not known"):
        load_case(first(folder))


def test_the_description_lies_beside_the_labels_or_their_folder_and_no_higher(a_set):
    folder = a_set(SWAPPED)
    label = folder / "labelsTr" / "case_0.nii.gz"
    assert dataset_labels(label).path == folder / "dataset.json"
    deeper = folder / "labelsTr" / "more" / "case_0.nii.gz"
    deeper.parent.mkdir()
    assert dataset_labels(deeper) is None
    (folder / "labelsTr" / "dataset.json").write_text('{"labels": {"liver": 1}}')
    assert dataset_labels(label).meanings == {"1": "liver"}


def test_training_learns_the_tumor_that_the_set_names(a_set, tmp_path):
    folder = str(a_set(SWAPPED, (0, 2, 1)))
    store = SampleStore(tmp_path / "store", "0" * 64, "longest", lambda *_: np.zeros((256, 64, 64), np.float16))
    notes = []
    settings = TrainSettings((folder,), (folder,), validation=("case_1",), copies=0, negatives=0)
    prepared = prepare(settings, store, note=notes.append)
    # tumor on slices 1 to 3 of five; the liver, taken for it, would be on all
    assert len(prepared.train) == 3
    # said once for both cases
    assert notes == ["Label values as dataset.json says: 1 'tumor' is tumor, 2 'liver' is liver."]


def test_training_without_tumor_says_what_the_set_says(a_set, tmp_path):
    folder = str(a_set({"labels": {"liver": 1, "kidney": 2}}))
    store = SampleStore(tmp_path / "store", "0" * 64, "longest", lambda *_: np.zeros((256, 64, 64), np.float16))
    with pytest.raises(InputError, match=r"no tumor .*1 'liver' is liver, 2 'kidney' is ignored"):
        prepare(TrainSettings((folder,), (folder,), validation=("case_1",), copies=0), store)


def test_comparing_reads_the_same_tumor(a_set):
    files = find_cases(*[a_set(SWAPPED, (0, 2, 1))] * 2)
    assert [(case.tumor == TUMOR).all() for case in read_cases(files, {}, LITS_VALUES)] == [True, True]
    # where no set says it, what the user names is added to the usual values
    (files[0].label.parents[1] / "dataset.json").unlink()
    (case,) = read_cases(files[:1], {"3": "ignore"}, LITS_VALUES)
    assert (case.tumor == (TRUTH == 1)).all()


def test_a_cohorts_references_are_compared_by_the_tumor_that_the_set_names(a_set, tmp_path):
    folder = a_set(SWAPPED, (0, 2, 1))
    label = folder / "labelsTr" / "case_0.nii.gz"
    assert reference_label(label, None)[0] == "1" and reference_label(label, "2") == ("2", ())
    job = Job("case_0", folder / "imagesTr" / "case_0_0000.nii.gz", tmp_path / "out", reference=label)
    job.out.mkdir()
    _, truth = scan()
    write_volume(job.segmentation, Volume(TUMOR.astype(np.uint8), truth.ijk_to_ras, "found"))
    compared = _compare(job, BatchSettings())
    assert compared["overall"]["dice"] == 1.0
    assert compared["notes"][0].startswith("Label values as dataset.json says")


@pytest.mark.parametrize("labels", [{"liver": 1, "kidney": 2}, {"hcc": 1, "metastasis": 2}])
def test_a_cohorts_references_without_one_tumor_are_refused(a_set, labels):
    folder = a_set({"labels": labels})
    with pytest.raises(InputError, match=r"dataset\.json of .* says 1 .*--reference-label"):
        reference_label(folder / "labelsTr" / "case_0.nii.gz", None)


def test_label_maps_get_the_names_of_the_set(a_set):
    label = a_set({"labels": {"Tumour": 1, "Liver": 2}}, (0, 2, 1)) / "labelsTr" / "case_0.nii.gz"
    named = named_by_set(read_labels(label), label)
    assert named.entries == {"liver tumor": (0, 1), "liver": (0, 2)}
    vessel = a_set({"labels": {"Vessel": 1, "Tumour": 2}}) / "labelsTr" / "case_0.nii.gz"
    assert list(named_by_set(read_labels(vessel), vessel).entries) == ["Vessel", "liver tumor"]


def test_a_run_of_an_earlier_version_that_saved_the_usual_values_is_resumed():
    now = TrainSettings().as_dict()
    check_resumable({**now, "label_names": {"1": "liver", "2": "tumor"}}, now)
    with pytest.raises(InputError, match=r"label-names \(was 1=tumor\)"):
        check_resumable({**now, "label_names": {"1": "tumor"}}, now)


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"background": 0, "tumor": 1, "liver": 2}, (0, 2, 1)),
        ({"liver": 1, "kidney": 3, "tumor": 2}, (0, 1, 2)),
        ({"spleen": 1, "liver": 5, "lesion": 7}, (0, 5, 7)),
    ],
)
def test_the_liver_that_no_tumor_leaves_is_the_one_that_the_set_names(a_set, labels, values):
    label = a_set({"labels": labels}, values) / "labelsTr" / "case_0.nii.gz"
    notes = []
    assert (liver_on(label, scan()[0], note=notes.append) == LIVER).all()
    assert any(note.startswith("Label values as dataset.json says") for note in notes)


def test_a_vessel_is_not_taken_for_the_liver(a_set):
    label = a_set({"labels": {"Vessel": 1, "Tumour": 2}}) / "labelsTr" / "case_0.nii.gz"
    with pytest.raises(InputError, match="'Vessel', 'liver tumor'; say which is the liver with --liver-label"):
        liver_on(label, scan()[0])
    assert (liver_on(label, scan()[0], "1") == (TRUTH == 1)).all()
