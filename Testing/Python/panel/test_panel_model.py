"""The section Model: settings reach the session; weights come only after a yes, in the worker's thread."""

import pytest
from desktop.process import ROOT, run_on_desktop

START = f"""
sys.path.insert(0, {str(ROOT / "Testing" / "support")!r})
import panel_case
user = panel_case.User(desktop, widget)
ui, panel, session, parameters = user.ui, user.panel, user.session, widget._parameterNode
"""
EMPTY = """
import threading
from SAMLiverTumorLib.errors import Cancelled, ModelError
from SAMLiverTumorLib.models.download.store import ModelStore
class Store(ModelStore):
    # an empty folder; fetching writes a file of the right size, once the gate is open
    gate, fetched, threads = threading.Event(), [], []
    def fetch(self, info, confirm, progress=None, cancel=None):
        self.threads.append(threading.current_thread().name)
        progress(info.size // 2, info.size)
        while not self.gate.wait(0.005):
            if cancel():
                raise Cancelled("Cancelled.")
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / info.file_name).open("wb") as file:
            file.truncate(info.size)
        self.fetched.append(info.id)
        return self.path(info)
store = panel.pool.store = Store(Path("models").absolute())
panel.pool._isComplete, panel.pool.missingPackages = False, lambda: []
panel.update()
def finish():
    # torch is imported, which takes long on a busy machine
    desktop.wait(lambda: not session.busy and not panel.tasks.busy, seconds=240)
    desktop.processEvents()
user.finish = finish
"""


@pytest.fixture
def run(tmp_path):
    """Run a program with `user` at the open panel."""
    return lambda program, **options: run_on_desktop(START + program, tmp_path, **options)


def test_choices_reach_the_session_and_the_parameter_node(run):
    run(
        """
from SAMLiverTumorLib.image.window import PRESETS, Window
assert (session.settings.model, session.settings.window) == ("auto", None) and not ui.windowLowSpinBox.enabled
ui.modelCombo.setCurrentText("mobile-sam")
ui.windowCombo.setCurrentText("liver")
ui.channelsCombo.setCurrentText("neighbors")
ui.planeCombo.setCurrentText("coronal")
assert session.settings.quality == "full"
ui.qualityCombo.setCurrentText("best")
settings = session.settings
assert (settings.model, settings.channels, settings.orientation) == ("mobile-sam", "neighbors", "coronal")
assert (settings.quality, parameters.quality) == ("best", "best")
assert settings.window == PRESETS["liver"] and parameters.window == "liver"
ui.windowCombo.setCurrentText("custom")
ui.windowLowSpinBox.setValue(-20)
ui.windowHighSpinBox.setValue(140)
assert session.settings.window == Window(-20, 140) and ui.windowLowSpinBox.enabled
ui.windowHighSpinBox.setValue(-30)
assert "upper value" in ui.statusLabel.text and session.settings.window == Window(-20, 140)
"""
    )


def test_what_the_message_says_of_a_volume_not_in_hounsfield_units_helps(run):
    run(
        """
import numpy as np
grey = np.full(user.volume.array.shape, 60, np.uint8)
grey[0, 0] = (0, 236) * 12
slicer.util.updateVolumeFromArray(user.volumeNode, grey)
user.click(5, 6, 4)
user.finish()
assert "give the range to show: in the panel, window 'custom' with 0 and 236" in ui.statusLabel.text
assert user.count() == 0
ui.windowCombo.setCurrentText("custom")
ui.windowLowSpinBox.setValue(0)
ui.windowHighSpinBox.setValue(236)
ui.segmentButton.click()
user.finish()
assert user.count() == panel_case.SPECK, ui.statusLabel.text
"""
    )


def test_the_label_names_size_licence_prompts_and_state(run):
    run(
        EMPTY
        + """
ui.modelCombo.setCurrentText("lite-medsam")
assert ui.modelInfoLabel.text == "<b>LiteMedSAM</b>: box; 39.4 MB, Apache-2.0; not downloaded", ui.modelInfoLabel.text
assert ui.downloadButton.enabled and not ui.removeModelButton.enabled
"""
    )


def test_segment_offers_the_missing_model_and_goes_on_with_it(run):
    run(
        EMPTY
        + """
ui.modelCombo.setCurrentText("mobile-sam")
user.click(5, 6, 4)
user.finish()
assert ui.statusLabel.text.startswith("MobileSAM is not on this computer yet: press Segment"), ui.statusLabel.text
desktop.answer("No")
ui.segmentButton.click()
assert ui.statusLabel.text == "Nothing was downloaded." and not store.fetched
assert "40.7 MB, Apache-2.0" in desktop.shown[-1].text and str(store.root) in desktop.shown[-1].text
desktop.answer("Yes")
panel.pool._pool = user
ui.segmentButton.click()
desktop.wait(lambda: ui.statusLabel.text == "Downloading: 20.4 of 40.7 MB")
assert ui.progressBar.value in (499, 500)
assert ui.cancelButton.enabled and not ui.removeModelButton.enabled
store.gate.set()
user.finish()
assert store.fetched == ["mobile-sam"] and user.count() == panel_case.SPECK
assert store.threads == ["SAMLiverTumor network"], "the panel did not wait"
"""
    )


