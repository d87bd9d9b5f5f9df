"""The scripted module of SAM Liver Tumor: names the module, binds the panel, hands over to SAMLiverTumorLib.

Loading it imports nothing heavy and installs nothing: torch and the model come with the first segmentation.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Installed, the library lies beside this file; in a checkout one folder up, which Slicer does not put on the path.
if importlib.util.find_spec("SAMLiverTumorLib") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from SAMLiverTumorLib.image.window import PRESETS
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.resources import sample_case

HOMEPAGE = "https://github.com/slicer-sam-liver-tumor/SlicerSAMLiverTumor"
INCLUDE_COLOR = (0.2, 0.8, 0.2)
EXCLUDE_COLOR = (0.9, 0.2, 0.2)


class SAMLiverTumor(ScriptedLoadableModule):
    """What Slicer shows of the module before its panel is opened."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("SAM Liver Tumor")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Markups", "Segmentations", "SegmentEditor", "Volumes"]
        self.parent.contributors = ["SAM Liver Tumor contributors"]
        self.parent.helpText = _("""
Outlines liver tumors in CT with the Segment Anything Model from include points, exclude points and a box.
Everything is computed on this computer. For research; not a medical device.
See the <a href="{url}">documentation</a>.
""").format(url=f"{HOMEPAGE}#readme")
        self.parent.acknowledgementText = _("""
Builds on the Segment Anything Model (Kirillov et al., 2023), MobileSAM (Zhang et al., 2023) and MedSAM and LiteMedSAM
(Ma et al., 2024). The sample case is from LiTS (Bilic et al., 2023) and the Medical Segmentation Decathlon
(Antonelli et al., 2022), CC BY-SA 4.0.
""")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the sample case that is installed with the extension in the Sample Data module."""
    import SampleData

    files = sample_case()
    SampleData.SampleDataLogic.registerCustomSampleDataCategory("SAM Liver Tumor", title=_("SAM Liver Tumor"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SAM Liver Tumor",
        sampleName="LiverTumorCT",
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "SampleCase.png"),
        uris=[files["ct"].as_uri(), files["label"].as_uri()],
        fileNames=["LiverTumorCT.nii.gz", "LiverTumorCT-reference.nii.gz"],
        nodeNames=["LiverTumorCT", "LiverTumorCT reference"],
        loadFileTypes=["VolumeFile", "SegmentationFile"],
        checksums=[
            "SHA256:da107ba60803aa0a360cffef5d1c55e39661695d0c7f43db58ac91151a4963d9",
            "SHA256:657e8cb1a8d94a2db2c3dd230371a82f7d3f142423cb5794ec74326b8e55b046",
        ],
    )


@parameterNodeWrapper
class SAMLiverTumorParameterNode:
    """The user's choices, saved with the scene.

    volume - the CT to segment
    include, exclude - points inside and outside the tumor
    roi - a box around the tumor
    segmentation - gets the result; a new one when empty
    segmentName - the segment that is written
    plane, window, model - how the slices are cut, shown to the network and segmented
    """

    volume: slicer.vtkMRMLScalarVolumeNode
    include: slicer.vtkMRMLMarkupsFiducialNode
    exclude: slicer.vtkMRMLMarkupsFiducialNode
    roi: slicer.vtkMRMLMarkupsROINode
    segmentation: slicer.vtkMRMLSegmentationNode
    segmentName: str = "Liver tumor"
    plane: Annotated[str, Choice(["axial", "coronal", "sagittal"])] = "axial"
    window: Annotated[str, Choice(["auto", *PRESETS])] = "auto"
    model: Annotated[str, Choice(["auto", *load_registry()])] = "auto"


class SAMLiverTumorWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None) -> None:
        """Called when the user opens the module the first time and the widget is initialized."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._isSegmenting = False

    def setup(self) -> None:
        """Called when the user opens the module the first time and the widget is initialized."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SAMLiverTumor.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SAMLiverTumorLogic()

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.includeSelector.connect("nodeAddedByUser(vtkMRMLNode*)", lambda node: setColor(node, INCLUDE_COLOR))
        self.ui.excludeSelector.connect("nodeAddedByUser(vtkMRMLNode*)", lambda node: setColor(node, EXCLUDE_COLOR))
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes, the module is reloaded and the module widget is destroyed."""
        self.setParameterNode(None)
        self.removeObservers()

    def onReload(self) -> None:
        """Reload the library along with this file, which is all that the base class reloads."""
        for name in [name for name in sys.modules if name.split(".")[0] == "SAMLiverTumorLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens a different module."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Called just before the scene is closed."""
        self.setParameterNode(None)
        self._updateSegmentButton()

    def onSceneEndClose(self, caller=None, event=None) -> None:
        """Called just after the scene is closed."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Ensure the parameter node exists, is observed, and names a volume if the scene has one."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.volume:
            self._parameterNode.volume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode: SAMLiverTumorParameterNode | None) -> None:
        """Bind the panel to a parameter node, or to none."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._updateSegmentButton)
        self._parameterNode = parameterNode
        if self._parameterNode:
            # Widgets name their parameter by the dynamic property SlicerParameterName in the .ui file.
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._updateSegmentButton)
            self._updateSegmentButton()

    def _updateSegmentButton(self, caller=None, event=None) -> None:
        missing = self.logic.missingInput(self._parameterNode) if self._parameterNode else _("The scene is closed.")
        self.ui.segmentButton.enabled = not missing and not self._isSegmenting
        self.ui.segmentButton.toolTip = missing or _("Segment the tumor that the points and the box show.")

    def onSegmentButton(self, checked: bool = False) -> None:
        """Run the segmentation when the user clicks "Segment"."""
        from SAMLiverTumorLib.errors import SAMLiverTumorError
        from SAMLiverTumorLib.mrml.packages import ensurePackages

        # Showing progress runs the event loop, where a second click must find the button disabled.
        self._isSegmenting = True
        self._updateSegmentButton()
        try:
            with slicer.util.tryWithErrorDisplay(_("Failed to segment."), waitCursor=True):
                try:
                    ensurePackages(self.resourcePath("requirements.txt"))
                    segmentationNode, segmentId = self.logic.segment(
                        self._parameterNode, confirm=self._confirm, progress=self._showProgress
                    )
                except SAMLiverTumorError as error:
                    self._showStatus(str(error))
                    return
            segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
            if self._parameterNode:
                self._parameterNode.segmentation = segmentationNode
            self._showStatus(_("Done: segment {name}.").format(name=segment.GetName()))
        finally:
            self._isSegmenting = False
            self._updateSegmentButton()

    def _confirm(self, question: str) -> bool:
        # In testing mode Slicer answers every question with yes; a test must not start a download.
        return not slicer.app.testingEnabled() and slicer.util.confirmYesNoDisplay(question)

    def _showProgress(self, done: int, total: int | None) -> None:
        self._showStatus(_("Working: {done} of {total}").format(done=done, total=total or "?"))

    def _showStatus(self, text: str) -> None:
        self.ui.statusLabel.text = text
        slicer.app.processEvents()


def setColor(markupsNode: slicer.vtkMRMLMarkupsNode, color: tuple[float, float, float]) -> None:
    """Show a new node's points in one color, selected or not."""
    markupsNode.CreateDefaultDisplayNodes()
    markupsNode.GetDisplayNode().SetColor(color)
    markupsNode.GetDisplayNode().SetSelectedColor(color)


