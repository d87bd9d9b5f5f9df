"""The panel in the Slicer application: `ctest` runs this, pytest does not collect it."""

import unittest

import numpy as np
import slicer


class FakePredictor:
    """A network that needs no weights: it marks a disc around each include point."""

    def __init__(self):
        from types import SimpleNamespace

        from SAMLiverTumorLib.models.registry import get_model

        self.model = SimpleNamespace(info=get_model("mobile-sam"), sha256="0" * 64)

    def predictor(self, model):
        return self

    def embed(self, rgb, spacing, cancel=None):
        return rgb.shape[:2]

    def predict(self, embedding, prompts):
        from types import SimpleNamespace

        v, u = np.mgrid[: embedding[0], : embedding[1]]
        mask = np.zeros(embedding, bool)
        for (pu, pv), label in zip(prompts.points, prompts.labels, strict=True):
            if label == 1:
                mask |= (u - pu) ** 2 + (v - pv) ** 2 <= 2.2**2
        return SimpleNamespace(mask=mask, predicted_iou=0.5, stability=1.0)


class test_SAMLiverTumorPanel(unittest.TestCase):
    """A click becomes a mask, undo takes it back, and the panel survives closing the scene."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.widget = slicer.modules.samlivertumor.widgetRepresentation().self()
        self.widget.enter()
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self.panel.pool.use(FakePredictor())

    def tearDown(self):
        self.widget.exit()

    def finish(self):
        self.panel.worker.wait(30)
        while self.panel.session.busy:
            slicer.app.processEvents()

    def chooseVolume(self):
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        array = np.full((8, 20, 24), 60, np.int16)
        array[0, 0, 0] = -1000  # or it would not pass for a CT
        slicer.util.updateVolumeFromArray(volumeNode, array)
        self.ui.volumeSelector.setCurrentNode(volumeNode)
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
        return volumeNode

    def test_buttonsWaitForAVolumeAndAPrompt(self):
        self.assertFalse(self.ui.includeButton.enabled)
        self.chooseVolume()
        self.assertTrue(self.ui.includeButton.enabled)
        self.assertFalse(self.ui.segmentButton.enabled)

    def test_aClickBecomesAMaskAndUndoTakesBothBack(self):
        volumeNode = self.chooseVolume()
        self.ui.planeCombo.setCurrentText("axial")
        self.ui.includeButton.click()
        session = self.panel.session
        session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()

        def count():
            array = slicer.util.arrayFromSegmentBinaryLabelmap(session.segmentationNode, session.segmentId, volumeNode)
            return int((array > 0).sum())

        self.assertEqual(count(), 13)
        self.ui.undoButton.click()
        self.finish()
        self.assertEqual(count(), 0)
        self.assertEqual(session.promptNodes[0].GetNumberOfControlPoints(), 0)

    def test_closingTheSceneEmptiesTheSelectors(self):
        self.chooseVolume()
        self.ui.includeButton.click()
        slicer.mrmlScene.Clear()
        self.assertIsNone(self.ui.volumeSelector.currentNode())
        self.assertFalse(self.ui.segmentButton.enabled)
        self.assertFalse(self.panel.timer.active)
