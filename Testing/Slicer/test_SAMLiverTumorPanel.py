"""The panel in the Slicer application: `ctest` runs this; `test_self_tests.py` runs it on the stand-in."""

import tempfile
from pathlib import Path

import slicer
from sam_selftest import SPECK, SelfTest


class test_SAMLiverTumorPanel(SelfTest):
    """A user's actions: prompt, correct, undo, switch, cancel, evaluate, save, load."""

    def test_buttonsWaitForAVolumeAndAPrompt(self):
        self.assertFalse(self.ui.includeButton.enabled)
        self.chooseVolume()
        self.assertTrue(self.ui.includeButton.enabled)
        self.assertFalse(self.ui.segmentButton.enabled)

    def test_aClickBecomesAMaskAndUndoTakesBothBack(self):
        volumeNode = self.chooseVolume()
        self.ui.includeButton.click()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        self.assertEqual(self.voxels(volumeNode), SPECK)
        self.ui.undoButton.click()
        self.finish()
        self.assertEqual(self.voxels(volumeNode), 0)
        self.assertEqual(self.session.promptNodes[0].GetNumberOfControlPoints(), 0)
        self.ui.redoButton.click()
        self.finish()
        self.assertEqual(self.voxels(volumeNode), SPECK)

    def test_aBoxFillsEverySliceItCrosses(self):
        volumeNode = self.chooseVolume()
        self.ui.boxThroughCheckBox.checked = True
        self.ui.boxButton.click()
        roiNode = self.session.promptNodes[2]
        roiNode.SetCenter(8.0, 9.0, 4.0)
        roiNode.SetSize(5.0, 3.0, 3.0)
        self.finish()
        self.assertEqual(self.voxels(volumeNode), 5 * 3 * 3)

    def test_aPromptForAnotherSegmentLeavesTheFirstAsItWas(self):
        volumeNode = self.chooseVolume()
        self.ui.includeButton.click()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        first = self.session.segmentId
        self.ui.addSegmentButton.click()
        self.assertNotEqual(self.session.segmentId, first)
        self.session.promptNodes[0].AddControlPointWorld(9.0, 9.0, 4.0)
        self.finish()
        self.assertEqual(self.count(self.session.segmentationNode, first, volumeNode), SPECK)
        self.assertEqual(self.voxels(volumeNode), SPECK)

    def test_cancelLeavesTheSegmentAsItWas(self):
        volumeNode = self.chooseVolume()
        self.ui.includeButton.click()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.ui.cancelButton.click()
        self.finish()
        self.assertEqual(self.voxels(volumeNode), 0)
        self.assertFalse(self.panel.timer.active)

    def test_evaluationFillsATable(self):
        self.chooseVolume()
        self.ui.includeButton.click()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        first = self.session.segmentId
        self.ui.addSegmentButton.click()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        parameters = self.widget._parameterNode
        parameters.reference, parameters.referenceSegmentId = self.session.segmentationNode, first
        self.assertTrue(self.ui.evaluateButton.enabled, self.ui.evaluateButton.toolTip)
        self.ui.evaluateButton.click()
        self.finish()
        self.assertEqual(parameters.evaluation.GetTable().GetValueByName(0, "Dice").ToDouble(), 1.0)

    def test_promptsAndChoicesSurviveSavingTheScene(self):
        self.chooseVolume()
        self.ui.includeButton.click()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(path)
        self.widget.initializeParameterNode()
        parameters = self.widget._parameterNode
        self.assertEqual(parameters.volume.GetName(), "CT")
        self.assertEqual(parameters.include.GetNumberOfControlPoints(), 1)
        self.assertEqual(self.voxels(parameters.volume), SPECK)

    def test_closingTheSceneEmptiesTheSelectors(self):
        self.chooseVolume()
        self.ui.includeButton.click()
        slicer.mrmlScene.Clear()
        self.assertIsNone(self.ui.volumeSelector.currentNode())
        self.assertFalse(self.ui.segmentButton.enabled)
        self.assertFalse(self.panel.timer.active)
