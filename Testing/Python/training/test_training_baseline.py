"""The U-Net beside a training run: the same patients, and a file that the comparison reads."""

import json

import pytest
from training_case import write_case, write_cases

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.models.networks.unet import UnetShape, load_unet
from SAMLiverTumorLib.training.baseline.train_baseline import NAME, train_baseline
from SAMLiverTumorLib.training.baseline.unet_training import UnetSettings
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs.process import TrainingProcess
from SAMLiverTumorLib.training.settings import TrainSettings

SMALL = UnetSettings(steps=4, batch=2, crop=32, validate_every=2, shape=UnetShape(64, (8, 16)))


@pytest.fixture
def settings(tmp_path):
    cases = write_cases(tmp_path / "cases")
    return TrainSettings(
        (str(cases),), (str(cases),), str(tmp_path / "run"), validation=("p3",), test=("p1",), device="cpu"
    )


def test_it_learns_from_the_runs_patients_and_is_validated_on_the_same_others(settings, tmp_path):
    (tmp_path / "run").mkdir()
    path = train_baseline(settings, 5.0, Reporter(tmp_path / "run"), unet=SMALL)
    assert path == tmp_path / "run" / NAME
    card = load_unet(path).card
    assert (card["training_cases"], card["validation_cases"], card["steps"]) == (["p2"], ["p3"], 4)
    events = TrainingProcess(tmp_path / "run").new_events()
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4]
    assert len([event for event in events if event["event"] == "validation"]) == 2
    assert json.loads(path.with_suffix(".json").read_text())["training_cases"] == ["p2"]
    with pytest.raises(OutputError, match="exists already"):
        train_baseline(settings, 5.0, Reporter(None), unet=SMALL)


def test_cancelling_leaves_no_file_and_one_patient_alone_is_refused(settings, tmp_path):
    assert train_baseline(settings, 5.0, Reporter(None), cancel=lambda: True, unet=SMALL) is None
    assert not (tmp_path / "run" / NAME).exists()
    write_case(tmp_path / "alone", "p9")
    one = TrainSettings((str(tmp_path / "alone"),), (str(tmp_path / "alone"),), str(tmp_path / "run"))
    with pytest.raises(InputError, match="another patient"):
        train_baseline(one, 5.0, Reporter(None), unet=SMALL)


def test_options_that_do_not_fit_a_baseline_are_refused(tmp_path, capsys):
    cases = str(write_cases(tmp_path / "cases"))
    given = ["train", "--images", cases, "--labels", cases, "--baseline", "5"]
    for more in ([], ["--out", str(tmp_path / "run"), "--resume"], ["--out", str(tmp_path / "run"), "--train", "lora"]):
        assert main([*given, *more]) == 2
        assert "--baseline MINUTES needs --out" in capsys.readouterr().err
