"""The panel as a user drives it, on the desktop stand-in: prompts in, voxels of the chosen segment out."""

from desktop.process import run_on_desktop


def test_buttons_say_what_is_missing_until_it_is_there(tmp_path):
    run_on_desktop(
        """
ui = widget.ui
for button in (ui.includeButton, ui.boxButton, ui.addSegmentButton, ui.segmentButton, ui.evaluateButton):
    assert (button.enabled, button.toolTip) == (False, "Choose a volume."), button.name
assert ui.statusLabel.text == "Choose a volume."
assert (ui.undoButton.enabled, ui.undoButton.toolTip) == (False, "There is nothing to undo.")
node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
assert widget._parameterNode.volume is None, "a volume is chosen by the user, not because it is the first"
ui.volumeSelector.setCurrentNode(node)
assert ui.includeButton.enabled and not ui.segmentButton.enabled
assert ui.segmentButton.toolTip == ui.statusLabel.text == "Place an include point or draw a box."
""",
        tmp_path,
    )


def test_the_first_click_makes_a_segmentation_and_a_segment_and_fills_it(at_panel):
    at_panel(
        """
interactionNode = slicer.app.applicationLogic().GetInteractionNode()
ui.includeButton.click()
assert interactionNode.GetCurrentInteractionMode() == interactionNode.Place and ui.includeButton.checked
assert interactionNode.GetPlaceModePersistence() == 1
assert ui.segmentationSelector.currentNode().GetName() == "Liver tumors"
assert (ui.segmentCombo.currentText, ui.segmentNameEdit.text) == ("Liver tumor", "Liver tumor")
segment = session.segmentationNode.GetSegmentation().GetSegment(session.segmentId)
assert "10200004^Liver" in segment.GetTerminology()
user.click(5, 6, 4)
assert session.busy and panel.timer.active and panel.timer.interval == 10
user.finish()
assert not panel.timer.active, "idle costs nothing"
assert user.count() == SPECK and user.array()[4, 6, 5] and user.listed() == ["Include 1"]
assert ui.statusLabel.text == "Axial slice 4: 13 voxels (liver-tumor)."
assert ui.logText.plainText.splitlines() == ["Liver tumor is new and empty.", ui.statusLabel.text]
assert session.promptNodes == (widget._parameterNode.include, widget._parameterNode.exclude, widget._parameterNode.roi)
"""
    )


def test_exclude_undo_redo_and_accept(at_panel):
    at_panel(
        """
user.click(5, 6, 4)
user.finish()
user.click(6, 6, 4, ui.excludeButton)
assert ui.excludeButton.checked and not ui.includeButton.checked
user.finish()
left = user.count()
assert 0 < left < SPECK and user.listed() == ["Include 1", "Exclude 1"]
ui.undoButton.click()
assert user.count() == SPECK and user.listed() == ["Include 1"]
ui.redoButton.click()
assert user.count() == left and user.listed() == ["Include 1", "Exclude 1"]
ui.acceptButton.click()
assert user.count() == left and user.listed() == [] and not ui.acceptButton.enabled
ui.undoButton.click()
assert user.count() == left and user.listed() == ["Include 1", "Exclude 1"]
"""
    )


def test_a_box_through_slices_follows_its_drag_on_release(at_panel):
    at_panel(
        """
ui.boxThroughCheckBox.checked = True
roi = user.drawBox((4, 4, 3), (9, 8, 5))
user.finish()
assert user.count() == 6 * 5 * 3 and [int(x) for x in user.array().any((1, 2)).nonzero()[0]] == [3, 4, 5]
assert user.listed() == ["Box"] and not ui.boxButton.checked
roi.InvokeCustomModifiedEvent(roi.PointStartInteractionEvent)
roi.SetCenter(user.ras(12, 12, 4))
assert not session.busy, "not before the mouse button is released"
roi.InvokeCustomModifiedEvent(roi.PointEndInteractionEvent)
user.finish()
assert user.count() == 6 * 5 * 3 or user.array()[4, 12, 12]
ui.boxThroughCheckBox.checked = False
user.finish()
assert [int(x) for x in user.array().any((1, 2)).nonzero()[0]] == [4]
user.look(7)
assert user.listed() == [] and ui.sliceLabel.text == "axial 7" and not ui.clearSliceButton.enabled
"""
    )


def test_on_demand_nothing_happens_before_segment_is_pressed(at_panel):
    at_panel(
        """
ui.liveCheckBox.checked = False
user.click(5, 6, 4)
assert not session.busy and user.count() == 0
ui.segmentButton.click()
user.finish()
assert user.count() == SPECK
"""
    )


def test_the_list_follows_the_slice_and_its_buttons_clear(at_panel):
    at_panel(
        """
user.click(5, 6, 4)
user.click(12, 12, 4)
user.look(2)
user.click(8, 8, 2)
user.finish()
assert user.count() == 3 * SPECK and user.listed() == ["Include 3"]
user.look(4)
assert user.listed() == ["Include 1", "Include 2"]
ui.promptsList.setCurrentRow(1)
ui.removePromptButton.click()
user.finish()
assert user.count() == 2 * SPECK and user.listed() == ["Include 1"]
ui.clearSliceButton.click()
user.finish()
assert user.count() == SPECK and user.listed() == [] and user.array()[2].sum() == SPECK
ui.clearAllButton.click()
assert user.count() == 0 and not ui.clearAllButton.enabled
for _ in range(2):
    ui.undoButton.click()
user.finish()
assert user.count() == 2 * SPECK
"""
    )


