"""The network's training as a whole, on a tiny scan: it goes on where it stopped, and its file can be used."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans_case import write_scans

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError, OutputError
from SAMLiverTumorLib.models.builders import load_model
from SAMLiverTumorLib.training.end_to_end import run
from SAMLiverTumorLib.training.end_to_end.load_scans import load_scans
from SAMLiverTumorLib.training.end_to_end.settings import NetworkSettings, read_network_settings
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.runs import long_run

_TOML = """
method = "end-to-end"
images = ["scans"]
labels = ["scans"]
windows = ["wide"]
flat = ["flat"]
hold_out = "hold-out.txt"
leave_out = ["liver_7"]
steps = 3
cool_down = 2
warm_up = 0
size = 64
large_size = 96
batch = 2
rounds = [0.0, 1.0]
device = "cpu"
"""


@pytest.fixture
def folder(tmp_path):
    """Two patients of four slices each, three flat slices, and settings."""
    (tmp_path / "flat").mkdir()
    v, u = np.ogrid[:64, :64]
    label = ((np.hypot(v - 30, u - 28) < 20).astype(np.uint8) + (np.hypot(v - 26, u - 30) < 6))[None].repeat(4, 0)
    hu = np.where(label == 2, 60, np.where(label == 1, 110, -100)).astype(np.int16)
    write_scans(tmp_path / "scans", hu, label)
    np.savez(tmp_path / "flat" / "slices.npz", image=np.clip(hu[:3], 0, 255).astype(np.uint8), liver=label[:3] > 0)
    (tmp_path / "flat" / "slices.csv").write_text("row,patient,lits_id\n0,a,7\n1,b,6\n2,c,\n")
    (tmp_path / "hold-out.txt").write_text("liver_4\n")
    (tmp_path / "config.toml").write_text(_TOML)
    return tmp_path


@pytest.fixture
def settings(folder) -> NetworkSettings:
    return read_network_settings(folder / "config.toml")


@pytest.fixture
def no_base(monkeypatch):
    """Without the download of the model whose decoder is the start."""
    monkeypatch.setattr(run.Student, "start_from", lambda self, weights: None)
    monkeypatch.setattr(run, "open_base", lambda *_: _Nothing())


class _Nothing:
    image_encoder = prompt_encoder = mask_decoder = torch.nn.Identity()


def test_who_is_left_out_is_left_out_of_flat_slices_too(settings):
    scans = {scan.name: scan for scan in load_scans(settings)}
    assert set(scans) == {"liver_6", "flat"}
    assert len(scans["flat"].grey) == 2 and scans["flat"].single and not scans["flat"].has_tumor


def test_all_scans_have_the_grey_of_the_wide_window(settings):
    scans = {scan.name: scan for scan in load_scans(settings)}
    assert set(np.unique(scans["liver_6"].grey)) == {38, 140, 172}
    # what lies below 0 HU is lost there
    assert set(np.unique(scans["flat"].grey)) == {102, 140, 172}
    assert scans["liver_6"].spacing == (1.0, 1.0, 2.0)


def test_a_cancelled_run_goes_on_to_what_it_had_become_anyway(settings, folder, no_base):
    quiet = Reporter(None)
    whole = run.run_end_to_end(settings, folder / "whole", quiet)
    asked = iter([False, False, True])
    assert run.run_end_to_end(settings, folder / "parts", quiet, cancel=lambda: next(asked)) is None
    with pytest.raises(OutputError, match="--resume"):
        run.run_end_to_end(settings, folder / "parts", quiet)
    parts = run.run_end_to_end(settings, folder / "parts", quiet, resume=True)
    one, other = load_model(whole, None, "cpu"), load_model(parts, None, "cpu")
    assert one.info.architecture == "pyramid" and one.info.channels == "slices" and one.info.resize == "native"
    assert set(one.text.concepts) == {"liver tumor", "liver"}
    for (name, weight), again in zip(
        one.image_encoder.state_dict().items(), other.image_encoder.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(weight, again, atol=2e-3, rtol=1e-2, msg=name)
    assert whole.stat().st_size <= 20e6


def test_the_command_takes_a_configuration_of_this_method(folder, no_base, capsys):
    assert main(["train", "--config", str(folder / "config.toml"), "--out", str(folder / "run")]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert main(["train", "--config", str(folder / "config.toml"), "--out", str(folder / "run"), "--steps", "9"]) != 0
    assert "from the file alone" in capsys.readouterr().err


def test_progress_is_told(settings, folder, no_base, monkeypatch):
    monkeypatch.setattr(long_run, "_REPORT_EVERY", 1)
    (folder / "run").mkdir()
    run.run_end_to_end(settings, folder / "run", Reporter(folder / "run"))
    events = [json.loads(line) for line in (folder / "run" / "progress.jsonl").read_text().splitlines()]
    names = [event["event"] for event in events if event["event"] != "note"]
    assert names == ["start", "step", "step", "step"]
    assert str(folder) not in (folder / "run" / "progress.jsonl").read_text()


def test_the_rate_rises_stays_and_falls(settings):
    settings = replace(settings, steps=100, warm_up=10, cool_down=20)
    shares = [long_run.rate_share(settings, step) for step in (0, 9, 50, 80, 90, 99)]
    assert shares == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.5, 0.05])


@pytest.mark.parametrize(
    "line", ["size = 100", "steps = 0", "images = []", "unknown = 1", "steps = 'many'", "rounds = []", "windows = []"]
)
def test_settings_that_cannot_be_are_refused(folder, line):
    name = line.partition(" ")[0]
    lines = [each for each in _TOML.splitlines() if not each.startswith(f"{name} ")]
    (folder / "config.toml").write_text("\n".join([*lines, line]))
    with pytest.raises(InputError):
        read_network_settings(folder / "config.toml")


def test_a_file_of_another_method_is_not_for_here(folder):
    (folder / "config.toml").write_text('base = "lite-medsam"\n')
    assert read_network_settings(folder / "config.toml") is None
