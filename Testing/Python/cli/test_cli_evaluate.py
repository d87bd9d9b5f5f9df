"""`sam-liver-tumor evaluate` on files, as a user calls it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SAMLiverTumorLib.cli.commands import evaluate as command
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate


def call(*arguments):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", *map(str, arguments)])
    return args.run(args)


def save(path: Path, array, origin=(10.0, -20.0, 30.0), spacing=(0.5, 0.5, 2.0), segments=None) -> Path:
    """Save an array (k, j, i), or (k, j, i, layer) with segments [(name, layer, value)] as Slicer lays it out."""
    image = sitk.GetImageFromArray(array.astype(np.uint8), isVector=array.ndim == 4)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    for number, (name, layer, value) in enumerate(segments or ()):
        for key, text in {"ID": name, "Name": name, "Layer": layer, "LabelValue": value}.items():
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


@pytest.fixture
def lits_like(tmp_path):
    """A label map of liver 1 and tumor 2, with lesions of 24 and 8 voxels; voxels of 0.5 mm3."""
    array = np.zeros((6, 10, 12), np.uint8)
    array[1:5, 1:9, 1:11] = 1
    array[2:4, 2:5, 2:6] = 2
    array[2:4, 6:8, 8:10] = 2
    return save(tmp_path / "label.nii.gz", array), array


@pytest.fixture
def prediction(tmp_path, lits_like):
    """A cropped segmentation with overlapping segments: half of lesion 1, and the whole liver."""
    _, array = lits_like
    cropped = np.zeros((4, 8, 10, 2), np.uint8)
    cropped[..., 0] = array[1:5, 1:9, 1:11] > 0
    cropped[1, 1:4, 1:5, 1] = 1
    origin = (10 + 0.5, -20 + 0.5, 30 + 2.0)
    return save(tmp_path / "p.seg.nrrd", cropped, origin, segments=[("liver", 0, 1), ("tumor 1", 1, 1)])


def test_figures_on_files_are_those_worked_out_by_hand(tmp_path, lits_like, prediction, capsys):
    assert call(prediction, lits_like[0], "--segment", "tumor 1", "--label", "2", "--json", tmp_path / "o.json") == 0
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    # 12 of lesion 1's 24 voxels predicted, nothing else; 720 voxels in all, of 0.0005 ml
    assert report["prediction"]["segments"] == ["tumor 1"]
    assert report["dimensions"] == [12, 10, 6]
    assert report["lesions"][0]["dice"] == pytest.approx(2 / 3, abs=1e-6)
    assert report["lesions"][0]["iou"] == 0.5
    assert report["lesions"][0]["accuracy"] == round(708 / 720, 6)
    assert report["lesions"][0]["predicted_ml"] == 0.006
    assert report["lesions"][1]["found"] is False
    assert report["overall"]["sensitivity"] == 12 / 32
    assert report["overall"]["tn"] == 720 - 32
    assert report["notes"] == []
    shown = capsys.readouterr().out
    assert "0.6667" in shown
    assert "Lesions: 2, found 1, missed 1." in shown
    assert "recall 0.500, precision 1.000, F1 0.667" in shown
    assert "26-connectivity" in shown
    assert "HD95 is the larger" in " ".join(shown.split())


def test_surface_distances_on_files_are_in_millimeters_along_the_right_axes(tmp_path):
    """A plate moved along each axis in turn; voxels of 0.5 x 1 x 2 mm (i, j, k)."""
    for axis, distance in enumerate((2.0, 1.0, 0.5)):
        array = np.zeros((8, 9, 10), np.uint8)
        index = [slice(None)] * 3
        index[axis] = 3
        array[tuple(index)] = 1
        files = [
            save(tmp_path / f"{name}{axis}.nii.gz", np.roll(array, step, axis), spacing=(0.5, 1.0, 2.0))
            for name, step in (("p", 2), ("r", 0))
        ]
        call(*files, "--json", tmp_path / f"{axis}.json")
        report = json.loads((tmp_path / f"{axis}.json").read_text("utf-8"))
        for figures in (report["overall"], report["lesions"][0]):
            if figures is report["overall"] or figures["found"]:
                assert figures["hd95_mm"] == pytest.approx(2 * distance)
                assert figures["surface_dice"] == (0.0 if 2 * distance > 2 else 1.0)


def test_figures_on_files_equal_those_on_arrays(tmp_path, sample_case):
    """What the demo computes in memory is what the command says of the written file."""
    image = sitk.ReadImage(str(sample_case / "label.nii.gz"))
    reference = sitk.GetArrayFromImage(image) == 2
    shifted = np.roll(reference, (1, 2, -1), (0, 1, 2))
    saved = sitk.GetImageFromArray(shifted[8:, 5:, :-7].astype(np.uint8))
    shifted[:8], shifted[:, :5], shifted[:, :, -7:] = False, False, False
    saved.CopyInformation(image[:-7, 5:, 8:])
    sitk.WriteImage(saved, str(tmp_path / "prediction.nrrd"))
    call(tmp_path / "prediction.nrrd", sample_case / "label.nii.gz", "--label", "2", "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    spacing = image.GetSpacing()[::-1]
    expected = evaluate({"1": shifted}, reference, float(np.prod(spacing)) / 1000, spacing=spacing).as_dict()
    assert report["counts"]["lesions"] == 70
    assert {key: report[key] for key in expected} == expected


def test_reference_with_one_value_needs_no_label_and_all_segments_are_judged(tmp_path, lits_like):
    array = lits_like[1]
    reference = save(tmp_path / "mask.nrrd", array == 2)
    both = np.stack([array > 0, array == 2], axis=-1)
    prediction = save(tmp_path / "p.seg.nrrd", both, segments=[("one", 0, 1), ("other", 1, 1)])
    call(prediction, reference, "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert report["reference"]["label"] == "1"
    assert [x["segment"] for x in report["segments"]] == ["one", "other"]
    assert report["overall"]["tp"] == 32
    assert report["overall"]["fp"] == 4 * 8 * 10 - 32


@pytest.mark.parametrize(
    ("name", "wanted", "segments", "figures"),
    [
        # half of the larger lesion is segmented: 12 of 32 voxels
        ("tumor.nrrd", 2, ["tumor 1"], (12, 0, 20)),
        # the segment "liver" is the liver with its tumors
        ("liver.nrrd", 1, ["liver", "tumor 1"], (320, 0, 0)),
        ("mask.nrrd", 2, None, None),
        ("liver_7.nrrd", 1, None, None),
    ],
)
def test_a_liver_beside_tumors_is_judged_as_the_references_name_says_or_not_at_all(
    tmp_path, lits_like, prediction, capsys, name, wanted, segments, figures
):
    reference = save(tmp_path / name, lits_like[1] >= wanted)
    words = [prediction, reference, "--json", tmp_path / "o.json"]
    if segments is None:
        with pytest.raises(InputError, match="holds 'liver', 'tumor 1'; choose what is judged with --segment"):
            call(*words)
        return
    call(*words)
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert [x["segment"] for x in report["segments"]] == segments
    assert tuple(report["overall"][key] for key in ("tp", "fp", "fn")) == figures
    (note,) = [text for text in report["notes"] if "judged" in text]
    assert "alone is judged, as of the reference; --segment chooses another" in note


def test_a_liver_is_not_compared_with_a_tumor_unless_that_is_asked_for(tmp_path, lits_like):
    array = lits_like[1]
    liver = save(tmp_path / "a.seg.nrrd", array > 0, segments=[("Liver", 0, 1)])
    tumor = save(tmp_path / "b.seg.nrrd", array == 2, segments=[("Liver tumor", 0, 1)])
    for one, other in ((liver, tumor), (tumor, liver)):
        with pytest.raises(InputError, match="which are not the same; name other files, or say with --segment and"):
            call(one, other)
    call(liver, tumor, "--segment", "Liver", "--json", tmp_path / "o.json")
    overall = json.loads((tmp_path / "o.json").read_text("utf-8"))["overall"]
    assert (overall["tp"], overall["fp"]) == (32, 288)


MEANT = {"labels": {"background": 0, "tumor": 1, "liver": 2}}


@pytest.fixture
def nnunet(tmp_path, lits_like):
    """Labels of an nnU-Net set whose dataset.json calls 1 the tumor and 2 the liver, and a prediction of 24 voxels."""
    swapped = np.choose(lits_like[1], [0, 2, 1])
    for folder in ("labelsTr", "predicted"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dataset.json").write_text(json.dumps(MEANT))
    reference = save(tmp_path / "labelsTr" / "p1.nii.gz", swapped)
    swapped[:, 6:8, 8:10] = np.where(swapped[:, 6:8, 8:10] == 1, 2, swapped[:, 6:8, 8:10])
    return save(tmp_path / "predicted" / "p1.nii.gz", swapped), reference


def test_dataset_json_says_which_label_is_the_tumor(tmp_path, tmp_path_factory, nnunet, lits_like, capsys):
    call(*nnunet, "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert report["reference"]["label"] == "liver tumor"
    assert tuple(report["overall"][key] for key in ("tp", "fp", "fn")) == (24, 0, 8)
    assert "! Label values as dataset.json says: 1 'tumor' is tumor, 2 'liver' is liver." in capsys.readouterr().out
    assert any("'liver tumor' was taken by its name" in note for note in report["notes"])
    # a value may be asked for still, and the other set may call it otherwise
    call(*nnunet, "--label", "2", "--json", tmp_path / "liver.json")
    assert json.loads((tmp_path / "liver.json").read_text("utf-8"))["overall"]["tp"] == 288
    call(nnunet[0], nnunet[1], "--segment", "1", "--json", tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text("utf-8"))["overall"]["tp"] == 24
    lits = tmp_path_factory.mktemp("lits") / "label.nii.gz"
    lits.write_bytes(lits_like[0].read_bytes())
    call(lits, nnunet[1], "--segment", "2", "--json", tmp_path / "lits.json")
    assert json.loads((tmp_path / "lits.json").read_text("utf-8"))["overall"]["dice"] == 1.0
    # without its own description the prediction is of the reference's set
    bare = lits.with_name("bare.nii.gz")
    bare.write_bytes(nnunet[0].read_bytes())
    call(bare, nnunet[1], "--json", tmp_path / "bare.json")
    assert json.loads((tmp_path / "bare.json").read_text("utf-8"))["overall"]["tp"] == 24


def test_reference_with_several_values_asks_which(lits_like, prediction):
    with pytest.raises(InputError, match=r"holds 1, 2 \(in LiTS data 1 is the liver, 2 the tumor\).*--label"):
        call(prediction, lits_like[0])


def test_reference_may_be_a_slicer_segmentation_with_its_segment_named(tmp_path, lits_like, prediction):
    for label in ("tumor 1", "liver"):
        call(lits_like[0], prediction, "--segment", "2", "--label", label, "--json", tmp_path / f"{label}.json")
    # the cropped reference's grid holds the whole prediction, so it is the grid
    report = json.loads((tmp_path / "tumor 1.json").read_text("utf-8"))
    assert report["dimensions"] == [10, 8, 4]
    assert (report["overall"]["tp"], report["overall"]["fp"], report["overall"]["fn"]) == (12, 20, 0)
    report = json.loads((tmp_path / "liver.json").read_text("utf-8"))
    assert (report["overall"]["tp"], report["overall"]["fp"], report["overall"]["fn"]) == (32, 0, 288)
    with pytest.raises(InputError, match="'liver', 'tumor 1' have the value 1"):
        call(lits_like[0], prediction, "--label", "1")
    with pytest.raises(InputError, match="no label 'spleen'; it has 'liver', 'tumor 1'"):
        call(lits_like[0], prediction, "--label", "spleen")


def test_false_voxels_outside_a_cropped_reference_count(tmp_path):
    """Were they cut off with the reference's border, a prediction of half the body would be perfect."""
    cropped = save(tmp_path / "r.seg.nrrd", np.ones((2, 2, 2)), (11, -19, 32), segments=[("tumor", 0, 1)])
    full = save(tmp_path / "p.nii.gz", np.ones((6, 10, 12)))
    call(full, cropped, "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert (report["overall"]["tp"], report["overall"]["fp"]) == (8, 712)
    assert "reaches outside" in report["notes"][0]


def test_unknown_segment_is_refused_naming_those_there(lits_like, prediction):
    with pytest.raises(InputError, match="no segment 'tumour'; it has 'liver', 'tumor 1'"):
        call(prediction, lits_like[0], "--segment", "tumour", "--label", "2")


@pytest.mark.parametrize("label", ["0", "tumor", "2.0"])
def test_label_that_is_no_value_is_refused_naming_those_there(lits_like, prediction, label):
    with pytest.raises(InputError, match=f"no label '{label}'; it has 1, 2"):
        call(prediction, lits_like[0], "--label", label)


def test_patient_without_a_tumor_is_an_empty_reference_and_said_so(tmp_path, lits_like, prediction, capsys):
    liver_only = save(tmp_path / "healthy.nii.gz", lits_like[1] > 0)
    call(prediction, liver_only, "--segment", "tumor 1", "--label", "2", "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert (report["overall"]["dice"], report["counts"]["false_positive_objects"]) == (0, 1)
    assert "no voxel of label 2; it has 1: an empty reference" in capsys.readouterr().out


def test_empty_prediction_misses_every_lesion_and_is_said_so(tmp_path, lits_like, capsys):
    empty = save(tmp_path / "empty.nrrd", np.zeros_like(lits_like[1]))
    call(empty, lits_like[0], "--label", "2", "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert (report["overall"]["dice"], report["counts"]["missed"]) == (0, 2)
    assert "an empty prediction" in capsys.readouterr().out


def test_size_limit_reaches_the_report(tmp_path, lits_like, prediction):
    call(prediction, lits_like[0], "--label", "2", "--min-ml", "0.01", "--json", tmp_path / "o.json")
    report = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert (report["counts"]["lesions"], report["counts"]["lesions_below_limit"]) == (1, 1)


def test_existing_report_is_refused_before_anything_is_read_and_kept(tmp_path):
    old = tmp_path / "o.json"
    old.write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        call(tmp_path / "missing.nrrd", tmp_path / "missing.nrrd", "--json", old)
    assert old.read_text() == "old"


def test_existing_report_is_replaced_with_overwrite_but_not_by_a_failing_run(tmp_path, lits_like, prediction):
    old = tmp_path / "o.json"
    old.write_text("old")
    with pytest.raises(InputError):
        call(prediction, lits_like[0], "--json", old, "--overwrite")
    assert old.read_text() == "old"
    call(prediction, lits_like[0], "--label", "2", "--json", old, "--overwrite")
    assert "lesions" in json.loads(old.read_text("utf-8"))


def test_missing_file_is_refused_by_name(tmp_path, lits_like):
    with pytest.raises(InputError, match=r"missing\.nrrd' does not exist"):
        call(tmp_path / "missing.nrrd", lits_like[0])


def test_parsing_the_command_line_imports_nothing_heavy():
    """The console program makes every command's parser at each start."""
    import subprocess
    import sys

    code = (
        "import argparse, sys; from SAMLiverTumorLib.cli.commands import evaluate;"
        "evaluate.add_parser(argparse.ArgumentParser().add_subparsers());"
        "print([m for m in ('SimpleITK', 'scipy', 'torch', 'slicer', 'vtk') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_output_that_nobody_reads_to_its_end_is_no_crash(lits_like, root):
    file = str(lits_like[0])
    program = [sys.executable, "-m", "SAMLiverTumorLib", "evaluate", file, file, "--label", "2"]
    process = subprocess.Popen(program, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 141)
