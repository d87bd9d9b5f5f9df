"""The section Further phases: what else of the patient the network sees, moved onto the volume if need be."""

import pytest
from phases_case import PHASES


@pytest.fixture
def run(at_panel):
    return lambda program, **options: at_panel(PHASES + program, **options)


def test_a_second_phase_changes_what_the_network_sees_and_stands_in_provenance(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
plain = pictures[-1]
assert (plain[..., 0] == plain[..., 1]).all() and (plain[..., 2] == plain[..., 1]).all()
green = plain[..., 1]
ui.phase1Selector.setCurrentNode(phase(150))
user.finish()
assert "arterial" in session.message and "besides the volume" in session.message, session.message
assert ui.phasesLabel.text == "arterial: window -160 to 240."
assert user.count() == SPECK, "what is there stays"
user.click(12, 12, 4)
user.finish()
both = pictures[-1]
assert (both[..., 1] == green).all() and (both[..., 2] == green).all()
assert (both[..., 0] == grey(150, -160, 240)).all(), both[..., 0]
(entry,) = provenance(session.segmentationNode, session.segmentId)
(further,) = entry["further"]
assert further["name"] == "arterial" and further["window"] == [-160, 240] and len(further["voxels"]) == 64

# a third one takes the blue channel, with a window of its own
parameters = widget._parameterNode
ui.phase2Selector.setCurrentNode(phase(60, name="delayed"))
ui.phase2WindowCombo.setCurrentIndex(ui.phase2WindowCombo.findText("custom"))
assert parameters.phase2Window == "custom" and ui.phase2LowSpinBox.enabled and not ui.phase1LowSpinBox.enabled
parameters.phase2Low, parameters.phase2High = 0.0, 100.0
user.click(12, 6, 4)
user.finish()
assert (pictures[-1][..., 0] == both[..., 0]).all() and (pictures[-1][..., 2] == 153).all(), pictures[-1][..., 2]
assert (pictures[-1][..., 1] == green).all()
"""
    )


def test_changed_voxels_of_a_phase_are_seen_at_the_next_prompt(run):
    run(
        """
# on another grid, so that the channel has voxels of its own
node = phase(150, shift=(0.3, 0, 0))
ui.phase1Selector.setCurrentNode(node)
user.finish()
user.click(5, 6, 4)
user.finish()
assert (pictures[-1][..., 0] == grey(150, -160, 240)).all(), pictures[-1][..., 0]
slicer.util.arrayFromVolume(node)[:] = 40
slicer.util.arrayFromVolume(node)[0, 0, 0] = -1000
slicer.util.arrayFromVolumeModified(node)
# no event has been heard in between
user.click(12, 12, 4)
user.finish()
assert (pictures[-1][..., 0] == grey(40, -160, 240)).all(), pictures[-1][..., 0]
"""
    )


def test_a_click_waits_for_a_phase_that_is_not_ready(run):
    run(
        """
import threading
from SAMLiverTumorLib.image import channels
gate, onto = threading.Event(), channels.onto_grid_of
def slow(first, other, cancel=None, progress=None):
    while not gate.wait(0.005):
        if cancel is not None and cancel():
            raise channels.Cancelled("Cancelled.")
    return onto(first, other, cancel, progress)
channels.onto_grid_of = slow
ui.phase1Selector.setCurrentNode(phase(150))
assert panel.tasks.busy and "not resampled to the volume yet" in ui.phasesLabel.text
user.click(5, 6, 4)
desktop.processEvents()
assert session.busy and not pictures
gate.set()
user.finish()
assert (pictures[-1][..., 0] == grey(150, -160, 240)).all()
# cancelled, it is made when the next prompt needs it
gate.clear()
ui.phase1WindowCombo.setCurrentIndex(ui.phase1WindowCombo.findText("liver"))
assert panel.tasks.busy
ui.cancelButton.click()
gate.set()
user.finish()
user.click(12, 12, 4)
user.finish()
assert (pictures[-1][..., 0] == 255).all(), "150 HU are white between -45 and 105"
"""
    )


def test_a_phase_that_lies_elsewhere_is_refused_with_the_way_out(run):
    run(
        """
ui.phase1Selector.setCurrentNode(phase(150, shift=(500, 0, 0)))
user.finish()
assert "do not overlap" in session.message and "Register in the panel" in session.message, session.message
assert ui.phasesLabel.text == session.message
assert ui.phase1RegisterButton.enabled and not ui.phase2RegisterButton.enabled
user.click(5, 6, 4)
user.finish()
assert not pictures and "do not overlap" in session.message and user.count() == 0
ui.phase1Selector.setCurrentNode(user.volumeNode)
user.finish()
assert "volume itself" in session.message and "volume itself" in ui.phase1RegisterButton.toolTip
ui.phase1Selector.setCurrentNode(None)
ui.segmentButton.click()
user.finish()
assert user.count() == SPECK and not ui.phasesLabel.text
"""
    )


def test_a_phase_under_a_bent_transform_or_without_image_is_refused(run):
    run(
        """
node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
ui.phase1Selector.setCurrentNode(node)
user.finish()
assert "no image data" in ui.phasesLabel.text, ui.phasesLabel.text
bent = phase(150, name="bent")
grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "breathing")
bent.SetAndObserveTransformNodeID(grid.GetID())
ui.phase1Selector.setCurrentNode(bent)
user.finish()
assert "harden it" in ui.phasesLabel.text, ui.phasesLabel.text
ui.phase1RegisterButton.click()
assert "harden it" in session.message and not panel.tasks.busy
"""
    )


def test_phases_come_back_with_the_scene(run):
    run(
        """
