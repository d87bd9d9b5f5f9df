"""`sam-liver-tumor compare` on files, as a user calls it."""

import csv
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli_case import files, write_volume
from ircadb_case import Patient, boxes
from propagation_case import DarkPool, ball, phantom_of

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.models.networks.unet import Unet, UnetShape, build_network, save_unet
from SAMLiverTumorLib.models.registry import get_model
from SAMLiverTumorLib.volume import Volume


def write_case(folder, number, center=(15, 20, 22)):
    """A phantom and its labels (1 liver, 2 tumor) under LiTS names."""
    inside = ball(center=center)
    volume = phantom_of(inside)
    write_volume(folder / f"liver_{number}_ct8.nii.gz", volume)
    labels = np.where(inside, 2, 1).astype(np.uint8)
    write_volume(folder / f"liver_{number}_label.nii.gz", Volume(labels, volume.ijk_to_ras))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path):
    """Two cases in a folder of their own."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_case(folder, 2)
    write_case(folder, 11, (14, 22, 20))
    return folder


@pytest.fixture
def dark(monkeypatch):
    """A network that is a rule of thumb, in place of every promptable model."""
    pool = DarkPool("mobile-sam")
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: pool)
    return pool


def call(data, out, *words, models=("mobile-sam",)):
    return main(["compare", *models, "--images", str(data), "-o", str(out), "--device", "cpu", *map(str, words)])


def test_it_compares_and_writes_three_files_that_name_nobodys_folders(data, dark, tmp_path, capsys):
    torch.manual_seed(0)
    shape = UnetShape(32, (4, 8))
    net = save_unet(
        Unet(build_network(shape).eval(), shape, {"training_cases": ["liver_2"]}), tmp_path / "n.safetensors"
    )
    assert call(data, tmp_path / "out", models=(f"unet:{tmp_path / 'n.safetensors'}", "mobile-sam")) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^mobile-sam +1 point \+ 3 corrections +1\.000 +1\.000", shown, re.MULTILINE)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"liver_2", "liver_11"}
    assert {row["prompt"] for row in rows} == {
        "automatic",
        "1 point",
        "3 points",
        "box",
        "box 20 % too large",
        "scribble",
        "lasso",
        "1 point + 3 corrections",
    }
    assert {row["dice"] for row in rows if row["model"] == "mobile-sam"} == {"1.0"}
    for name in ("out.md", "out.html"):
        text = (tmp_path / name).read_text()
        assert str(tmp_path) not in text
        assert "--images data" in text
        assert net.sha256 in text
        assert "U-Net n.safetensors was trained or chosen on liver_2" in text
    assert "Automatic models on whole volumes" in (tmp_path / "out.md").read_text()


def test_cases_are_chosen_by_name_or_number_and_slices_limited(data, dark, tmp_path):
    assert call(data, tmp_path / "out", "--cases", "11", "--limit", 2) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"liver_11"}
    assert len({row["slice"] for row in rows}) == 2
    assert "At most 2 slices of each case" in (tmp_path / "out.md").read_text()


@pytest.mark.parametrize(
    "words, text",
    [
        (["--cases", "7"], "no case '7'; there are liver_2, liver_11"),
        (["--limit", "0"], "1 or more"),
        (["--label", "3=spleen"], "VALUE=tumor"),
        (["--window", "odd"], "Unknown window"),
    ],
)
def test_unusable_options_are_refused_before_a_network_is_loaded(data, dark, tmp_path, capsys, words, text):
    before = files(tmp_path)
    assert call(data, tmp_path / "out", *words) == 2
    assert text in capsys.readouterr().err
    assert dark.network.embedded == 0
    assert files(tmp_path) == before


def test_cases_that_are_held_out_are_not_looked_at(data, dark, tmp_path, capsys, monkeypatch):
    held = tmp_path / "held.txt"
    held.write_text("# judged on\nliver_11\n")
    monkeypatch.setattr("SAMLiverTumorLib.datasets.cases.read_volume", None)
    for words in ([], ["--cases", "11"]):
        assert call(data, tmp_path / "out", "--hold-out", held, *words) == 2
        assert "liver_11 is held out" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("SAMLiverTumorLib.inference.pool.PredictorPool", lambda *args, **options: dark)
    assert call(data, tmp_path / "out", "--hold-out", held, "--cases", "2", "--limit", 1) == 0


def test_existing_files_are_kept_unless_overwriting_was_asked_for(data, dark, tmp_path, capsys):
    (tmp_path / "out.md").write_text("old")
    assert call(data, tmp_path / "out") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert ((tmp_path / "out.md").read_text(), dark.network.embedded) == ("old", 0)
    assert call(data, tmp_path / "out", "--overwrite", "--limit", 1) == 0
    assert "# Comparison" in (tmp_path / "out.md").read_text()


def test_an_interrupt_leaves_nothing_half_written(data, dark, tmp_path, capsys):
    plain, count = dark.network.predict, []

    def interrupted(embedding, prompts):
        count.append(1)
        if len(count) == 7:
            raise KeyboardInterrupt
        return plain(embedding, prompts)

    dark.network.predict = interrupted
    before = files(tmp_path)
    assert call(data, tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_model_that_knows_text_is_asked_for_the_tumor_once_a_slice(data, dark, tmp_path):
    info = replace(get_model("mobile-sam"), prompts=frozenset({"text"}), concepts=("liver", "liver tumor"))
    dark.network.model = SimpleNamespace(info=info, sha256="0" * 64)
    asked = []

    def by_text(embedding, concept):
        asked.append(concept)
        return SimpleNamespace(mask=embedding < 120)

    dark.network.predict_text = by_text
    assert call(data, tmp_path / "out", "--limit", 2) == 0
    assert asked == ["liver tumor"] * 4
    with (tmp_path / "out.csv").open(newline="") as file:
        assert {(row["prompt"], row["dice"]) for row in csv.DictReader(file)} == {("text", "1.0")}


def test_asking_for_help_imports_nothing_heavy(root):
    code = (
        "import sys; from SAMLiverTumorLib.cli.main import build_parser; build_parser();"
        "print([m for m in ('scipy', 'torch', 'monai', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_patients_of_3dircadb_are_compared_and_contamination_under_lits_names_is_told(dark, tmp_path):
    torch.manual_seed(0)
    masks = boxes(liver=((1, 2, 2), (11, 38, 46)), livertumor01=((3, 8, 8), (7, 20, 22)))
    for number in (2, 3):
        Patient(number, masks).write_zips(tmp_path / "3Dircadb1")
    Patient(5, {"liver": masks["liver"]}).write(tmp_path / "3Dircadb1")
    shape = UnetShape(32, (4, 8))
    net = save_unet(
        Unet(build_network(shape).eval(), shape, {"training_cases": ["liver_29"]}), tmp_path / "n.safetensors"
    )
    assert net.sha256
    assert (
        call(tmp_path / "3Dircadb1", tmp_path / "out", models=(f"unet:{tmp_path / 'n.safetensors'}", "mobile-sam")) == 0
    )
    text = (tmp_path / "out.md").read_text()
    assert "3Dircadb1_2 (4 trials on 4 slices)" in text and "3Dircadb1_5 (0 trials on 0 slices)" in text
    assert "CONTAMINATED: U-Net n.safetensors was trained or chosen on 3Dircadb1_2;" in text
    assert "3Dircadb1_2, 3Dircadb1_3, 3Dircadb1_5: very probably 29, 30, 32 of LiTS" in text
