"""Shared parts of the self-tests in Testing/Slicer: a network without weights, and a small CT."""

import unittest
from types import SimpleNamespace

import numpy as np
import slicer

SPECK = 13  # voxels of the disc that the network marks around a point


class FakeNetwork:
    """Stands for pool and predictor: a disc around each include point; a box alone is filled."""

    def __init__(self):
        from SAMLiverTumorLib.models.registry import get_model

        self.model = SimpleNamespace(info=get_model("mobile-sam"), sha256="0" * 64)

    def predictor(self, model):
        return self

    def embed(self, rgb, spacing, cancel=None, mirrored=False):
        return rgb.shape[:2]

    def predict(self, embedding, prompts):
        v, u = np.mgrid[: embedding[0], : embedding[1]]
        mask = np.zeros(embedding, bool)
        for (pu, pv), label in zip(prompts.points, prompts.labels, strict=True):
            disc = (u - pu) ** 2 + (v - pv) ** 2 <= 2.2**2
            mask = mask | disc if label == 1 else mask & ~disc
        if prompts.box is not None and not len(prompts.points):
            u0, v0, u1, v1 = prompts.box
            mask |= (u >= u0) & (u <= u1) & (v >= v0) & (v <= v1)
        return SimpleNamespace(mask=mask, predicted_iou=0.5, stability=1.0)


class SelfTest(unittest.TestCase):
    """The open panel over the fake network, in an empty scene."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.module = slicer.modules.samlivertumor.widgetRepresentation()
        self.module.enter()
        self.widget = self.module.self()
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self.panel.pool.use(FakeNetwork())
        self.session = self.panel.session

    def tearDown(self):
        self.module.exit()

    def finish(self):
        """Wait until nothing is running."""
        self.panel.worker.wait(30)
        while self.session.busy or self.panel.tasks.busy:
            slicer.app.processEvents()
        slicer.app.processEvents()

    def addVolume(self):
        """A CT of 24 x 20 x 8 voxels of 1 mm, shown in the slice views, which look at axial slice 4."""
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        array = np.full((8, 20, 24), 60, np.int16)
        array[0, 0, 0] = -1000  # or it would not pass for a CT
        slicer.util.updateVolumeFromArray(volumeNode, array)
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
        if slicer.app.layoutManager() is not None:
            slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().JumpSliceByOffsetting(10, 10, 4)
        return volumeNode

    def chooseVolume(self):
        """Choose a new CT in the panel, with prompts on axial slices."""
        volumeNode = self.addVolume()
        self.ui.volumeSelector.setCurrentNode(volumeNode)
        self.ui.planeCombo.setCurrentText("axial")
        return volumeNode

    def count(self, segmentationNode, segmentId, volumeNode):
        """Voxels of a segment."""
        array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode)
        return int((array > 0).sum()) if array is not None else 0

    def voxels(self, volumeNode):
        """Voxels of the segment that is prompted."""
        return self.count(self.session.segmentationNode, self.session.segmentId, volumeNode)
