"""`sam-liver-tumor train` from the command line: a model that is used, runs cancelled, killed, and in two processes."""

import json

import numpy as np
import pytest
from cli_case import read_segment
from cli_case import run as segment
from training_case import command, events, losses, options, write_cases

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.models.weights import read_about

SHORT = {"epochs": 2, "steps": 2, "batch": 2, "corrections": 0, "text": "liver tumor"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Slice images are encoded once for all of these runs."""
    return tmp_path_factory.mktemp("embeddings")


@pytest.fixture(scope="module")
def short(cases, cache):
    """Options of a training run of four steps."""
    return lambda out, **more: options(cases, out, cache=cache, **{**SHORT, **more})


@pytest.fixture(scope="module")
def finished(cases, cache, tmp_path_factory):
    """The folder of a training run that was long enough to learn obvious tumors."""
    out = tmp_path_factory.mktemp("finished") / "run"
    toml = out.parent / "settings.toml"
    # LiteMedSAM was trained for boxes: there is nothing to learn with them, and everything with clicks and text
    toml.write_text("average = 0.5\npoint = 0.5\nbox = 0.1\ntext = 0.4\nbox_and_point = 0.0\n")
    words = options(cases, out, cache=cache, config=toml, steps=8, epochs=4, batch=1, slices=2, negatives=0)
    assert main(["train", *words, "--learning-rate", "5e-4", "--text", "liver tumor", "--no-blend"]) == 0
    return out


def test_obvious_tumors_are_learned_and_the_model_is_adopted(finished):
    (done,) = events(finished, "done")
    assert done["adopted"] and done["weights"] == "model.safetensors"
    before, after = (np.mean(list(done[when].values())) for when in ("before", "after"))
    assert after > before + 0.05
    # a dark disc on bright liver: text alone finds none of it before
    assert done["before"]["text"] < 0.1
    assert len(events(finished, "step")) == 32 and len(events(finished, "validation")) == 5


def test_the_weight_file_opens_by_itself_and_holds_its_concepts_and_its_card(finished, cases):
    model = load_model(finished / "model.safetensors", device="cpu")
    assert model.info.prompts == {"points", "box", "mask", "text"}
    assert model.info.concepts == model.text.concepts == ("liver tumor",)
    card = read_about(finished / "model.safetensors")["card"]
    assert card["split"]["validation"] == ["p3"] and set(card["data_sha256"]) == {"p1", "p2", "p3"}
    assert card["base"]["id"] == "lite-medsam" and card["adopted"] and card["before"] and card["after"]
    assert str(cases) not in json.dumps(card)


def test_segment_takes_the_new_model_with_a_click(finished, cases, tmp_path):
    out, report = tmp_path / "out.seg.nrrd", tmp_path / "report.json"
    # pixel (40, 34) of slice 2, the middle of p3's tumor
    words = (cases / "p3_ct.nii.gz", "-o", out, "--model", finished / "model.safetensors", "--point=-80,-68,10")
    assert segment(*words, "--json", report, "--device", "cpu") == 0
    mask, _ = read_segment(out)
    assert {int(k) for k in np.nonzero(mask)[0]} <= {2}
    assert "file:model.safetensors" in report.read_text()


def test_a_folder_with_a_training_run_is_not_used_for_another(finished, cases, capsys):
    assert main(["train", *options(cases, finished)]) == 2
    assert "continue with --resume, or choose another folder" in capsys.readouterr().err


def test_a_model_that_is_not_better_is_not_adopted(short, tmp_path):
    out = tmp_path / "run"
    assert main(["train", *short(out, epochs=1, steps=1, batch=1, learning_rate=1e-12), "--no-blend"]) == 0
    (done,) = events(out, "done")
    assert not done["adopted"] and not (out / "model.safetensors").exists()
    assert read_about(out / "not-adopted.safetensors")["card"]["adopted"] is False


def test_adapters_through_the_command_give_a_small_file_that_opens(short, tmp_path):
    out = tmp_path / "run"
    words = short(out, epochs=1, steps=1, batch=1, train="lora", rank=2, text=[])
    assert main(["train", *words]) == 0
    (path,) = out.glob("*.safetensors")
    assert path.stat().st_size < 20e6
    assert read_about(path)["adapter"]["base"] == "lite-medsam" and read_about(path)["adapter"]["rank"] == 2
    assert load_model(path, device="cpu").info.prompts == {"points", "box", "mask"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cases": ["p1", "p9"]}, "no patient p9"),
        ({"base": "nobody"}, "neither a known model"),
        ({"learning_rate": 0}, "above 0"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused_in_one_line(short, tmp_path, capsys, more, message):
    assert main(["train", *short(tmp_path / "run", **more)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sam-liver-tumor: error: ") and message in line


def test_a_held_out_patient_stops_the_command_before_anything_is_read(short, tmp_path, capsys):
    held = tmp_path / "held.txt"
    held.write_text("p2\n")
    assert main(["train", *short(tmp_path / "run", hold_out=held)]) == 2
    assert "p2 is held out" in capsys.readouterr().err
    assert events(tmp_path / "run", "prepare") == []


def _finish(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return out


def test_a_killed_run_resumes_exactly_and_two_processes_have_the_same_losses(short, tmp_path):
    killed, shared = tmp_path / "killed", tmp_path / "shared"
    process = command(*short(killed), "--json")
    # step 3 is after the first epoch's state and before the second's
    for line in process.stdout:
        if json.loads(line).get("step") == 3 and json.loads(line)["event"] == "step":
            break
    process.kill()
    process.wait()
    process.stdout.close(), process.stderr.close()
    first = losses(killed)
    assert not list(killed.glob("*.safetensors")) and max(first) < 5
    _finish(command(*short(killed), "--resume"))
    steps = [event["step"] for event in events(killed, "step")]
    assert steps in ([1, 2, 3, 3, 4], [1, 2, 3, 4, 3, 4]) and events(killed, "start")[1]["resumed_at"] == 2
    assert losses(killed)[3] == first[3] and len(list(killed.glob("*.safetensors"))) == 1
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "SAMLiverTumorLib")
    _finish(command(*short(shared), launcher=torchrun))
    assert losses(shared) == pytest.approx(losses(killed), abs=1e-4)
    assert len(events(shared, "done")) == 1
