"""`--resume` takes the settings and scans that the run started with, and names those that differ."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from training_case import losses, options, write_cases

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.runs import run_training as run
from SAMLiverTumorLib.training.runs.resume_checks import check_resumable, differing
from SAMLiverTumorLib.training.settings import TrainSettings


def changed(**more):
    given = {"images": ("/a/ct",), "labels": ("/a/label",), "out": "/a/run", "epochs": 5, **more}
    return TrainSettings(**given).as_dict()


BEGUN = changed()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"device": "cuda"},
        {"epochs": 6},
        {"out": "/b/run", "cache": "/b/cache", "images": ("/b/ct",), "labels": ("/b/label",)},
    ],
)
def test_places_device_and_more_epochs_may_change(more):
    check_resumable(BEGUN, changed(**more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"learning_rate": 1e-3}, r"learning-rate \(was 0.0002\)"),
        ({"epochs": 4}, r"epochs \(was 5\)"),
        ({"seed": 1, "batch": 4}, r"batch \(was 2\), seed \(was 0\)"),
        ({"validation": ("p3",)}, r"validation \(was none\)"),
        ({"images": ("/a/other",)}, r"images \(was /a/ct\)"),
        ({"label_names": {"1": "tumor"}}, r"label-names \(was 1=liver, 2=tumor\)"),
        ({"text_encoder": "clip"}, r"text-encoder \(was tokens\)"),
    ],
)
def test_other_settings_are_refused_by_name(more, message):
    with pytest.raises(InputError, match=message):
        check_resumable(BEGUN, changed(**more))


def test_settings_that_an_earlier_version_lacked_do_not_differ():
    earlier = {name: value for name, value in BEGUN.items() if name not in ("painted", "text_encoder")}
    assert differing(earlier, changed()) == []


def test_a_run_that_learned_from_unlabeled_scans_is_not_resumed():
    check_resumable({**BEGUN, "unlabeled": [], "unlabeled_slices": 16}, changed())
    with pytest.raises(InputError, match="unlabeled scans was removed"):
        check_resumable({**BEGUN, "unlabeled": ["/a/more"]}, changed())


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Folder with cases and a run that was cancelled after its first step."""
    folder = tmp_path_factory.mktemp("begun")
    cases = write_cases(folder / "cases")
    report, steps = run.Reporter.__call__, []

    def count(self, event, **values):
        steps.extend([1] if event == "step" else [])
        return report(self, event, **values)

    patch = pytest.MonkeyPatch()
    patch.setattr(run.Reporter, "__call__", count)
    patch.setattr("SAMLiverTumorLib.cli.commands.train.cancel_requested", lambda path: bool(steps))
    try:
        assert main(["train", *words(cases, folder / "run")]) == 130
    finally:
        patch.undo()
    assert list(losses(folder / "run")) == [1]
    return folder


def words(cases, out, **more):
    return options(cases, out, cache=cases.parent / "embeddings", text=["liver tumor"], **more)


def test_the_command_refuses_to_resume_with_other_settings(begun, capsys):
    assert main(["train", *words(begun / "cases", begun / "run", learning_rate=1e-4, corrections=0), "--resume"]) == 2
    assert "learning-rate (was 0.001), corrections (was 1)" in capsys.readouterr().err
    assert list(losses(begun / "run")) == [1]


def test_the_command_refuses_to_resume_with_other_labels(begun, tmp_path, capsys):
    folder = shutil.copytree(begun, tmp_path / "moved")
    path = folder / "cases" / "p2_label.nii.gz"
    label = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(label)
    array[2, 30:34, 30:34] = np.where(array[2, 30:34, 30:34] == 2, 1, 2)
    edited = sitk.GetImageFromArray(array)
    edited.CopyInformation(label)
    sitk.WriteImage(edited, str(path))
    assert main(["train", *words(folder / "cases", folder / "run"), "--resume"]) == 2
    assert "other voxels or labels of p2" in capsys.readouterr().err


def test_a_run_that_was_moved_with_its_scans_resumes_with_one_more_epoch(begun, tmp_path):
    folder = shutil.copytree(begun, tmp_path / "moved")
    assert main(["train", *words(folder / "cases", folder / "run", epochs=3), "--no-blend", "--resume"]) == 2
    assert main(["train", *words(folder / "cases", folder / "run", epochs=3), "--resume"]) == 0
    assert sorted(losses(folder / "run")) == [1, 2, 3, 4, 5, 6]
