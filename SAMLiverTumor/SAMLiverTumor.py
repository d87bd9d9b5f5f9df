"""The scripted module of SAM Liver Tumor: registers the module and delegates to SAMLiverTumorLib.

Loading it imports nothing heavy and installs nothing: torch and the model are loaded with the first segmentation.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# When installed, the library is next to this file; in a checkout it is one folder up, which Slicer does not add to the
# path.
if importlib.util.find_spec("SAMLiverTumorLib") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from SAMLiverTumorLib.image.rgb import CHANNEL_MODES
from SAMLiverTumorLib.image.window import PERCENTILE, PRESETS
from SAMLiverTumorLib.inference.segment_slices import QUALITIES
from SAMLiverTumorLib.models.registry import load_registry
from SAMLiverTumorLib.panel.panel_pool import FILE
from SAMLiverTumorLib.resources import sample_case

PHASE_WINDOWS = ["auto", *PRESETS, PERCENTILE, "custom"]
HOMEPAGE = "https://github.com/slicer-sam-liver-tumor/SlicerSAMLiverTumor"


class SAMLiverTumor(ScriptedLoadableModule):
    """The module's description, shown before its panel is opened."""

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
    """Add the sample case, which is installed with the extension, to the Sample Data module."""
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
    phase1, phase2 - further phases or modalities that the network sees besides the volume
    phase1Window, phase1Low, phase1High, phase2Window, phase2Low, phase2High - their windows
    segmentation, segmentId - the segment that prompts fill; created with the first prompt if empty
    include, exclude, roi - the segment's prompts, created by the panel
    model, modelFile, device - the network, the path of its weight file for "file", and the device
    window, windowLow, windowHigh, channels - how slice images are made for the network
    quality - whether the mirror image of a slice is used as well
    plane - the slice view that prompts apply to; "view" is the one the user works in, oblique ones included
    live - segment after each change of the prompts
    boxThroughSlices - the box applies to every slice it crosses
    editorMasking - apply Segment Editor's editable area and intensity range
    editorOverwrite - apply Segment Editor's overwrite mode; otherwise other segments are never changed
    inside, insideSegmentId - the region that a propagated tumor must stay inside, such as the liver, if any
    reference, referenceSegmentId - the reference: a segmentation and its segment, or a label map and its value
    evaluation - the table of the comparison
    lesions - the table of the lesion report
    trainSource, trainImages, trainLabels - the training data: the scene's volume and segment, or two folders
    trainPart, trainEpochs, trainFolder - the parts to train, the maximum number of epochs, the run's folder
    training - the table of the training curves
    """

    volume: slicer.vtkMRMLScalarVolumeNode
    phase1: slicer.vtkMRMLScalarVolumeNode
    phase1Window: Annotated[str, Choice(PHASE_WINDOWS)] = "auto"
    phase1Low: Annotated[float, WithinRange(-32768, 65535)] = 0.0
    phase1High: Annotated[float, WithinRange(-32768, 65535)] = 1000.0
    phase2: slicer.vtkMRMLScalarVolumeNode
    phase2Window: Annotated[str, Choice(PHASE_WINDOWS)] = "auto"
    phase2Low: Annotated[float, WithinRange(-32768, 65535)] = 0.0
    phase2High: Annotated[float, WithinRange(-32768, 65535)] = 1000.0
    segmentation: slicer.vtkMRMLSegmentationNode
    segmentId: str = ""
    include: slicer.vtkMRMLMarkupsFiducialNode
    exclude: slicer.vtkMRMLMarkupsFiducialNode
    roi: slicer.vtkMRMLMarkupsROINode
    model: Annotated[str, Choice(["auto", *load_registry(), FILE])] = "auto"
    modelFile: str = ""
    device: Annotated[str, Choice(["auto", "cuda", "mps", "cpu"])] = "auto"
    window: Annotated[str, Choice(["auto", *PRESETS, "custom"])] = "auto"
    windowLow: Annotated[float, WithinRange(-32768, 65535)] = -45.0
    windowHigh: Annotated[float, WithinRange(-32768, 65535)] = 105.0
    channels: Annotated[str, Choice(list(CHANNEL_MODES))] = CHANNEL_MODES[0]
    quality: Annotated[str, Choice(list(QUALITIES))] = QUALITIES[0]
    plane: Annotated[str, Choice(["view", "axial", "coronal", "sagittal"])] = "view"
    live: bool = True
    boxThroughSlices: bool = False
    editorMasking: bool = True
    editorOverwrite: bool = False
    inside: slicer.vtkMRMLDisplayableNode
    insideSegmentId: str = ""
    reference: slicer.vtkMRMLDisplayableNode
    referenceSegmentId: str = ""
    evaluation: slicer.vtkMRMLTableNode
    lesions: slicer.vtkMRMLTableNode
    trainSource: Annotated[str, Choice(["scene", "folders"])] = "scene"
    trainImages: str = ""
    trainLabels: str = ""
    trainPart: Annotated[str, Choice(["decoder", "lora", "last", "all"])] = "decoder"
    trainEpochs: Annotated[int, WithinRange(1, 1000)] = 20
    trainFolder: str = ""
    training: slicer.vtkMRMLTableNode


class SAMLiverTumorWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's widget; its implementation is in SAMLiverTumorLib.panel."""

    def __init__(self, parent=None) -> None:
        """Called when the user opens the module the first time and the widget is initialized."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self) -> None:
        """Called when the user opens the module the first time and the widget is initialized."""
        from SAMLiverTumorLib.panel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SAMLiverTumor.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SAMLiverTumorLogic()
        self.panel = Panel(self.ui, uiWidget, self.resourcePath("requirements.txt"))

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes, the module is reloaded and the module widget is destroyed."""
        self.setParameterNode(None)
        if self.panel:
            self.panel.close()
        self.removeObservers()

    def onReload(self) -> None:
        """Reload the library together with this file; the base class reloads only this file."""
        self.cleanup()
        for name in [name for name in sys.modules if name.split(".")[0] == "SAMLiverTumorLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """Called each time the user opens a different module."""
        self.panel.exit()

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Called just before the scene is closed."""
        self.setParameterNode(None)
        self.panel.sceneClosing()

    def onSceneEndClose(self, caller=None, event=None) -> None:
        """Called just after the scene was closed or another one was loaded."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Ensure the parameter node exists and is observed; the volume is the one shown in the application, if any."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.volume:
            selectionNode = slicer.app.applicationLogic().GetSelectionNode()
            volumeNode = slicer.mrmlScene.GetNodeByID(selectionNode.GetActiveVolumeID() or "")
            if volumeNode and volumeNode.GetClassName() == "vtkMRMLScalarVolumeNode":
                self._parameterNode.volume = volumeNode

    def setParameterNode(self, parameterNode: SAMLiverTumorParameterNode | None) -> None:
        """Connect the panel to a parameter node, or to none."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode.parameterNode, "ModifiedEvent", self.onParameterNodeModified)
        self._parameterNode = parameterNode
        if self._parameterNode:
            # Importing a scene modifies this node; observers of lower priority then fill the lists.
            node = self._parameterNode.parameterNode
            self.addObserver(node, "ModifiedEvent", self.onParameterNodeModified, priority=1.0)
            # Widgets name their parameter in the dynamic property SlicerParameterName in the .ui file.
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
        if self.panel:
            self.panel.setParameterNode(parameterNode)

    def onParameterNodeModified(self, caller, event=None) -> None:
        """Called before the panel is updated."""
        replaceFormerChoices(caller)


def replaceFormerChoices(node: slicer.vtkMRMLScriptedModuleNode) -> None:
    """Reset a choice that is no longer offered, found in scenes of version 0.1.0, to the default.

    Slicer's lists raise ValueError for a stored value that they do not have.
    """
    if node.GetParameter("quality") not in ("", *QUALITIES):
        node.SetParameter("quality", QUALITIES[0])


class SAMLiverTumorLogic(ScriptedLoadableModuleLogic):
    """The module's functions without the panel.

    >>> logic = slicer.util.getModuleLogic("SAMLiverTumor")
    >>> parameters = logic.getParameterNode()
    >>> parameters.volume, parameters.roi = volumeNode, roiNode
    >>> segmentationNode, segmentId = logic.segment(parameters)
    """

    def getParameterNode(self) -> SAMLiverTumorParameterNode:
        """The parameter node of the scene."""
        node = super().getParameterNode()
        replaceFormerChoices(node)
        return SAMLiverTumorParameterNode(node)

    def segment(
        self,
        parameters: SAMLiverTumorParameterNode,
        confirm: Callable[[str], bool] | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        segmentName: str = "Liver tumor",
    ) -> tuple[slicer.vtkMRMLSegmentationNode, str]:
        """Segment by the parameters and wait for the result; the console program uses the same function.

        :param confirm: asked before a model is downloaded; None never downloads.
        :param progress: called with the number of slices done and their total.
        :param segmentName: the segment to add to; made if there is none of that name.
        :raises SAMLiverTumorError: for problems that the user can fix.
        """
        from SAMLiverTumorLib.mrml.api.segment import segmentNodes
        from SAMLiverTumorLib.mrml.nodes.channel_nodes import furtherChannels
        from SAMLiverTumorLib.mrml.session.phases import chosenPhases
        from SAMLiverTumorLib.panel.sections.model import settingsFrom

        nodes, windows = zip(*chosenPhases(parameters), strict=True) if chosenPhases(parameters) else ((), ())
        further = furtherChannels(parameters.volume, nodes, windows) if nodes else ()
        segmented = segmentNodes(
            parameters.volume,
            includeNode=parameters.include,
            excludeNode=parameters.exclude,
            roiNode=parameters.roi,
            segmentationNode=parameters.segmentation,
            segmentName=segmentName,
            settings=replace(settingsFrom(parameters), further=further),
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
