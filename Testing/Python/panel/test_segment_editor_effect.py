"""The effect SAM in Segment Editor: the panel's session beside Paint, masking and the editor's own undo."""

import pytest

_OPEN = """
from session_case import discs
desktop.leave(widget)
editorWidget = desktop.openSegmentEditor()
editor = editorWidget.editor
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
import numpy as np
node = createSegmentation(slicer.mrmlScene, user.volumeNode)
a, b = addTumorSegment(node, "A"), addTumorSegment(node, "B")
editor.setSegmentationNode(node)
editor.setSourceVolumeNode(user.volumeNode)
editor.setCurrentSegmentID(a)
editor.mrmlSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
editor.setActiveEffectByName("SAM Liver Tumor")
effect = editor.activeEffect().self()
eui = effect.panel.ui

def click(i, j, k, button=None):
    button = button or eui.includeButton
    if not button.checked:
        button.click()
    active = slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID()
    slicer.mrmlScene.GetNodeByID(active).AddControlPointWorld(*user.ras(i, j, k))

def count(segmentId):
    desktop.wait(lambda: not session.busy)
    desktop.processEvents()
    return user.count(segmentId) if session.segmentationNode is node else None

def stroke(i, j, k):
    whole = np.zeros(user.volume.array.shape, bool)
    whole[k] = discs(whole.shape[1:], [(i, j)], [1])
    return whole
"""


@pytest.fixture
def in_editor(at_panel):
    return lambda program, **options: at_panel(_OPEN + program, **options)


def test_a_click_with_the_effect_fills_the_selected_segment_and_no_other(in_editor):
    in_editor(
        """
assert not hasattr(slicer, "SegmentEditorEffect") and effect.scriptedEffect.name == "SAM Liver Tumor"
assert effect.scriptedEffect.title == "SAM"
assert session.volumeNode is user.volumeNode and session.segmentationNode is node and session.segmentId == a
click(5, 6, 4)
assert editor.activeEffect() is not None, "placing prompts leaves the effect chosen"
assert count(a) == SPECK and count(b) == 0
editor.setCurrentSegmentID(b)
assert session.segmentId == b
click(14, 12, 4)
assert count(b) == SPECK and count(a) == SPECK
assert [eui.promptsList.item(n).text().split(":")[0] for n in range(eui.promptsList.count)] == ["Include 1"]
"""
    )


def test_undo_of_segment_editor_takes_back_prompts_masks_and_strokes_in_order(in_editor):
    in_editor(
        """
undo, redo = slicer.util.findChild(editor, "UndoButton"), slicer.util.findChild(editor, "RedoButton")
def points():
    desktop.processEvents()
    return session.promptNodes[0].GetNumberOfControlPoints()
click(5, 6, 4)
assert count(a) == SPECK
editor.paint(stroke(18, 14, 2))
desktop.processEvents()
click(12, 12, 4)
assert count(a) == 3 * SPECK and points() == 2
undo.click()
assert points() == 1 and count(a) == 2 * SPECK
undo.click()
assert points() == 1 and count(a) == SPECK
undo.click()
assert points() == 0 and count(a) == 0 and not undo.enabled
for voxels, placed in ((1, 1), (2, 1), (3, 2)):
    redo.click()
    assert points() == placed and count(a) == voxels * SPECK
# the effect's own buttons go through the same history
for voxels, placed in ((2, 1), (1, 1), (0, 0)):
    eui.undoButton.click()
    assert points() == placed and count(a) == voxels * SPECK
eui.redoButton.click()
assert points() == 1 and count(a) == SPECK
"""
    )


def test_masking_and_overwrite_mode_of_segment_editor_hold_for_the_effect(in_editor):
    in_editor(
        """
editorNode = editor.mrmlSegmentEditorNode()
editor.setCurrentSegmentID(b)
editor.paint(stroke(6, 6, 4))
editor.setCurrentSegmentID(a)
editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
click(5, 6, 4)
outside = int((stroke(5, 6, 4) & ~stroke(6, 6, 4)).sum())
assert 0 < outside < SPECK and count(a) == outside and count(b) == SPECK
session.clearAll()
editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
editorNode.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
click(5, 6, 4)
assert count(a) == SPECK and count(b) == int((stroke(6, 6, 4) & ~stroke(5, 6, 4)).sum())
"""
    )


def test_the_panel_keeps_to_masking_but_overwrites_only_when_told_to(in_editor):
    in_editor(
        """
editorNode = editor.mrmlSegmentEditorNode()
editorNode.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
editor.setCurrentSegmentID(b)
editor.paint(stroke(6, 6, 4))
editorWidget.exit()
desktop.enter(widget)
widget._parameterNode.segmentation, widget._parameterNode.segmentId = node, a
user.click(5, 6, 4)
assert count(a) == SPECK and count(b) == SPECK, "other segments are never changed"
session.clearAll()
ui.editorOverwriteCheckBox.click()
user.click(5, 6, 4)
assert count(a) == SPECK and count(b) == int((stroke(6, 6, 4) & ~stroke(5, 6, 4)).sum())
session.clearAll()
assert count(b) == SPECK, "what was taken is given back"
ui.editorOverwriteCheckBox.click()
editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
user.click(5, 6, 4)
assert count(a) == int((stroke(5, 6, 4) & ~stroke(6, 6, 4)).sum())
session.clearAll()
ui.editorMaskingCheckBox.click()
user.click(5, 6, 4)
assert count(a) == SPECK
"""
    )


