"""The section Model: a weight file of the user's own, from the file dialog to the mask's provenance."""

import hashlib
import os

import pytest
from random_weights import random_checkpoint

START = """
import os
import numpy as np
from SAMLiverTumorLib.models.download.store import ModelStore
from SAMLiverTumorLib.mrml.segments.segments import provenance
store = panel.pool.store = ModelStore(Path("models").absolute())
panel.pool._pool, panel.pool._isComplete = None, False
parameters = widget._parameterNode
def finish():
    # torch is imported and networks are loaded, which takes long on a busy machine
    desktop.wait(lambda: not session.busy and not panel.tasks.busy, seconds=240)
    user.finish()
def choose(name):
    desktop.answer(str(Path(name).absolute()))
    ui.localFileButton.click()
    finish()
"""


@pytest.fixture
def run(at_panel):
    """Run a program with `user` at the open panel, over an empty model store and the real pool."""
    return lambda program, **options: at_panel(START + program, **options)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A checkpoint of LiteMedSAM's network that nobody has published."""
    return random_checkpoint("tiny_vit", tmp_path_factory.mktemp("weights") / "tuned <1>.pth", input_size=256)


def test_a_file_of_ones_own_segments_as_in_the_console_and_leaves_its_hash(run, tuned):
    run(
        f"""
from SAMLiverTumorLib.inference import Settings
from SAMLiverTumorLib.mrml.api import segmentNodes
choose({str(tuned)!r})
said = "tuned <1>.pth is used from now on, for box; it is not verified against a published hash."
assert ui.statusLabel.text == said, ui.statusLabel.text
assert (ui.modelCombo.currentText, parameters.model) == ("From a file", "file")
size = {tuned.stat().st_size} / 1e6
expected = f"<b>tuned &lt;1&gt;.pth</b>: box; {{size:.1f}} MB; not verified against a published hash"
assert ui.modelInfoLabel.text == expected, ui.modelInfoLabel.text
assert not ui.downloadButton.enabled and not ui.removeModelButton.enabled
assert not store.root.exists(), "it is used where it is"
roi = user.drawBox((4, 4, 4), (15, 12, 4))
finish()
assert user.count() > 0, ui.statusLabel.text
(entry,) = provenance(session.segmentationNode, session.segmentId)
sha256 = {hashlib.sha256(tuned.read_bytes()).hexdigest()!r}
assert [(m["id"], m["sha256"]) for m in entry["models"]] == [("file:tuned <1>.pth", sha256)], entry
found, _, result = segmentNodes(user.volumeNode, roiNode=roi, pool=panel.pool, settings=Settings({str(tuned)!r}))
assert result.mask.count == user.count() and np.array_equal(result.mask.array, user.array()[result.mask.box])
"""
    )


def test_what_is_no_network_is_refused_unopened_and_the_old_model_stays(run, tmp_path):
    run(
        """
import pickle
import torch
import safetensors.torch
class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)
ui.modelCombo.setCurrentText("mobile-sam")
Path("garbage.pth").write_bytes(b"no weights" * 100)
Path("cut.pth").write_bytes(b"PK" + bytes([3, 4]) + b"cut off")
Path("trap.pth").write_bytes(pickle.dumps({"model": Trap()}))
torch.save({"state_dict": {"layer.weight": torch.zeros(2, 2)}}, "foreign.pt")
safetensors.torch.save_file({"layer.weight": torch.zeros(2, 2)}, "foreign.safetensors")
for name, text in (
    ("garbage.pth", "'garbage.pth' is not a weight file; give a PyTorch checkpoint"),
    ("cut.pth", "The weight file 'cut.pth' is damaged or incomplete"),
    ("trap.pth", "'trap.pth' was not opened: it holds program objects"),
    ("foreign.pt", "The weights do not belong to a Segment Anything network"),
    ("foreign.safetensors", "The weights do not belong to a Segment Anything network"),
    ("missing.pth", "missing.pth is gone: in section Model press"),
):
    choose(name)
    assert text in ui.statusLabel.text, ui.statusLabel.text
    assert (parameters.model, parameters.modelFile, session.settings.model) == ("mobile-sam", "", "mobile-sam")
assert not Path("sprung").exists()
"""
    )


def test_a_scene_keeps_the_file_and_says_what_to_do_when_it_is_gone(run, tuned):
    run(
        f"""
Path("tuned.pth").symlink_to({str(tuned)!r})
choose("tuned.pth")
path = str(Path("tuned.pth").absolute())
ui.liveCheckBox.checked = False
user.drawBox((4, 4, 4), (15, 12, 4))
desktop.saveScene("scene.mrb")
desktop.closeScene()
panel.pool._pool, panel.pool._fileInfos = None, {{}}  # as after a restart
desktop.loadScene("scene.mrb")
assert session.settings.model == path and ui.modelCombo.currentText == "From a file"
assert "its prompts are known once it is loaded" in ui.modelInfoLabel.text, ui.modelInfoLabel.text
Path("tuned.pth").unlink()
panel.update()
assert ui.modelInfoLabel.text.startswith(path + " is gone: press"), ui.modelInfoLabel.text
ui.segmentButton.click()
user.finish()
gone = f"The weight file {{path}} is gone: in section Model press 'Use file…' to choose it again"
assert ui.statusLabel.text.startswith(gone), ui.statusLabel.text
choose({str(tuned)!r})
assert ui.modelInfoLabel.text.startswith("<b>tuned &lt;1&gt;.pth</b>: box;"), ui.modelInfoLabel.text
ui.modelCombo.setCurrentText("auto")
assert session.settings.model == "auto"
ui.modelCombo.setCurrentText("From a file")
assert session.settings.model == {str(tuned)!r}
"""
    )


def test_file_without_a_file_says_which_button_to_press(run):
    run(
        """
ui.modelCombo.setCurrentText("From a file")
assert ui.modelInfoLabel.text == f'No weight file is chosen yet: press "{ui.localFileButton.text}".'
user.click(5, 6, 4)
user.finish()
assert ui.statusLabel.text.startswith("No weight file is chosen: press 'Use file…'"), ui.statusLabel.text
"""
    )


def test_a_published_file_goes_into_the_store_and_becomes_the_model_where_another_was_chosen(run, store):
    from SAMLiverTumorLib.models.registry import get_model

    run(
        f"""
published = {str(store.path(get_model("lite-medsam")))!r}
choose(published)
assert ui.statusLabel.text.startswith("LiteMedSAM was taken from"), ui.statusLabel.text
assert parameters.model == "auto" and [path.name for path in store.root.glob("*.pth")]
ui.modelCombo.setCurrentText("From a file")
choose(published)
assert (parameters.model, parameters.modelFile) == ("lite-medsam", "")
"""
    )


def test_a_changed_file_is_loaded_again(tmp_path):
    from SAMLiverTumorLib.inference.pool import PredictorPool

    path = random_checkpoint("tiny_vit", tmp_path / "own.pth", input_size=256)
    pool = PredictorPool(device="cpu")
    first = pool.predictor(str(path))
    assert pool.predictor(str(path)) is first
    random_checkpoint("tiny_vit", path, seed=1, input_size=256)
    os.utime(path, ns=(1, 1))
    second = pool.predictor(str(path))
    assert first.model.sha256 != second.model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    assert pool.predictor(str(path)) is second, "what is loaded needs no file"
