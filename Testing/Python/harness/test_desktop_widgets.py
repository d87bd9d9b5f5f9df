"""The stand-ins for Slicer's widgets reflect the real scene and change it as Slicer's widgets do."""

import pytest
from desktop.process import run_on_desktop


@pytest.fixture
def run(tmp_path):
    """Run a program on its own desktop, over our Python layer."""
    return lambda program, **options: run_on_desktop(program, tmp_path, **options)


def test_the_node_selector_reflects_the_scene(run):
    run(
        """
def add(cls, name): return slicer.mrmlScene.AddNewNodeByClass(cls, name)
selector = slicer.qMRMLNodeComboBox()
selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
selector.showChildNodeTypes = False
selector.noneEnabled = True
selector.addEnabled = selector.removeEnabled = False
assert not selector.enabled and selector.currentNode() is None
got = []
selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: got.append(node and node.GetName()))
selector.connect("currentNodeChanged(bool)", got.append)
first = add("vtkMRMLScalarVolumeNode", "CT")
selector.setMRMLScene(slicer.mrmlScene)
assert selector.enabled and selector.itemTexts() == ["None", "CT"]
add("vtkMRMLLabelMapVolumeNode", "label")
second = add("vtkMRMLScalarVolumeNode", "CT 2")
assert selector.itemTexts() == ["None", "CT", "CT 2"] and got == []
selector.setCurrentNode(first)
assert got == ["CT", True] and selector.currentNodeID == first.GetID()
first.SetName("Liver")
assert selector.itemTexts() == ["None", "Liver", "CT 2"]
slicer.mrmlScene.RemoveNode(first)
assert selector.itemTexts() == ["None", "CT 2"] and selector.currentNode() is second
desktop.closeScene()
assert selector.itemTexts() == ["None"] and selector.currentNode() is None and got[-2:] == [None, False]
""",
        open_module=False,
    )


def test_the_node_selector_adds_renames_and_deletes_as_the_user_says(run):
    run(
        """
selector = slicer.qMRMLNodeComboBox()
selector.nodeTypes = ["vtkMRMLMarkupsFiducialNode"]
selector.baseName = "Include"
selector.noneEnabled = selector.renameEnabled = True
selector.setMRMLScene(slicer.mrmlScene)
added = []
selector.connect("nodeAddedByUser(vtkMRMLNode*)", added.append)
node = selector.addNode()
assert added == [node] and selector.currentNode() is node and node.GetName() == "Include"
assert selector.itemTexts()[-3:] == ["Rename current Point List", "Create new Point List", "Delete current Point List"]
desktop.answer("Inside")
selector.renameCurrentNode()
assert node.GetName() == "Inside"
selector.removeCurrentNode()
assert selector.currentNode() is None and not slicer.mrmlScene.IsNodePresent(node)
""",
        open_module=False,
    )


def test_the_place_widget_sets_the_scenes_interaction_mode_and_reflects_it(run):
    run(
        """
place = slicer.qSlicerMarkupsPlaceWidget()
place.setMRMLScene(slicer.mrmlScene)
assert not place.placeButton().enabled
node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
place.setCurrentNode(node)
place.placeMultipleMarkups = slicer.qSlicerMarkupsPlaceWidget.ForcePlaceMultipleMarkups
got = []
place.connect("activeMarkupsFiducialPlaceModeChanged(bool)", got.append)
logic = slicer.app.applicationLogic()
interaction, selection = logic.GetInteractionNode(), logic.GetSelectionNode()
slicer.modules.markups.logic().SetActiveList(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode"))
place.placeButton().click()
assert place.placeModeEnabled and got == [True]
assert interaction.GetCurrentInteractionMode() == interaction.Place and interaction.GetPlaceModePersistence() == 1
assert selection.GetActivePlaceNodeID() == node.GetID()
interaction.SwitchToViewTransformMode()
assert not place.placeModeEnabled and not place.placeButton().checked and got == [True, False]
node.AddControlPoint([1, 2, 3])
place.deleteButton().click()
assert node.GetNumberOfControlPoints() == 0
""",
        open_module=False,
    )


def test_segment_widgets_reflect_the_segmentation(run):
    run(
        """
node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
node.CreateDefaultDisplayNodes()
selector, table = slicer.qMRMLSegmentSelectorWidget(), slicer.qMRMLSegmentsTableView()
selector.setMRMLScene(slicer.mrmlScene)
got = []
selector.connect("currentSegmentChanged(QString)", got.append)
selector.setCurrentNode(node)
table.setSegmentationNode(node)
first = node.GetSegmentation().AddEmptySegment("a", "Lesion 1")
second = node.GetSegmentation().AddEmptySegment("b", "Lesion 2")
assert selector.segmentIDs() == ["a", "b"] and selector.currentSegmentID() == "a" and table.segmentCount == 2
selector.setCurrentSegmentID("b")
table.setSelectedSegmentIDs(["b"])
assert got == ["a", "b"] and table.selectedSegmentIDs() == ["b"]
node.GetSegmentation().RemoveSegment("b")
assert selector.currentSegmentID() == "a" and table.selectedSegmentIDs() == []
""",
        open_module=False,
    )


def test_slice_views_have_real_nodes_that_outlive_the_scene(run):
    run(
        """
manager = slicer.app.layoutManager()
for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
    sliceNode = manager.sliceWidget(name).mrmlSliceNode()
    assert sliceNode.GetOrientation() == orientation and sliceNode.GetLayoutName() == name
    desktop.closeScene()
    assert slicer.mrmlScene.IsNodePresent(manager.sliceWidget(name).mrmlSliceNode())
""",
        open_module=False,
    )
