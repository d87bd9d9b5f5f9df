"""The effect SAM in Segment Editor: `ctest` runs this; `test_self_tests.py` runs it on the stand-in."""

import slicer
from sam_selftest import SPECK, SelfTest


class test_SAMLiverTumorEffect(SelfTest):
    """Prompts beside the tools of Segment Editor."""

    def openEditor(self):
        """Segment Editor on a new segmentation of one segment, with the effect chosen."""
        volumeNode = self.addVolume()
        segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        segmentationNode.CreateDefaultDisplayNodes()
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        segmentId = segmentationNode.GetSegmentation().AddEmptySegment("", "tumor")
        self.module.exit()
        self.editorWidget = slicer.modules.segmenteditor.widgetRepresentation().self()
        self.editorWidget.selectParameterNode()
        editor = self.editorWidget.editor
        editor.setSegmentationNode(segmentationNode)
        editor.setSourceVolumeNode(volumeNode)
        editor.setCurrentSegmentID(segmentId)
        editor.setActiveEffectByName("SAM Liver Tumor")
        return editor, volumeNode, segmentationNode, segmentId

    def tearDown(self):
        self.editorWidget.editor.setActiveEffect(None)
        super().tearDown()

    def test_aClickFillsTheSelectedSegment(self):
        editor, volumeNode, segmentationNode, segmentId = self.openEditor()
        self.assertIsNotNone(editor.activeEffect())
        effect = editor.activeEffect().self()
        effect.panel.ui.includeButton.click()
        self.assertIsNotNone(editor.activeEffect(), "place mode leaves the effect chosen")
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        self.assertEqual(self.count(segmentationNode, segmentId, volumeNode), SPECK)

    def test_undoOfSegmentEditorTakesThePromptBack(self):
        editor, volumeNode, segmentationNode, segmentId = self.openEditor()
        self.session.promptNodes[0].AddControlPointWorld(8.0, 9.0, 4.0)
        self.finish()
        editor.undo()
        self.finish()
        self.assertEqual(self.count(segmentationNode, segmentId, volumeNode), 0)
        self.assertEqual(self.session.promptNodes[0].GetNumberOfControlPoints(), 0)
        editor.redo()
        self.finish()
        self.assertEqual(self.count(segmentationNode, segmentId, volumeNode), SPECK)
        self.assertEqual(self.session.promptNodes[0].GetNumberOfControlPoints(), 1)
