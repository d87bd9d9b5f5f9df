"""The panel in the Slicer application: `ctest` runs this, pytest does not collect it."""

import unittest

import slicer


class test_SAMLiverTumorPanel(unittest.TestCase):
    """The button is alive only with what it needs, and the panel survives closing the scene."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.widget = slicer.modules.samlivertumor.widgetRepresentation().self()
        self.widget.enter()

    def tearDown(self):
        self.widget.exit()

    def test_segmentButtonNeedsAVolumeAndAPrompt(self):
        self.assertFalse(self.widget.ui.segmentButton.enabled)
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        self.widget.initializeParameterNode()
        self.assertFalse(self.widget.ui.segmentButton.enabled)
        roiNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
        self.widget.ui.roiSelector.setCurrentNode(roiNode)
        self.assertTrue(self.widget.ui.segmentButton.enabled)

    def test_closingTheSceneEmptiesTheSelectors(self):
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        self.widget.initializeParameterNode()
        self.assertIsNotNone(self.widget.ui.volumeSelector.currentNode())
        slicer.mrmlScene.Clear()
        self.assertIsNone(self.widget.ui.volumeSelector.currentNode())
        self.assertFalse(self.widget.ui.segmentButton.enabled)
