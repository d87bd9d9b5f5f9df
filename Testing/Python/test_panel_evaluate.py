"""The section Evaluate: a segment against a reference, as a table node and a plot."""

import pytest

IMPORTS = """
from SAMLiverTumorLib.mrml.segments import addTumorSegment, createSegmentation
"""


@pytest.fixture
def run(at_panel):
    """Run a program with `user` at the open panel."""
    return lambda program, **options: at_panel(IMPORTS + program, **options)


def test_the_table_has_the_figures_of_the_chosen_segment(run):
    run(
        """
import numpy as np
user.click(5, 6, 4)
user.finish()
reference = createSegmentation(slicer.mrmlScene, user.volumeNode, "truth")
liver, tumor = addTumorSegment(reference, "liver"), addTumorSegment(reference, "tumor")
array = np.zeros(user.volume.array.shape, np.uint8)
array[4, 6, :] = 1
slicer.util.updateSegmentBinaryLabelmapFromArray(array, reference, tumor, user.volumeNode)
assert ui.evaluateButton.toolTip == "Choose a reference segmentation."
ui.referenceSelector.setCurrentNode(reference)
assert ui.referenceSegmentCombo.currentText == "tumor", "a tumor is compared with the tumor, not with the liver"
ui.evaluateButton.click()
user.finish()
tableNode = widget._parameterNode.evaluation
table = tableNode.GetTable()
names = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
assert names == [
    "Lesion", "Dice", "IoU", "Accuracy", "Sensitivity", "Precision", "Volume error (ml)", "Volume error (%)"
]
assert [table.GetValue(row, 0).ToString() for row in range(4)] == [
    "overall", "mean of 1 found", "mean of all 1", "lesion 1"
]
# 5 of the disc's 13 voxels lie in the row of 24, each of 1.5 x 1.25 x 3 mm
for row in (0, 3):
    figures = [round(table.GetValue(row, column).ToDouble(), 3) for column in (1, 2, 4, 5, 6)]
    assert figures == [0.270, 0.156, 0.208, 0.385, -0.062], figures
assert ui.evaluationTable.mrmlTableNode() is tableNode
assert "unweighted" in ui.evaluationNotesLabel.text and "mpty" in ui.evaluationNotesLabel.text
ui.plotButton.click()
(chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
(series,) = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
assert series.GetTableNode() is tableNode and series.GetYColumnName() == "Dice"
ui.evaluateButton.click()
user.finish()
ui.plotButton.click()
assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1
assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1
"""
    )


def test_a_segment_is_not_its_own_reference(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
ui.referenceSelector.setCurrentNode(session.segmentationNode)
assert (ui.evaluateButton.enabled, ui.evaluateButton.toolTip) == (False, "The segment cannot be its own reference.")
"""
    )
