"""`compare --run`: base, fine-tuned model and U-Net of a run, on the patients that it left out, as a table."""

import csv
import json
import shutil
import time

import pytest
import torch
from training_case import options, write_cases

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.models.networks.unet import Unet, UnetShape, build_network, save_unet
from SAMLiverTumorLib.models.weights import read_about
from SAMLiverTumorLib.training.runs.process import ComparisonProcess

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def trained(cases, tmp_path_factory):
    """A run of one step with test patient p2, and a U-Net beside it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", *options(cases, out, epochs=1, steps=1, test="p2", text=["liver tumor"]), "--no-blend"]) == 0
    torch.manual_seed(0)
    shape = UnetShape(32, (4, 8))
    save_unet(Unet(build_network(shape).eval(), shape, {"training_cases": ["p1"]}), out / "unet.safetensors")
    return out


@pytest.fixture
def folder(trained, tmp_path):
    """The run, moved to another place."""
    return shutil.copytree(trained, tmp_path / "moved")


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_table_has_unet_zero_shot_and_fine_tuned_on_the_runs_test_patient(folder, cases, capsys):
    assert main(["compare", "--run", str(folder), "--device", "cpu"]) == 0
    found = {
        (row["case"], row["model"].rpartition(" ")[2], row["prompt"]) for row in rows_of(folder / "comparison.csv")
    }
    assert found == {
        ("p2", "unet.safetensors", "automatic"),
        *(("p2", "zero-shot", way) for way in ("box", "box 20 % too large")),
        *(("p2", "fine-tuned", way) for way in ("text", "1 point", "3 points", "box", "box 20 % too large")),
        *(("p2", "fine-tuned", way) for way in ("scribble", "lasso", "1 point + 3 corrections")),
    }
    text = (folder / "comparison.md").read_text()
    assert "Compared on the run's test patients, p2" in text and "compare --run moved" in text
    assert str(folder.parent) not in text and str(cases) not in text
    # nobody learned from p2
    assert "CONTAMINATED" not in text and "<h1>Comparison" in (folder / "comparison.html").read_text()
    last = json.loads((folder / "comparison.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "done" and last["report"] == "comparison.html"


def test_a_report_that_is_there_is_replaced_only_when_asked(folder, capsys):
    (folder / "comparison.html").write_text("mine")
    assert main(["compare", "--run", str(folder), "--device", "cpu"]) == 2
    assert "--overwrite" in capsys.readouterr().err and (folder / "comparison.html").read_text() == "mine"
    assert json.loads((folder / "comparison.jsonl").read_text().splitlines()[-1])["event"] == "failed"


def test_without_test_patients_those_of_validation_are_taken_and_it_says_so(cases, tmp_path, capsys):
    out, scans = tmp_path / "run", tmp_path / "scans"
    for path in cases.iterdir():
        scans.mkdir(exist_ok=True)
        shutil.copy(path, scans / path.name.replace("p3", "Roe"))
    words = options(scans, out, epochs=1, steps=1, validation="Roe", text=["liver tumor"])
    assert main(["train", *words, "--no-blend"]) == 0
    # the weight file keeps the name to itself, and yet it is known whom it has seen
    assert "Roe" not in json.dumps(read_about(next(out.glob("*.safetensors"))))
    assert main(["compare", "--run", str(out), "--device", "cpu"]) == 0
    text = (out / "comparison.md").read_text()
    assert "had no test patients: compared on its validation patients, Roe" in text and "somewhat too good" in text
    assert "CONTAMINATED: file:" in text


def test_scans_that_moved_are_named_and_further_models_can_join(folder, cases, tmp_path, capsys):
    moved = shutil.copytree(cases, tmp_path / "scans")
    words = ["compare", "mobile-sam", "--run", str(folder), "--images", str(moved), "--cases", "p1", "--limit", "1"]
    assert main([*words, "-o", str(tmp_path / "out"), "--device", "cpu", "--yes"]) == 0
    rows = rows_of(tmp_path / "out.csv")
    assert {row["case"] for row in rows} == {"p1"} and "mobile-sam" in {row["model"] for row in rows}
    # the run learned from p1
    assert "CONTAMINATED" in (tmp_path / "out.md").read_text()


@pytest.mark.parametrize("words", [[], ["--window", "liver"]])
def test_what_is_no_finished_run_or_is_the_runs_own_business_is_told(words, tmp_path, capsys):
    assert main(["compare", "--run", str(tmp_path), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no finished training" in line or "those of the run" in line


def test_without_a_run_models_images_and_a_name_are_needed(capsys):
    assert main(["compare", "lite-medsam"]) == 2
    assert "--run RUN" in capsys.readouterr().err


def test_a_run_that_learned_from_its_only_patient_is_not_compared_on_it(cases, tmp_path, capsys):
    scans = tmp_path / "one"
    scans.mkdir()
    from training_case import write_case

    write_case(scans, "p1", slices=12, with_tumor=range(1, 11))
    words = options(scans, tmp_path / "run", epochs=1, steps=1, slices=0, text=["liver tumor"])
    words[words.index("--validation") : words.index("--validation") + 2] = []
    assert main(["train", *words, "--no-blend"]) == 0
    assert main(["compare", "--run", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "learned from its only patient, p1" in capsys.readouterr().err


def test_a_process_of_its_own_compares_and_is_cancelled_through_files(folder):
    process = ComparisonProcess(folder)
    process.start("cpu")
    assert process.running
    process.cancel()
    _wait(process)
    events = process.new_events()
    assert events[-1]["event"] == "cancelled" and not (folder / "comparison.html").exists(), process.output()
    process.start("cpu")
    _wait(process)
    assert process.new_events()[-1]["event"] == "done" and (folder / "comparison.html").is_file(), process.output()


def _wait(process):
    end = time.monotonic() + 300
    while process.running:
        assert time.monotonic() < end
        time.sleep(0.2)