class SAMLiverTumorLogic(ScriptedLoadableModuleLogic):
    """What the panel does, without the panel.

    >>> logic = slicer.util.getModuleLogic("SAMLiverTumor")
    >>> parameters = logic.getParameterNode()
    >>> parameters.volume, parameters.roi = volumeNode, roiNode
    >>> segmentationNode, segmentId = logic.segment(parameters)
    """

    def getParameterNode(self) -> SAMLiverTumorParameterNode:
        """The parameter node of the scene."""
        return SAMLiverTumorParameterNode(super().getParameterNode())

    def missingInput(self, parameters: SAMLiverTumorParameterNode) -> str:
        """What the user has to choose before segmenting; empty when nothing is missing."""
        if not parameters.volume:
            return _("Choose a volume.")
        if not parameters.include and not parameters.roi:
            return _("Choose include points or a box.")
        if not parameters.segmentName.strip():
            return _("Give the segment a name.")
        return ""

    def segment(
        self,
        parameters: SAMLiverTumorParameterNode,
        confirm: Callable[[str], bool] | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> tuple[slicer.vtkMRMLSegmentationNode, str]:
        """Segment as the parameters say; the same function as in the console program.

        :param confirm: asked before a model is downloaded; None never downloads.
        :param progress: called with the number of slices done and their total.
        :raises SAMLiverTumorError: for what the user can mend.
        """
        from SAMLiverTumorLib.mrml.api import segmentNodes

        segmented = segmentNodes(
            parameters.volume,
            includeNode=parameters.include,
            excludeNode=parameters.exclude,
            roiNode=parameters.roi,
            segmentationNode=parameters.segmentation,
            segmentName=parameters.segmentName.strip(),
            plane=parameters.plane,
            window=parameters.window,
            model=parameters.model,
            confirm=confirm or (lambda question: False),
            progress=progress,
        )
        return segmented.segmentationNode, segmented.segmentId


class SAMLiverTumorTest(ScriptedLoadableModuleTest):
    """Run by ctest and by the Reload & Test button, in the Slicer application."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def test_boxAroundATumorOfTheSampleCaseGivesASegment(self) -> None:
        """The fourth largest tumor, 8,887 voxels by the reference, from a box around it."""
        from SAMLiverTumorLib.errors import Cancelled, ModelError

        if importlib.util.find_spec("torch") is None:
            self.skipTest("PyTorch is not installed in this Slicer: press Segment once, in the panel")
        volumeNode = slicer.util.loadVolume(str(sample_case()["ct"]))
        roiNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
        roiNode.SetCenter(58.07, 29.38, 1907.7)
        roiNode.SetSize(38.1, 42.2, 40.0)
        logic = SAMLiverTumorLogic()
        parameters = logic.getParameterNode()
        parameters.volume, parameters.roi = volumeNode, roiNode
        try:
            segmentationNode, segmentId = logic.segment(parameters)
        except (Cancelled, ModelError) as error:
            self.skipTest(f"the model is not on this computer: {error}")
        found = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode) > 0
        reference = slicer.util.arrayFromVolume(slicer.util.loadLabelVolume(str(sample_case()["label"]))) == 2
        inBox = (slice(62, 87), slice(65, 96), slice(59, 87))
        dice = 2 * (found & reference)[inBox].sum() / (found.sum() + reference[inBox].sum())
        self.assertGreater(dice, 0.5)