def test_a_click_needs_no_download_and_only_the_model_for_boxes_is_offered(run):
    run(
        EMPTY
        + """
panel.pool._pool = user
first, second = ui.modelInfoLabel.text.split("<br>")
assert first == "<b>Liver tumor</b>: box, points, text; 12.3 MB, Apache-2.0; on this computer", first
assert second == "<b>LiteMedSAM</b>: box; 39.4 MB, Apache-2.0; not downloaded", second
user.click(5, 6, 4)
user.finish()
assert user.count() == panel_case.SPECK, ui.statusLabel.text
ui.segmentButton.click()
user.finish()
assert desktop.shown == [] and not store.threads and not store.root.exists()
desktop.answer("No")
ui.downloadButton.click()
assert "LiteMedSAM" in desktop.shown[-1].text and "Liver tumor" not in desktop.shown[-1].text
ui.modelCombo.setCurrentText("liver-tumor")
assert not ui.downloadButton.enabled and not ui.removeModelButton.enabled
"""
    )


def test_a_bundled_model_that_is_lost_is_not_offered_for_download(run):
    run(
        EMPTY
        + """
store.bundle = Path("elsewhere").absolute()
del Store.fetch  # the real one
panel.pool._pool = None
panel.update()
assert ui.modelInfoLabel.text.startswith("<b>Liver tumor</b>"), ui.modelInfoLabel.text
assert "missing, reinstall the extension<br>" in ui.modelInfoLabel.text
ui.modelCombo.setCurrentText("liver-tumor")
assert not ui.downloadButton.enabled and "is part of the extension" in ui.downloadButton.toolTip
for press in (lambda: user.click(5, 6, 4), ui.segmentButton.click):
    press()
    user.finish()
    assert "come with the extension alone" in ui.statusLabel.text, ui.statusLabel.text
assert desktop.shown == [] and user.count() == 0
"""
    )


def test_a_download_can_be_cancelled(run):
    run(
        EMPTY
        + """
desktop.answer("Yes")
ui.downloadButton.click()
desktop.wait(lambda: store.threads)
ui.cancelButton.click()
assert not panel.tasks.busy and not panel.timer.active and ui.statusLabel.text == "Cancelled."
assert panel.worker.wait(10) and not store.fetched
"""
    )


def test_a_local_file_of_a_published_files_size_is_not_taken_for_it(run):
    run(
        EMPTY
        + """
from SAMLiverTumorLib.models.registry import get_model
panel.pool._pool = None
with open("fake.pth", "wb") as file:
    file.truncate(get_model("lite-medsam").size)
desktop.answer("", "fake.pth")
ui.localFileButton.click()
ui.localFileButton.click()
user.finish()
assert ui.statusLabel.text.startswith("'fake.pth' is not a weight file"), ui.statusLabel.text
assert not store.is_present(get_model("lite-medsam")) and parameters.model == "auto"
"""
    )


def test_removing_asks_first_and_deletes(run):
    run(
        EMPTY
        + """
store.gate.set()
ui.modelCombo.setCurrentText("lite-medsam")
desktop.answer("Yes", "No", "Yes")
ui.downloadButton.click()
user.finish()
assert not ui.downloadButton.enabled and "on this computer" in ui.modelInfoLabel.text
ui.removeModelButton.click()
assert ui.removeModelButton.enabled
ui.removeModelButton.click()
assert not ui.removeModelButton.enabled and ui.statusLabel.text == "Removed: LiteMedSAM."
"""
    )


def test_missing_packages_are_reported_and_asked_for_only_by_a_click(run):
    run(
        """
import slicer.packaging as packaging
from SAMLiverTumorLib.errors import ModelError
panel.pool._isComplete, panel.pool.missingPackages = False, lambda: ["segment_anything"]
panel.pool.store.is_present = lambda info: True
user.click(5, 6, 4)
user.finish()
assert ui.statusLabel.text == "Missing: segment_anything. Press Segment to have the Python packages installed."
assert packaging.asked == []
packaging.refusal = RuntimeError("User declined installation.")
ui.segmentButton.click()
assert ui.statusLabel.text == "User declined installation."
assert packaging.asked and not any(name.startswith(("torch", "numpy", "SimpleITK")) for name in packaging.asked[0])
"""
    )


def test_in_testing_mode_nothing_is_downloaded(run):
    run(
        EMPTY
        + """
ui.downloadButton.click()
assert ui.statusLabel.text == "Nothing was downloaded." and not store.threads
""",
        options="testing=True",
    )
