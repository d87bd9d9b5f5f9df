"""The panel loads a case of 3D-IRCADb from the user's copy."""

import pytest
from ircadb_case import Patient, boxes


@pytest.fixture
def run(at_panel):
    """Run a program with `load(path, *answers)`: press the button, answer its dialogs, wait."""
    return lambda program: at_panel(
        """
import numpy as np
from ircadb_case import Patient, hounsfield, usual_masks
from SAMLiverTumorLib.mrml.segments.segments import segmentArray
parameters = widget._parameterNode
def load(path, *answers):
    desktop.answer(str(path), *answers)
    ui.loadIrcadbButton.click()
    desktop.wait(lambda: not panel.tasks.busy and panel.ircadb._adding is None)
    user.finish()
def nodes(kind):
    return [node.GetName() for node in slicer.util.getNodesByClass(kind)]
before = nodes("vtkMRMLScalarVolumeNode")
"""
        + program
    )


def test_a_case_of_zip_files_becomes_volume_and_hidden_reference(run, tmp_path):
    case = Patient(1).write_zips(tmp_path)
    run(
        f"""
assert ui.loadIrcadbButton.enabled
load({str(case)!r})
volumeNode, segmentationNode = parameters.volume, parameters.reference
assert (slicer.util.arrayFromVolume(volumeNode) == hounsfield(usual_masks())).all()
assert volumeNode.GetName() == "3Dircadb1.1" and session.volumeNode is volumeNode
segmentation = segmentationNode.GetSegmentation()
masks = usual_masks()
tumor = masks["livertumor01"] | masks["livertumor02"]
first = segmentation.GetNthSegmentID(0)
assert segmentation.GetSegment(first).GetName() == "liver tumor"
assert (segmentArray(segmentationNode, first, volumeNode) == tumor).all()
assert segmentation.GetNumberOfSegments() == 8 and not segmentationNode.GetDisplayNode().GetVisibility()
assert ui.referenceSegmentCombo.currentText == "liver tumor"
said = "3Dircadb1.1 loaded: 0.3 ml of liver tumor; its 8 structures are hidden, see Evaluate."
assert ui.statusLabel.text == said, ui.statusLabel.text
log = ui.logText.toPlainText()
assert "CC BY-NC-ND 3.0" in log and "very probably 28 of LiTS" in log, log
# prompts go into a segmentation of their own
user.volumeNode, user.volume = volumeNode, None
assert parameters.segmentation is None
ui.insideSelector.setCurrentNode(segmentationNode)
assert ui.insideSegmentCombo.currentText == "liver"
"""
    )


def test_one_of_several_patients_is_chosen_by_name(run, tmp_path):
    for number in (1, 2):
        Patient(number).write_nested(tmp_path / "set")
    run(
        f"""
load({str(tmp_path / "set")!r}, "3Dircadb1.2")
assert parameters.volume.GetName() == "3Dircadb1.2"
shown = [dialog.kind for dialog in desktop.shown] if hasattr(desktop, "shown") else None
load({str(tmp_path / "set")!r}, "")
load("")
assert nodes("vtkMRMLScalarVolumeNode") == [*before, "3Dircadb1.2"]
"""
    )


def test_a_patient_without_liver_tumor_gets_no_reference(run, tmp_path):
    masks = boxes(liver=((1, 4, 4), (10, 30, 30)), tumor=((4, 30, 36), (6, 34, 40)))
    run(
        f"""
load({str(Patient(7, masks).write(tmp_path))!r})
assert parameters.volume.GetName() == "3Dircadb1.7" and parameters.reference is None
assert ui.statusLabel.text == "3Dircadb1.7 loaded: it has no liver tumor; its 2 structures are hidden."
"""
    )


def test_a_broken_case_changes_nothing_and_is_reported(run, tmp_path):
    case = Patient(1).write(tmp_path)
    (case / "MASKS_DICOM" / "liver" / "image_5").unlink()
    run(
        f"""
load({str(case)!r})
assert "lacks 1 of 12 slices" in ui.statusLabel.text, ui.statusLabel.text
load({str(tmp_path / "3Dircadb1.1" / "MESHES_VTK")!r})
assert "no case of 3D-IRCADb" in ui.statusLabel.text, ui.statusLabel.text
assert nodes("vtkMRMLScalarVolumeNode") == before and parameters.volume is user.volumeNode
"""
    )


def test_a_scene_closed_while_a_case_is_added_stays_empty(run, tmp_path):
    case = Patient(1).write(tmp_path)
    run(
        f"""
desktop.answer({str(case)!r})
ui.loadIrcadbButton.click()
desktop.wait(lambda: panel.ircadb._adding is not None)
slicer.mrmlScene.Clear(0)
desktop.wait(lambda: panel.ircadb._adding is None)
assert nodes("vtkMRMLSegmentationNode") == []
assert "loaded" not in ui.statusLabel.text, ui.statusLabel.text
load({str(case)!r})
assert widget._parameterNode.volume.GetName() == "3Dircadb1.1"
"""
    )


def test_the_window_stays_alive_while_structures_are_added(run, tmp_path):
    case = Patient(1).write(tmp_path)
    run(
        f"""
import qt
ticks = []
timer = qt.QTimer()
timer.setInterval(0)
counts = set()
def tick():
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        counts.add(node.GetSegmentation().GetNumberOfSegments())
timer.connect("timeout()", tick)
timer.start()
load({str(case)!r})
timer.stop()
assert len(counts) > 3, counts
"""
    )
