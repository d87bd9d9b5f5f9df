"""The section Evaluate: a segment against a reference, as a table node and a plot."""

import pytest

IMPORTS = """
import numpy as np
import vtk
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation

# the disc around (5, 6) of slice 4 has 13 voxels, 5 of them in row 6 of 24; voxels are 1.5 x 1.25 x 3 mm
FIGURES = [0.270, 0.156, 0.208, 0.385, -0.062]

def figures(row=0):
    "Dice, IoU, sensitivity, precision and volume error in ml."
    table = widget._parameterNode.evaluation.GetTable()
    return [round(table.GetValue(row, column).ToDouble(), 3) for column in (1, 2, 4, 5, 6)]

def addLabelMap(array, ijkToRas, name="labels"):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijkToRas))
    slicer.util.updateVolumeFromArray(node, array)
    return node

def row(value=7):
    "A label map on the volume's grid with the row of the disc's middle."
    array = np.zeros(user.volume.array.shape, np.int16)
    array[4, 6, :] = value
    return addLabelMap(array, user.volume.ijk_to_ras)

def choices():
    return [ui.referenceSegmentCombo.itemText(n) for n in range(ui.referenceSegmentCombo.count)]
"""


@pytest.fixture
def run(at_panel):
    """Run a program with `user` at the open panel."""
    return lambda program, **options: at_panel(IMPORTS + program, **options)


