"""Which of a file's segments is the liver: the one that is named so, or the user is asked; it is always said."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from support.nifti_files import AFFINE, scan, write_nifti
from support.segmentation_files import named, write_segmentation

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.cli.options.liver import read_liver
from SAMLiverTumorLib.datasets.cases import CaseFiles, load_case
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.images import read_volume
from SAMLiverTumorLib.io.labels.liver import liver_alone, liver_of
from SAMLiverTumorLib.io.labels.reader import read_labels
from SAMLiverTumorLib.io.labels.region import labels_on, liver_on
from SAMLiverTumorLib.volume import Volume

CT, LABELS = scan()
SPLEEN = np.zeros(LABELS.shape, bool)
SPLEEN[2:5, 10:16, 32:36] = True
# Liver 1, its tumors 2, spleen 3, kidney 4.
BODY = np.where(SPLEEN & (LABELS == 0), 3, LABELS).astype(np.uint8)
BODY[8:11, 20:25, 30:34] = 4
ORGANS = ["liver", "liver tumor", "spleen", "kidney_right"]
VOLUME = Volume(CT, AFFINE, "CT")
_LITS_LIVER = "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver"


@pytest.fixture
def body(tmp_path):
    """Writes a whole-body segmentation with the names given."""

    def write(names=ORGANS, array=BODY, **fields):
        segments = [named(name, n, **fields) for n, name in enumerate(names, 1)]
        return write_segmentation(tmp_path / "body.seg.nrrd", array, segments)

    return write


def taken(path, wanted=None):
    """(the voxels, what was said)."""
    notes = []
    return liver_on(path, VOLUME, wanted, notes.append), notes


def test_a_whole_body_segmentation_gives_the_liver_with_the_tumors_cut_out_of_it(body):
    liver, notes = taken(body())
    assert np.array_equal(liver, LABELS > 0)
    assert notes == [
        "The liver is 'liver' with 'liver tumor', cut out of it of 'body.seg.nrrd'; 2 other segments left out."
    ]


@pytest.mark.parametrize("name", ["Liver", " LIVER ", "肝脏", "Leber", "foie", "hígado", "whole_liver"])
def test_the_liver_is_known_by_its_name_in_many_languages(body, name):
    assert np.array_equal(taken(body([name, "肝肿瘤", "spleen", "kidney"]))[0], LABELS > 0)


def test_a_code_says_more_than_a_name(tmp_path):
    segments = [named("Segment_7", 1, Tags=f"TerminologyEntry:{_LITS_LIVER}~^^~~^^~^^|"), named("spleen", 3)]
    path = write_segmentation(tmp_path / "body.seg.nrrd", BODY, segments)
    assert np.array_equal(taken(path)[0], LABELS == 1)


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["liver left", "liver right", "spleen", "kidney"]])
def test_where_no_name_says_it_the_user_is_asked(body, names):
    with pytest.raises(InputError, match=rf"holds '{names[0]}'.*say which is the liver with --liver-label"):
        taken(body(names))
    assert np.array_equal(taken(body(names), names[0])[0], LABELS == 1)
    assert np.array_equal(taken(body(names), f"{names[0]},{names[1]}")[0], LABELS > 0)


def test_a_label_map_of_many_values_asks_and_one_of_lits_is_liver_and_tumor(tmp_path):
    path = write_nifti(tmp_path / "body.nii", BODY)
    with pytest.raises(InputError, match="holds 1, 2, 3, 4; say which is the liver with --liver-label"):
        taken(path)
    assert np.array_equal(taken(path, "1")[0], LABELS == 1)
    assert np.array_equal(taken(path, "1,2")[0], LABELS > 0)
    lits, notes = taken(write_nifti(tmp_path / "lits.nii", LABELS))
    assert np.array_equal(lits, LABELS > 0)
    assert notes == ["The liver is 1 with 2, cut out of it of 'lits.nii', as in LiTS."]
    # asked for by its value it still holds its tumors
    assert np.array_equal(taken(tmp_path / "lits.nii", "1")[0], LABELS > 0)


def test_a_hundred_organs_are_cut_short_and_totalsegmentators_value_is_named(tmp_path):
    array = np.zeros((1, 10, 12), np.uint8)
    array.ravel()[:104] = np.arange(1, 105)
    with pytest.raises(InputError) as caught:
        liver_of(read_labels(write_nifti(tmp_path / "total.nii", array)))
    assert "and 92 more" in str(caught.value)
    assert "5 in label maps of TotalSegmentator" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_only_segment_is_the_liver_and_is_named_where_it_is_called_otherwise(body, tmp_path):
    assert taken(write_nifti(tmp_path / "liver.nii", (LABELS > 0).astype(np.uint8)))[1] == []
    liver, notes = taken(body(["Segment_1"], (LABELS > 0).astype(np.uint8)))
    assert np.array_equal(liver, LABELS > 0)
    assert notes == ["The liver is taken to be 'Segment_1', the only segment of 'body.seg.nrrd'."]
    with pytest.raises(InputError, match="holds no liver: its only segment is 'Liver tumor'"):
        taken(body(["Liver tumor"], (LABELS > 0).astype(np.uint8)))


def test_voxels_that_no_segment_names_are_no_liver(body):
    liver, notes = taken(body(["liver"]))
    assert np.array_equal(liver, LABELS == 1)
    assert any("belong to no segment" in note for note in notes)


def test_a_liver_without_voxels_is_refused(body):
    with pytest.raises(InputError, match=r"'liver' of 'body\.seg\.nrrd' has no voxel"):
        taken(body(["a", "b", "c", "d", "liver"]))
    with pytest.raises(InputError, match="no segment or label '9'; it has 'liver', 'liver tumor'"):
        taken(body(), "9")


def test_overlapping_layers_are_taken_whole(tmp_path):
    layers = np.stack([(LABELS > 0), LABELS == 2, SPLEEN]).astype(np.uint8)
    segments = [named("Liver", 1, 0), named("Liver tumor 2", 1, 1), named("spleen", 1, 2)]
    path = write_segmentation(tmp_path / "case.seg.nrrd", layers, segments)
    assert np.array_equal(taken(path)[0], LABELS > 0)
    alone = liver_alone(read_labels(path))
    assert list(alone.entries) == ["liver"]
    assert np.array_equal(alone.segments["liver"], LABELS > 0)


def test_a_start_is_all_that_is_labeled(body):
    assert np.array_equal(labels_on(body(), VOLUME), BODY > 0)


def test_the_option_reads_the_liver_and_needs_its_file(body):
    said = []
    args = SimpleNamespace(liver=body(), liver_label="spleen")
    assert np.array_equal(read_liver(args, VOLUME, said.append), BODY == 3)
    assert read_liver(SimpleNamespace(liver=None, liver_label=None), VOLUME, said.append) is None
    with pytest.raises(InputError, match="--liver-label needs --liver"):
        read_liver(SimpleNamespace(liver=None, liver_label="5"), VOLUME, said.append)


def test_training_takes_segments_by_their_names_and_asks_for_the_others(body, tmp_path):
    ct = write_nifti(tmp_path / "ct.nii", CT)
    with pytest.raises(InputError, match=r"values spleen, kidney_right, whose meaning.*--label \"\*=ignore\""):
        load_case(CaseFiles("case", ct, body()))
    case = load_case(CaseFiles("case", ct, body()), {"*": "ignore"})
    assert np.array_equal(case.tumor, LABELS == 2)
    assert np.array_equal(case.liver, LABELS > 0)
    assert "Taken by their names in 'case': liver 'liver', tumor 'liver tumor'." in case.notes
    # what is said counts more than a name
    other = load_case(CaseFiles("case", ct, body()), {"*": "ignore", "spleen": "tumor", "liver tumor": "ignore"})
    assert np.array_equal(other.tumor, BODY == 3)


def test_training_refuses_a_liver_and_a_tumor_that_are_the_same_voxels(tmp_path):
    ct = write_nifti(tmp_path / "ct.nii", CT)
    path = write_segmentation(tmp_path / "a.seg.nrrd", (LABELS > 0).astype(np.uint8), [named("liver"), named("tumor")])
    with pytest.raises(InputError, match="'liver' and 'tumor' are the same voxels"):
        load_case(CaseFiles("case", ct, path))


def test_report_takes_the_liver_out_of_a_whole_body_segmentation(body, tmp_path, capsys):
    ct = write_nifti(tmp_path / "ct.nii", CT)
    words = ["report", str(body()), str(ct), "--segment", "liver tumor", "--liver", str(body())]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    assert "2 other segments left out" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "lesions.json").read_text())
    ml = (LABELS > 0).sum() * 0.009
    assert json.dumps(report).count("left out") == 1
    assert "body.seg.nrrd" not in json.dumps(report)
    assert report["total"]["liver_ml"] == pytest.approx(ml, abs=1e-3)


def test_evaluate_and_export_know_the_liver_too(body, tmp_path, capsys):
    reference = write_nifti(tmp_path / "reference.nii", LABELS)
    figures = tmp_path / "figures.json"
    words = ["evaluate", str(body()), str(reference), "--liver-label", "1", "--json", str(figures)]
    assert main(words) == 0
    report = json.loads(figures.read_text())
    assert report["overall"]["dice"] == 1.0
    assert any("left out" in note for note in report["notes"])
    out = tmp_path / "liver.nii.gz"
    assert main(["export", str(body()), "--liver-label", "liver", "--to", str(out)]) == 0
    assert np.array_equal(read_volume(out).array > 0, LABELS == 1)
    assert "'Liver'" in capsys.readouterr().out


def test_evaluate_judges_the_label_of_the_reference_alone_and_says_so(tmp_path, capsys):
    path, reference = write_nifti(tmp_path / "a.nii", BODY), write_nifti(tmp_path / "b.nii", LABELS)
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(path), str(reference), "--label", "2", "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["overall"]["dice"] == 1.0
    assert "2 alone is judged, as of the reference" in capsys.readouterr().out
    tumor = write_nifti(tmp_path / "c.nii", (LABELS == 2).astype(np.uint8))
    assert main(["evaluate", str(path), str(tumor)]) == 0
    assert "All 4 segments of 'a.nii' are judged together: 1, 2, 3, 4" in capsys.readouterr().out
