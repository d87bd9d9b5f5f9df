"""The button Lesion report: the chosen segment's lesions as a table, their diameters as lines."""

import pytest

IMPORTS = """
import numpy as np
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation

def column(title):
    "The table's values in a column."
    table = widget._parameterNode.lesions.GetTable()
    return [table.GetColumnByName(title).GetValue(n) for n in range(table.GetNumberOfRows())]

def lines():
    return slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")
"""


@pytest.fixture
def run(at_panel):
    """Run a program with `user` at the open panel."""
    return lambda program, **options: at_panel(IMPORTS + program, **options)


def test_the_lesions_of_the_chosen_segment_become_a_table(run):
    run(
        """
assert not ui.lesionReportButton.enabled, ui.lesionReportButton.toolTip
assert ui.lesionReportButton.toolTip == "There is no segment to measure.", ui.lesionReportButton.toolTip
user.click(5, 6, 4)
user.finish()
user.click(15, 12, 4)
user.finish()
ui.lesionReportButton.click()
user.finish()
tableNode = widget._parameterNode.lesions
# two discs of 13 voxels, 1.5 x 1.25 x 3 mm
assert column("Lesion") == ["1", "2"], column("Lesion")
assert column("Volume (ml)") == [round(13 * 1.5 * 1.25 * 3 / 1000, 3)] * 2
assert column("Longest axial (mm)") == [7.5, 7.5], column("Longest axial (mm)")  # five voxels of 1.5 mm
assert column("Slices") == [1, 1]
assert ui.lesionTable.mrmlTableNode() is tableNode
assert ui.statusLabel.text == "2 lesions, 0.15 ml. For research; not a medical device.", ui.statusLabel.text
assert "RECIST" in ui.lesionTable.toolTip
ui.lesionReportButton.click()
user.finish()
assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1
assert lines() == []
"""
    )


def test_the_check_box_shows_and_hides_the_diameters(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "mine")
ui.lesionDiametersCheckBox.click()
assert len(lines()) == 1
ui.lesionReportButton.click()
user.finish()
assert sorted(node.GetName() for node in lines()) == ["Lesion 1, longest", "Lesion 1, perpendicular", "mine"]
ui.lesionDiametersCheckBox.click()
assert lines() == [own]
ui.lesionDiametersCheckBox.click()
assert len(lines()) == 3
assert user.listed(), "the prompts are still there"
user.click(15, 12, 4)
user.finish()
assert user.count() == 26, "placing goes on where it was"
"""
    )


def test_the_liver_chosen_under_stay_inside_gives_share_and_border(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
organs = createSegmentation(slicer.mrmlScene, user.volumeNode, "organs")
liver = addTumorSegment(organs, "liver")
array = np.zeros(user.volume.array.shape, np.uint8)
array[2:7, 2:12, 1:14] = 1
slicer.util.updateSegmentBinaryLabelmapFromArray(array, organs, liver, user.volumeNode)
ui.insideSelector.setCurrentNode(organs)
user.finish()
ui.lesionReportButton.click()
user.finish()
assert column("Share of liver (%)") == [round(100 * 13 / (5 * 10 * 13), 2)], column("Share of liver (%)")
# the disc's columns are 3 to 7: two of 1.5 mm to the liver's first; rows 4 to 8: two of 1.25 mm
assert column("Liver border (mm)") == [2.5], column("Liver border (mm)")
"""
    )


def test_cancel_and_a_closed_scene_leave_no_table(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
user.begin()
user.click(9, 6, 4)
ui.lesionReportButton.click()
ui.cancelButton.click()
user.network.gate.set()
user.finish()
assert widget._parameterNode.lesions is None
ui.lesionReportButton.click()
user.finish()
assert widget._parameterNode.lesions is not None
desktop.closeScene()
assert widget._parameterNode is None or widget._parameterNode.lesions is None
assert ui.lesionTable.mrmlTableNode() is None, (ui.lesionTable.mrmlTableNode(), ui.evaluationTable.mrmlTableNode())
assert not ui.lesionReportButton.enabled
"""
    )
