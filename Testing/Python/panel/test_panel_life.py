"""The panel outlives what happens to the scene and the application, also in the middle of a job."""

import pytest


def test_cancel_drops_what_is_on_its_way_and_the_panel_goes_on(at_panel):
    at_panel(
        """
user.begin()
user.click(5, 6, 4)
desktop.wait(user.network.waiting.is_set)
assert ui.cancelButton.enabled and ui.progressBar.enabled and "Segmenting 1 slice" in ui.statusLabel.text
ui.cancelButton.click()
assert not session.busy and not panel.timer.active and ui.statusLabel.text == "Cancelled. Liver tumor is empty."
user.network.gate.set()
panel.worker.wait(10)
assert session.poll() == [] and user.count() == 0
user.click(12, 12, 4)
user.finish()
assert user.count() == 2 * SPECK
"""
    )


def test_a_result_reaches_the_segment_it_was_asked_for(at_panel):
    at_panel(
        """
user.begin()
user.click(5, 6, 4)
first = session.segmentId
ui.addSegmentButton.click()
user.look(2)
user.network.gate.set()
user.finish()
assert user.count(first) == SPECK and user.count() == 0
"""
    )


def test_another_volume_in_the_middle_of_a_job(at_panel):
    at_panel(
        """
from session_case import small_volume
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
other = addVolumeNode(slicer.mrmlScene, small_volume((30, 20, 8), "other"))
user.begin()
user.click(5, 6, 4)
ui.volumeSelector.setCurrentNode(other)
assert session.volumeNode is other
user.network.gate.set()
user.finish()
assert user.count() == SPECK, "it was asked for on the volume chosen before"
"""
    )


@pytest.mark.parametrize("what", ["volumeNode", "session.segmentationNode", "session.promptNodes[0]"])
def test_deleting_an_input_in_the_middle_of_a_job(at_panel, what):
    at_panel(
        f"""
user.begin()
user.click(5, 6, 4)
desktop.wait(user.network.waiting.is_set)
volumeNode = user.volumeNode
slicer.mrmlScene.RemoveNode({what})
user.network.gate.set()
user.finish()
if {what!r} == "volumeNode":
    assert ui.statusLabel.text and session.volumeNode is None and not ui.includeButton.enabled
else:
    user.click(12, 12, 4)
    user.finish()
    assert user.count() == SPECK
"""
    )


def test_closing_the_scene_in_the_middle_of_a_job(at_panel):
    at_panel(
        """
user.begin()
user.click(5, 6, 4)
desktop.wait(user.network.waiting.is_set)
desktop.closeScene()
user.network.gate.set()
panel.worker.wait(10)
assert not session.busy and not panel.timer.active
assert ui.volumeSelector.currentNode() is None and ui.segmentCombo.count == 0 and not ui.includeButton.enabled
assert ui.statusLabel.text == "Choose a volume."
again = User(desktop, widget)
again.click(5, 6, 4)
again.finish()
assert again.count() == SPECK
"""
    )


def test_a_saved_scene_comes_back_with_its_prompts_and_goes_on(at_panel):
    at_panel(
        """
user.click(5, 6, 4)
user.finish()
ui.windowCombo.setCurrentText("lesion")
ui.boxThroughCheckBox.checked = True
desktop.saveScene("case.mrb")
desktop.closeScene()
assert ui.volumeSelector.currentNode() is None
desktop.loadScene("case.mrb")
user.volumeNode = ui.volumeSelector.currentNode()
assert user.volumeNode.GetName() == "CT" and ui.segmentationSelector.currentNode().GetName() == "Liver tumors"
assert ui.windowCombo.currentText == session.settings.window.name == "lesion" and session.boxThroughSlices
user.look(4)
assert user.listed() == ["Include 1"] and not session.busy and user.count() == SPECK
user.look(2)
user.click(8, 8, 2)
user.finish()
assert user.count() == 2 * SPECK
ui.undoButton.click()
assert user.count() == SPECK and user.array()[4, 6, 5]
"""
    )


def test_leaving_the_panel_lets_a_job_finish(at_panel):
    at_panel(
        """
user.begin()
user.click(5, 6, 4)
desktop.leave(widget)
user.network.gate.set()
user.finish()
assert user.count() == SPECK
"""
    )


def test_reloading_the_module_stops_the_old_worker_and_keeps_the_work(at_panel):
    at_panel(
        """
user.click(5, 6, 4)
user.finish()
user.begin()
user.click(12, 12, 4)
widget.onReload()
new = slicer.util.getModuleWidget("SAMLiverTumor")
assert new is not widget and not panel.timer.active
assert panel.worker.stop(10), "the old thread is gone"
assert type(new.panel) is not type(panel)
user = User(desktop, new)
user.ui.volumeSelector.setCurrentNode(widget.panel.session.volumeNode or user.volumeNode)
user.click(5, 6, 2)
user.finish()
assert user.array()[2].any()
"""
    )


def test_quitting_in_the_middle_of_a_job_ends_the_thread(at_panel):
    at_panel(
        """
import threading
user.begin()
user.click(5, 6, 4)
desktop.wait(user.network.waiting.is_set)
desktop.quit()
assert not [thread for thread in threading.enumerate() if "network" in thread.name]
assert not panel.timer.active
"""
    )


def test_the_panel_works_without_any_view(at_panel):
    at_panel(
        """
assert slicer.app.layoutManager() is None
ui.includeButton.click()
session.promptNodes[0].AddControlPointWorld(*user.ras(5, 6, 4))
user.finish()
assert user.count() == SPECK
""",
        options="views=False",
    )


def test_the_neighbors_of_a_slice_the_user_stays_on_are_encoded_ahead(at_panel):
    at_panel(
        """
user.click(5, 6, 4)
user.finish()
# on a busy machine the pause on slice 4 may have been long enough as well
before = user.network.embedded
user.look(5)
desktop.wait(lambda: user.network.embedded >= max(before, 1) + 4)
assert not session.busy and not panel.timer.active, "nobody waits for that"
"""
    )


def test_a_bug_is_reported_and_not_swallowed(at_panel):
    at_panel(
        """
user.network.error = ZeroDivisionError("a bug")
user.click(5, 6, 4)
user.finish()
assert ui.statusLabel.text == "Failed: a bug. See the Python console." and not panel.timer.active
assert len(desktop.errors) == 1 and "ZeroDivisionError" in desktop.errors.pop()
user.network.error = None
ui.segmentButton.click()
user.finish()
assert user.count() == SPECK
"""
    )


def test_a_ct_that_opens_in_a_wide_window_is_shown_in_the_liver_window_and_undo_restores_it(at_panel):
    at_panel(
        """
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
def shown(node):
    return node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()
wide = addVolumeNode(slicer.mrmlScene, user.volume)
wide.GetDisplayNode().SetWindowLevel(2377, 170)
ui.volumeSelector.setCurrentNode(wide)
assert shown(wide) == (350, 60) and "is shown in the liver window" in ui.statusLabel.text, ui.statusLabel.text
ui.undoButton.click()
assert shown(wide) == (2377, 170)
ui.volumeSelector.setCurrentNode(user.volumeNode)
ui.volumeSelector.setCurrentNode(wide)
assert shown(wide) == (2377, 170), "the choice of the user is kept"
ui.liverWindowButton.click()
assert shown(wide) == (350, 60)
ui.volumeSelector.setCurrentNode(None)
assert not ui.liverWindowButton.enabled and ui.liverWindowButton.toolTip == "Choose a volume."
"""
    )