def test_the_table_has_the_figures_of_the_chosen_segment(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
reference = createSegmentation(slicer.mrmlScene, user.volumeNode, "truth")
liver, tumor = addTumorSegment(reference, "liver"), addTumorSegment(reference, "tumor")
array = np.zeros(user.volume.array.shape, np.uint8)
array[4, 6, :] = 1
slicer.util.updateSegmentBinaryLabelmapFromArray(array, reference, tumor, user.volumeNode)
assert ui.evaluateButton.toolTip == "Choose a reference segmentation or label map."
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
assert figures(0) == figures(3) == FIGURES, figures()
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


def test_a_label_map_is_a_reference_by_the_values_that_occur_in_it(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
labels = row()
slicer.util.arrayFromVolume(labels)[0, 0] = 3
colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode")
colors.SetTypeToUser()
colors.SetNumberOfColors(9)
for value, name in ((3, "liver"), (5, "vein"), (7, "tumor")):
    colors.SetColor(value, name, 1, 0, 0, 1)
display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeDisplayNode")
display.SetAndObserveColorNodeID(colors.GetID())
labels.SetAndObserveDisplayNodeID(display.GetID())
ui.referenceSelector.setCurrentNode(labels)
assert not ui.evaluateButton.enabled and ui.statusLabel.text.startswith("Reading the label values")
user.finish()
assert choices() == ["3: liver", "7: tumor"] and ui.referenceSegmentCombo.currentText == "7: tumor"
assert ui.referenceSegmentComboLabel.text == "Its label:"
ui.evaluateButton.click()
user.finish()
assert figures() == FIGURES, figures()
ui.referenceSegmentCombo.setCurrentIndex(0)
ui.referenceSegmentCombo.activated.emit(0)
assert widget._parameterNode.referenceSegmentId == "3"
ui.evaluateButton.click()
user.finish()
assert figures()[:4] == [0, 0, 0, 0] and ui.statusLabel.text == "Dice 0.000; 0 of 1 lesions found."
"""
    )


def test_a_label_map_on_another_grid_is_resampled_and_that_is_reported(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
# a third of the voxel size, all 27 voxels of each voxel filled, moved away and moved back by a transform
fine = np.zeros([3 * n for n in user.volume.array.shape], np.uint8)
fine[12:15, 18:21, :] = 1
ijkToRas = user.volume.ijk_to_ras @ np.array([[1/3, 0, 0, -1/3], [0, 1/3, 0, -1/3], [0, 0, 1/3, -1/3], [0, 0, 0, 1]])
ijkToRas[:3, 3] += (50, -30, 20)
labels = addLabelMap(fine, ijkToRas)
transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
back = np.eye(4)
back[:3, 3] = (-50, 30, -20)
transformNode.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(back))
labels.SetAndObserveTransformNodeID(transformNode.GetID())
ui.referenceSelector.setCurrentNode(labels)
user.finish()
ui.evaluateButton.click()
user.finish()
assert figures() == FIGURES, figures()
assert "'labels, label 1' lies on another voxel grid: resampled by nearest neighbor." in ui.evaluationNotesLabel.text
transformNode.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
ui.evaluateButton.click()
assert "non-linear" in ui.statusLabel.text and "harden it" in ui.statusLabel.text, ui.statusLabel.text
"""
    )


def test_label_values_are_read_in_the_workers_thread_once_for_each_change_of_the_image(run):
    run(
        """
import threading
from SAMLiverTumorLib.panel import voxel_source_selector as reference
threads, read = [], reference.label_values
reference.label_values = lambda *arguments: (threads.append(threading.current_thread().name), read(*arguments))[1]
labels = row()
ui.referenceSelector.setCurrentNode(labels)
user.finish()
assert choices() == ["7"]
ui.windowCombo.setCurrentText("liver")
labels.SetName("renamed")
desktop.processEvents()
user.finish()
assert threads == ["SAMLiverTumor network"]
slicer.util.arrayFromVolume(labels)[0, 0, 0] = 2
slicer.util.arrayFromVolumeModified(labels)
desktop.processEvents()
user.finish()
assert choices() == ["2", "7"] and len(threads) == 2
slicer.util.updateVolumeFromArray(labels, np.zeros((2, 3, 4), np.uint8))
desktop.processEvents()
user.finish()
assert choices() == [] and ui.evaluateButton.toolTip == "There is no segment to evaluate."
assert ui.referenceSegmentCombo.toolTip == "The label map is empty; choose another one."
"""
    )


def test_an_image_stored_as_label_map_and_a_cancelled_reading_say_what_to_do(run):
    run(
        """
hu = np.arange(user.volume.array.size, dtype=np.int16).reshape(user.volume.array.shape)
labels = addLabelMap(hu, user.volume.ijk_to_ras, "CT as labels")
ui.referenceSelector.setCurrentNode(labels)
user.finish()
assert ui.statusLabel.text.startswith("'CT as labels' has more than 1000 different values"), ui.statusLabel.text
assert "choose the label map again, or another one" in ui.referenceSegmentCombo.toolTip
user.click(5, 6, 4)
user.finish()
user.begin()
user.click(9, 6, 4)
other = row()
ui.referenceSelector.setCurrentNode(other)  # waits behind the network
ui.cancelButton.click()
user.network.gate.set()
assert panel.worker.wait(10)
user.finish()
assert choices() == [] and "choose the label map again" in ui.evaluateButton.toolTip
ui.referenceSelector.setCurrentNode(None)
ui.referenceSelector.setCurrentNode(other)
user.finish()
assert choices() == ["7"] and ui.evaluateButton.enabled
"""
    )


def test_liver_one_tumor_two_is_compared_with_the_tumor(run):
    run(
        """
array = np.zeros(user.volume.array.shape, np.uint8)
array[4, 6] = 1
array[4, 7] = 2
ui.referenceSelector.setCurrentNode(addLabelMap(array, user.volume.ijk_to_ras))
user.finish()
assert choices() == ["1", "2"] and ui.referenceSegmentCombo.currentText == "2"
"""
    )


@pytest.mark.parametrize("kind", ["vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"])
def test_the_reference_of_a_saved_scene_is_chosen_again(run_layers, kind):
    # the parameter node as it was when only segmentations could be chosen
    run_layers(
        f"""
import numpy as np
node = slicer.mrmlScene.AddNewNodeByClass({kind!r}, "truth")
if node.IsA("vtkMRMLSegmentationNode"):
    node.GetSegmentation().AddEmptySegment("liver", "liver")
    node.GetSegmentation().AddEmptySegment("2", "second")
else:
    slicer.util.updateVolumeFromArray(node, np.arange(24, dtype=np.uint8).reshape(2, 3, 4) // 8)
parameterNode = widget._parameterNode.parameterNode
parameterNode.SetParameter("reference", "")
parameterNode.SetNodeReferenceID("reference", node.GetID())
parameterNode.SetParameter("referenceSegmentId", "2")
desktop.saveScene("scene.mrb")
desktop.closeScene()
assert widget.ui.referenceSelector.currentNode() is None
desktop.loadScene("scene.mrb")
desktop.wait(lambda: not widget.panel.tasks.busy)
assert widget.ui.referenceSelector.currentNode().GetName() == "truth"
assert widget.ui.referenceSegmentCombo.currentText in ("2", "second")
"""
    )


def test_undefined_figures_are_dashes_and_a_mean_of_nothing_is_left_out(run):
    run(
        """
user.click(5, 6, 4)
user.finish()
array = np.zeros(user.volume.array.shape, np.int16)
array[1, 15, 15] = 1
ui.referenceSelector.setCurrentNode(addLabelMap(array, user.volume.ijk_to_ras))
user.finish()
ui.evaluateButton.click()
user.finish()
table = widget._parameterNode.evaluation.GetTable()
columns = range(table.GetNumberOfColumns())
rows = [[table.GetValue(row, column).ToString() for column in columns] for row in range(table.GetNumberOfRows())]
assert [row[0] for row in rows] == ["overall", "mean of all 1", "missed 1"], rows
# errors have no mean over missed lesions
assert rows[1][6:] == ["-", "-"] and not any("nan" in text.lower() for row in rows for text in row), rows
assert ui.plotButton.enabled
"""
    )
