"""Messages stay some ten lines whatever a file or folder holds: lists are cut, and say how many are left out."""

import gzip

import numpy as np
import pytest
from segmentation_files import write_segmentation

from SAMLiverTumorLib.datasets.cases import refuse_doubles, refuse_held_out
from SAMLiverTumorLib.datasets.label_meanings import meanings_of
from SAMLiverTumorLib.datasets.layouts import by_patient
from SAMLiverTumorLib.datasets.split import split_patients
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.label_files import chosen_label, compare_labels
from SAMLiverTumorLib.io.ircadb.lits_cases import overlap_note
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.liver import liver_of
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.listed import listed, listed_labels

MANY = 273
NAMES = [f"patient with a long name {n}" for n in range(MANY)]
# ten lines of a terminal
MOST_LETTERS = 10 * 100


def labels(names):
    array = np.arange(1, len(names) + 1, dtype=np.int32).reshape(1, 1, -1)
    return LabelFile("many", (array,), {name: (0, n + 1) for n, name in enumerate(names)}, np.eye(4))


def message(call, *words):
    with pytest.raises(InputError) as caught:
        call(*words)
    text = str(caught.value)
    assert len(text) < MOST_LETTERS, text
    return text


def test_lists_are_cut_and_count_what_is_left_out():
    assert listed(NAMES).endswith("patient with a long name 7 and 265 more")
    assert listed(["x" * 5000], quoted=True) == f"'{'x' * 196} ...'"
    assert listed_labels([*map(str, range(1, 14))]) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 1 more"


def test_refusals_of_many_patients_are_short():
    assert "and 265 more are held out" in message(refuse_held_out, NAMES, frozenset(NAMES))
    assert "and 265 more." in message(split_patients, NAMES, ["nobody"], [], 0.2, 0)
    twice = [f"3Dircadb1.{n}" for n in range(1, 21)] + [f"liver_{n}" for n in range(131)]
    assert "and 17 more are very probably the same patient" in message(refuse_doubles, twice)
    assert len(overlap_note(f"3Dircadb1.{n}_{m}" for n in range(1, 21) for m in range(20))) < MOST_LETTERS


def test_refusals_of_many_segments_are_short():
    many = labels(NAMES)
    for call in (
        lambda: chosen_label(many, None),
        lambda: chosen_label(many, "other"),
        lambda: liver_of(many),
        lambda: liver_of(many, "other"),
    ):
        assert "and 261 more" in message(call)
    assert "and 265 more, whose meaning is not known" in message(meanings_of, many, {}, "case")
    known = message(meanings_of, many, {f"{n} of many": "ignore" for n in range(MANY)}, "case")
    assert "0 of many ignore" in known and "and 265 more)" in known
    (note,) = [text for text in compare_labels(many, labels(["a"])).notes if text.startswith("All 273 segments")]
    assert "and 261 more" in note and len(note) < MOST_LETTERS


def test_notes_on_many_segments_that_are_one_are_short(tmp_path):
    array = np.zeros((2, 3, 4), np.uint8)
    array[0, 0, :2] = 1, 2
    segments = [{"ID": n, "Name": f"organ {n}", "LabelValue": 1 + n % 2, "Layer": 0} for n in range(MANY)]
    write_segmentation(tmp_path / "many.seg.nrrd", array, segments)
    read = read_labels(tmp_path / "many.seg.nrrd")
    (note,) = [text for text in read.notes if "the same voxels" in text]
    assert "'organ 0', 'organ 2'" in note and "and 129 more; 'organ 1'" in note and len(note) < MOST_LETTERS


def test_copies_of_many_files_are_one_note(tmp_path):
    for n in range(20):
        (tmp_path / f"p{n:02}_ct.nii").write_bytes(bytes([n]) * 500)
        (tmp_path / f"p{n:02}_ct.nii.gz").write_bytes(gzip.compress(bytes([n]) * 500))
    found = by_patient(tmp_path, {False})
    assert len(found) == 20 and {path.suffix for path in found.values()} == {".nii"}
    (note,) = found.notes
    assert note.startswith("The same as the .nii beside it, and so left out: p00_ct.nii.gz, ") and "and 12 more" in note