def test_each_view_prompts_its_own_slice_and_an_oblique_one_too(at_panel):
    at_panel(
        """
green = user.sliceNode("Green")
green.JumpSliceByOffsetting(*user.ras(10, 7, 4))
assert ui.sliceLabel.text == "coronal 7"
user.click(10, 7, 4)
user.finish()
assert [int(x) for x in user.array().any((0, 2)).nonzero()[0]] == [7]
ui.clearAllButton.click()
crosshairNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
if crosshairNode is None:
    crosshairNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCrosshairNode")
crosshairNode.SetCursorPositionXYZ([9.0, 9.0, 0.0], user.sliceNode("Red"))
assert ui.sliceLabel.text == "axial 4", "the view under the mouse"
crosshairNode.SetCursorPositionXYZ([9.0, 9.0, 0.0], green)
assert ui.sliceLabel.text == "coronal 7"
ui.planeCombo.setCurrentText("axial")
assert ui.sliceLabel.text == "axial 4" and session.settings.orientation == "axial"
user.click(10, 7, 4)
user.finish()
assert [int(x) for x in user.array().any((1, 2)).nonzero()[0]] == [4]
ui.clearAllButton.click()
ui.planeCombo.setCurrentText("view")
matrix = vtk.vtkMatrix4x4()
transform = vtk.vtkTransform()
transform.Translate(*user.ras(10, 10, 4))
transform.RotateX(50)
user.sliceNode("Yellow").GetSliceToRAS().DeepCopy(transform.GetMatrix())
user.sliceNode("Yellow").UpdateMatrices()
assert ui.sliceLabel.text == "oblique", ui.sliceLabel.text
user.click(10, 10, 4)
session.promptNodes[0].AddControlPointWorld(*transform.TransformPoint(0, 6, 0))
user.finish()
assert user.array()[4, 10, 10] and user.listed() == ["Include 1", "Include 2"]
assert len(user.array().any((1, 2)).nonzero()[0]) > 1, "an oblique slice crosses several axial ones"
"""
    )


def test_another_segment_has_its_own_prompts_name_and_color(at_panel):
    at_panel(
        """
user.click(5, 6, 4)
user.finish()
first = session.segmentId
ui.addSegmentButton.click()
second = session.segmentId
assert second != first and ui.segmentCombo.currentText == "Liver tumor 2" and user.listed() == []
user.click(12, 12, 4)
user.finish()
assert user.count(first) == user.count(second) == SPECK
ui.segmentNameEdit.text = "Segment VII"
ui.segmentNameEdit.editingFinished.emit()
segment = session.segmentationNode.GetSegmentation().GetSegment(second)
assert segment.GetName() == ui.segmentCombo.currentText == "Segment VII"
desktop.answer(qt.QColor(255, 0, 51))
ui.segmentColorButton.click()
assert [round(part, 3) for part in segment.GetColor()] == [1.0, 0.0, 0.2]
ui.segmentCombo.setCurrentIndex(0)
ui.segmentCombo.activated.emit(0)
assert session.segmentId == first and user.listed() == ["Include 1"] and ui.segmentNameEdit.text == "Liver tumor"
session.segmentationNode.GetSegmentation().RemoveSegment(first)
assert session.segmentId == second and ui.segmentCombo.count == 1
"""
    )


def test_the_users_own_markups_are_left_alone(at_panel):
    at_panel(
        """
mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
mine.AddControlPointWorld(*user.ras(9, 9, 4))
user.click(5, 6, 4)
user.finish()
assert user.count() == SPECK
ui.clearAllButton.click()
assert mine.GetNumberOfControlPoints() == 1
"""
    )


def test_keys_work_while_the_panel_is_open_only(at_panel):
    at_panel(
        """
desktop.pressKeys("E")
assert ui.excludeButton.checked
desktop.pressKeys("I")
assert ui.includeButton.checked
user.click(5, 6, 4)
user.finish()
desktop.pressKeys("Ctrl+Z")
assert user.count() == 0
desktop.pressKeys("Ctrl+Y")
assert user.count() == SPECK
desktop.pressKeys("Escape")
assert not ui.includeButton.checked
desktop.pressKeys("A")
assert user.listed() == [] and user.count() == SPECK
ui.boxButton.click()
desktop.leave(widget)
interactionNode = slicer.app.applicationLogic().GetInteractionNode()
assert interactionNode.GetCurrentInteractionMode() != interactionNode.Place, "the mouse is given back"
try:
    desktop.pressKeys("I")
except LookupError:
    pass
else:
    raise AssertionError("a key outlived the panel")
desktop.enter(widget)
desktop.pressKeys("B")
assert ui.boxButton.checked
"""
    )