def test_undo_in_the_panel_goes_back_through_strokes_made_in_segment_editor(in_editor):
    in_editor(
        """
editorWidget.exit()
desktop.enter(widget)
widget._parameterNode.segmentation, widget._parameterNode.segmentId = node, a
user.click(5, 6, 4)
assert count(a) == SPECK
desktop.leave(widget)
editor.paint(stroke(18, 14, 2))
desktop.processEvents()
desktop.enter(widget)
assert count(a) == 2 * SPECK
ui.undoButton.click()
assert count(a) == SPECK and session.promptNodes[0].GetNumberOfControlPoints() == 1
ui.undoButton.click()
assert count(a) == 0 and session.promptNodes[0].GetNumberOfControlPoints() == 0
"""
    )


def test_panel_and_effect_take_turns_with_one_session(in_editor):
    in_editor(
        """
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from session_case import small_volume
assert effect.panel.session is session and panel.engine.front is effect.panel
# what happens to the panel's choices meanwhile is no business of the effect's
widget._parameterNode.volume = addVolumeNode(slicer.mrmlScene, small_volume((30, 20, 8), "other"))
assert session.volumeNode is user.volumeNode
user.begin()
click(5, 6, 4)
desktop.wait(user.network.waiting.is_set)
editorWidget.exit()
assert not slicer.app.applicationLogic().GetInteractionNode().GetCurrentInteractionMode() == 1, "placing has ended"
desktop.enter(widget)
assert session.volumeNode.GetName() == "other" and panel.engine.front is panel
user.network.gate.set()
desktop.wait(lambda: not session.busy)
assert user.array(a).sum() == SPECK if session.segmentationNode is node else True
from SAMLiverTumorLib.mrml.segments.segments import segmentArray
assert segmentArray(node, a, user.volumeNode).sum() == SPECK, "what was running arrives"
"""
    )


def test_keys_work_only_while_the_effect_is_chosen(in_editor):
    in_editor(
        """
desktop.pressKeys("I")
assert eui.includeButton.checked
desktop.pressKeys("Escape")
assert not eui.includeButton.checked
editor.setActiveEffect(None)
try:
    desktop.pressKeys("I")
    raise AssertionError("a key of an effect that is not chosen")
except LookupError:
    pass
"""
    )


def test_the_effect_says_what_is_missing(in_editor):
    in_editor(
        """
editor.setSourceVolumeNode(None)
assert not eui.includeButton.enabled and eui.statusLabel.text == "Choose a source volume."
editor.setSourceVolumeNode(user.volumeNode)
assert eui.includeButton.enabled and eui.statusLabel.text == "Place an include point or draw a box."
"""
    )


def test_the_effect_outlives_deleted_nodes_scene_close_and_reload(in_editor):
    in_editor(
        """
user.begin()
click(5, 6, 4)
slicer.mrmlScene.RemoveNode(node)
assert not session.busy
user.network.gate.set()
desktop.closeScene()
editorWidget.selectParameterNode()
widget.onReload()
widget = slicer.modules.SAMLiverTumorWidget
from SAMLiverTumorLib.panel.engine import Engine
assert Engine.running() is widget.panel.engine and effect.panel.engine.isClosed
user2 = User(desktop, widget)
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation, segmentArray
node = createSegmentation(slicer.mrmlScene, user2.volumeNode)
a = addTumorSegment(node, "A")
widget.exit()
editor.setSegmentationNode(node)
editor.setSourceVolumeNode(user2.volumeNode)
editor.setCurrentSegmentID(a)
editor.setActiveEffectByName("SAM Liver Tumor")
assert effect.panel.engine is widget.panel.engine
eui = effect.panel.ui
click(5, 6, 4)
desktop.wait(lambda: not effect.panel.session.busy)
assert segmentArray(node, a, user2.volumeNode).sum() == SPECK
effect.cleanup()
"""
    )


def test_a_second_segment_editor_has_an_effect_of_its_own(in_editor):
    in_editor(
        """
from desktop.segment_editor import qMRMLSegmentEditorWidget
other = qMRMLSegmentEditorWidget()
its, own = other.effectByName("SAM Liver Tumor"), editor.effectByName("SAM Liver Tumor")
assert its is not None and its is not own
assert its.self().panel is None, "nothing is made before it is used"
"""
    )


def test_the_options_fit_the_width_of_the_panel(in_editor, tmp_path):
    in_editor(
        """
click(5, 6, 4)
count(a)
print(desktop.grab(editor, "effect.png", width=420))
assert editor.minimumSizeHint.width() <= 420
"""
    )