ui.phase1Selector.setCurrentNode(phase(150))
ui.phase1WindowCombo.setCurrentIndex(ui.phase1WindowCombo.findText("lesion"))
user.finish()
desktop.saveScene("scene.mrb")
desktop.loadScene("scene.mrb")
user.finish()
parameters = widget._parameterNode
assert parameters.phase1.GetName() == "arterial" and parameters.phase1Window == "lesion"
assert ui.phase1Selector.currentNode() is parameters.phase1
(channel,) = session.settings.further
assert channel.isMade and channel.window.low == 10 and channel.window.high == 110
assert parameters.phase2 is None
"""
    )


def test_propagation_and_searching_see_the_phases(run):
    run(
        """
from propagation_case import DarkPool, ball, phantom_of
dark, inside = DarkPool(), ball()
panel.pool.use(dark)
user.volume = phantom_of(inside, inside.shape)
user.volumeNode = addVolumeNode(slicer.mrmlScene, user.volume)
parameters = widget._parameterNode
ui.volumeSelector.setCurrentNode(user.volumeNode)
parameters.window, parameters.windowLow, parameters.windowHigh = "custom", 0.0, 255.0
# four times as coarse along S, and 300 where the tumor is, 100 elsewhere
coarse = user.volume.ijk_to_ras @ np.diag([1.0, 1, 2, 1])
values = np.where(inside[::2], 300, 100).astype(np.int16)
ui.phase1Selector.setCurrentNode(addVolumeNode(slicer.mrmlScene, Volume(values, coarse, "MR")))
parameters.phase1Window, parameters.phase1Low, parameters.phase1High = "custom", 0.0, 400.0
user.finish()
seen, embed = [], dark.network.embed
def watched(rgb, *arguments, **options):
    seen.append(rgb.copy())
    return embed(rgb, *arguments, **options)
dark.network.embed = watched
user.look(15)
user.drawBox((12, 10, 15), (32, 30, 15))
user.finish()
ui.propagateBothButton.click()
user.finish()
assert len(seen) > 8 and user.count() > 0.9 * inside.sum()
for rgb in seen:
    assert set(np.unique(rgb[..., 0])) <= {64, 96, 128, 159, 191}, np.unique(rgb[..., 0])
    assert set(np.unique(rgb[..., 1])) <= {80, 160} and (rgb[..., 2] == rgb[..., 1]).all()
assert any((rgb[..., 0] == 191).any() for rgb in seen)
(entry,) = provenance(session.segmentationNode, session.segmentId)
assert [further["name"] for further in entry["further"]] == ["MR"] and entry["further"][0]["window"] == [0, 400]

import SAMLiverTumorLib.panel.sections.find_tumors as find
from text_search_case import Reader
reader = Reader()
def read(rgb, *arguments, **options):
    seen.append(rgb.copy())
    return rgb.shape[:2]
reader.embed = read
panel.pool.use(type("Pool", (), {"predictor": lambda self, model: reader})())
find.textModel = lambda model: "knows text"
seen.clear()
ui.findButton.click()
user.finish()
assert len(seen) >= len(inside) and session.message.startswith("Found"), (len(seen), session.message)
assert all({*np.unique(rgb[..., 0])} <= {64, 96, 128, 159, 191} for rgb in seen)
"""
    )


def test_the_modules_logic_sees_them_and_channels_of_one_volume_are_refused_beside_them(run):
    run(
        """
ui.phase1Selector.setCurrentNode(phase(150))
user.finish()
import SAMLiverTumorLib.mrml.api.segment as api
from types import SimpleNamespace
calls = []
api.segmentNodes = lambda volumeNode, **options: calls.append(options) or SimpleNamespace(
    segmentationNode="node", segmentId="id")
slicer.util.getModuleLogic("SAMLiverTumor").segment(widget._parameterNode)
(further,) = calls[0]["settings"].further
assert further.volume.name == "arterial" and (further.window.low, further.window.high) == (-160, 240)
ui.channelsCombo.setCurrentIndex(ui.channelsCombo.findText("windows"))
assert 'channels "single"' in ui.phasesLabel.text
user.click(5, 6, 4)
user.finish()
assert "take the place of channels" in session.message, session.message
assert user.count() == 0
"""
    )


def test_the_effect_in_segment_editor_sees_the_phases_of_the_panels_volume_alone(run):
    run(
        """
ui.phase1Selector.setCurrentNode(phase(150))
ui.addSegmentButton.click()
user.finish()
segmentationNode, segmentId = session.segmentationNode, session.segmentId
desktop.leave(widget)
editor = desktop.openSegmentEditor().editor
editor.setSegmentationNode(segmentationNode)
editor.setSourceVolumeNode(user.volumeNode)
editor.setCurrentSegmentID(segmentId)
editor.setActiveEffectByName("SAM Liver Tumor")
user.look(4)
session.promptNodes[0].AddControlPointWorld(*user.ras(5, 6, 4))
user.finish()
assert (pictures[-1][..., 0] == grey(150, -160, 240)).all() and user.count() == SPECK
editor.setSourceVolumeNode(phase(60, name="another"))
assert session.volumeNode.GetName() == "another" and session.settings.further == ()
"""
    )
