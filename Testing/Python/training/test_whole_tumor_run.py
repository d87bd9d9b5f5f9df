"""The training of the network of whole lesions, on a tiny scan: it goes on where it stopped, and its file works."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scans_case import write_scans

from SAMLiverTumorLib.cli.main import main
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.whole_tumor.lesion_network import load_lesion_network
from SAMLiverTumorLib.models.networks.lesion_unet import LesionUnet
from SAMLiverTumorLib.training.progress_events import Reporter
from SAMLiverTumorLib.training.whole_tumor.examples import Example
from SAMLiverTumorLib.training.whole_tumor.run import run_whole_tumor
from SAMLiverTumorLib.training.whole_tumor.settings import WholeTumorSettings, read_whole_tumor_settings
from SAMLiverTumorLib.training.whole_tumor.step import learn_from, lesion_loss

_TOML = """
method = "whole-tumor"
images = ["scans"]
labels = ["scans"]
windows = ["wide"]
hold_out = "hold-out.txt"
leave_out = ["liver_7"]
steps = 3
cool_down = 2
warm_up = 0
learning_rate = 0.05
size = 16
widths = [4, 8, 8]
rounds = [0.0, 1.0]
device = "cpu"
"""


@pytest.fixture
def folder(tmp_path):
    """Two patients with a liver and a tumor, and settings."""
    k, v, u = np.ogrid[:24, :64, :64]
    away = np.hypot(np.hypot(v - 30, u - 28), 2 * (k - 12))
    label = (away < 20).astype(np.uint8) + (away < 7)
    hu = np.where(label == 2, 60, np.where(label == 1, 110, -100)).astype(np.int16)
    write_scans(tmp_path / "scans", hu, label)
    (tmp_path / "hold-out.txt").write_text("liver_4\n")
    (tmp_path / "config.toml").write_text(_TOML)
    return tmp_path


@pytest.fixture
def settings(folder) -> WholeTumorSettings:
    return read_whole_tumor_settings(folder / "config.toml")


def test_a_cancelled_run_goes_on_to_what_it_had_become_anyway(settings, folder):
    whole = run_whole_tumor(settings, folder / "whole", Reporter(None))
    asked = iter([False, False, True])
    assert run_whole_tumor(settings, folder / "parts", Reporter(None), cancel=lambda: next(asked)) is None
    parts = run_whole_tumor(settings, folder / "parts", Reporter(None), resume=True)
    one, other = load_lesion_network(whole), load_lesion_network(parts)
    for (name, weight), again in zip(
        one.network.state_dict().items(), other.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(weight, again, atol=1e-3, rtol=1e-3, msg=name)
    assert one.card["steps"] == 3 and one.card["split"]["train"] == ["liver_6"]
    assert one.card["split"]["test"] == ["liver_7"] and str(folder) not in str(one.card)


def test_an_earlier_run_can_be_the_start(settings, folder):
    run_whole_tumor(settings, folder / "first", Reporter(None))
    begun = replace(settings, start=str(folder / "first"), steps=1, learning_rate=1e-9)
    path = run_whole_tumor(begun, folder / "second", Reporter(None))
    one = load_lesion_network(folder / "first" / "model.safetensors").network.state_dict()
    other = load_lesion_network(path).network.state_dict()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], atol=1e-3, rtol=1e-3)


def test_the_command_takes_a_configuration_of_this_method(folder, capsys):
    assert main(["train", "--config", str(folder / "config.toml"), "--out", str(folder / "run")]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert load_lesion_network(folder / "run" / "model.safetensors").card["settings"]["method"] == "whole-tumor"


def test_the_configuration_that_is_shipped_can_be_read(root):
    settings = read_whole_tumor_settings(root / "Resources" / "Models" / "whole-tumor-network.toml")
    assert settings.batch == 2 and settings.size == 48 and len(settings.images) == 3
    assert settings.hold_out.endswith("hold-out.txt")
    LesionUnet(settings.widths)


@pytest.mark.parametrize("line", ["size = 18", "size = 4", "widths = [8]", "widths = [8, 'a']", "method = 'other'"])
def test_settings_that_cannot_be_are_refused(folder, line):
    name = line.partition(" ")[0]
    lines = [each for each in _TOML.splitlines() if not each.startswith(f"{name} ")]
    (folder / "config.toml").write_text("\n".join([*lines, line]))
    if name == "method":
        assert read_whole_tumor_settings(folder / "config.toml") is None
        return
    with pytest.raises(InputError):
        read_whole_tumor_settings(folder / "config.toml")


def test_a_small_lesion_counts_as_much_as_a_large_one():
    a, b, c = np.ogrid[:48, :48, :48]
    losses = []
    for radius in (6.0, 18.0):
        away = np.sqrt((a - 24.0) ** 2 + (b - 24.0) ** 2 + (c - 24.0) ** 2)
        target = torch.from_numpy(away < radius).float()[None, None]
        # a border that is off by a tenth of the radius
        logits = torch.from_numpy(np.where(away < 1.1 * radius, 8.0, -8.0)).float()[None, None]
        losses.append(float(lesion_loss(logits, target)))
    assert losses[0] == pytest.approx(losses[1], rel=0.35)
    perfect = lesion_loss(20 * target - 10, target)
    assert float(perfect) < 0.01


def test_the_network_learns_one_lesion_by_heart():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    a, b, c = np.ogrid[:16, :16, :16]
    target = (a - 8) ** 2 + (b - 7) ** 2 + (c - 8) ** 2 < 20
    network, grey = LesionUnet((4, 8, 8)), np.where(target, 110.0, 165.0).astype(np.float32)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        nothing = [np.zeros(target.shape, np.float32) for _ in range(4)]
        optimizer.zero_grad()
        losses.append(learn_from(network, [Example(grey, target, *nothing, 1.0)], 2, rng))
        optimizer.step()
    assert losses[-1]["first"] < 0.3 * losses[0]["first"] and losses[-1]["corrected"] < 0.3 * losses[0]["corrected"]
