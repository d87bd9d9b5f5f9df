"""For programs on the desktop: the open panel over a network that is a rule of thumb, and a user's hands.

Import it after `desktop.openModule`; see session_case for the rule.
"""

import threading

import slicer
from session_case import FakePredictor, small_volume

from SAMLiverTumorLib.errors import Cancelled
from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode
from SAMLiverTumorLib.mrml.segments.segments import segmentArray

SPECK = 13  # voxels of one include point's disc


class GatedPredictor(FakePredictor):
    """Encodes only while the gate is open, and hears Cancel meanwhile."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()

    def embed(self, rgb, spacing, cancel=None, mirrored=False):
        self.waiting.set()
        while not self.gate.wait(0.005):
            if cancel is not None and cancel():
                raise Cancelled("cancelled")
        self.waiting.clear()
        return super().embed(rgb, spacing, cancel)


class User:
    """What the user does at the panel, with a volume chosen and the red view on axial slice 4."""

    def __init__(self, desktop, widget):
        self.desktop, self.widget, self.ui = desktop, widget, widget.ui
        self.panel, self.session = widget.panel, widget.panel.session
        self.network = GatedPredictor()
        self.predictor = lambda model: self.network
        self.panel.pool.use(self)
        self.volume = small_volume()
        self.volumeNode = addVolumeNode(slicer.mrmlScene, self.volume)
        self.ui.volumeSelector.setCurrentNode(self.volumeNode)
        self.look(4)

    def ras(self, i, j, k):
        return (self.volume.ijk_to_ras @ [i, j, k, 1])[:3]

    def sliceNode(self, name="Red"):
        return slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()

    def look(self, k, name="Red"):
        """Scroll a view to the voxel (10, 10, k)."""
        if slicer.app.layoutManager() is None:
            return
        self.sliceNode(name).JumpSliceByOffsetting(*self.ras(10, 10, k))

    def click(self, i, j, k, button=None):
        """Press the place button and click at a voxel; placing is what the slice view would do."""
        button = button or self.ui.includeButton
        if not button.checked:
            button.click()
        node = slicer.mrmlScene.GetNodeByID(slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID())
        node.AddControlPointWorld(*self.ras(i, j, k))

    def drawBox(self, low, high):
        """Draw the ROI around voxels `low` to `high`; between them the mouse button is down."""
        self.ui.boxButton.click()
        roi = slicer.mrmlScene.GetNodeByID(slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID())
        self.dragBox(roi, low, high)
        interactionNode = slicer.app.applicationLogic().GetInteractionNode()
        interactionNode.SetCurrentInteractionMode(interactionNode.ViewTransform)
        return roi

    def dragBox(self, roi, low, high):
        roi.InvokeCustomModifiedEvent(roi.PointStartInteractionEvent)
        a = self.ras(*(x - 0.5 for x in low))
        b = self.ras(*(x + 0.5 for x in high))
        roi.SetCenter((a + b) / 2)
        roi.SetSize(abs(b - a))
        roi.InvokeCustomModifiedEvent(roi.PointEndInteractionEvent)

    def finish(self):
        """Wait until nothing is running."""
        self.desktop.wait(lambda: not self.session.busy and not self.panel.tasks.busy)
        self.desktop.processEvents()

    def begin(self):
        """Hold the network, so that what is started next stays running."""
        self.network.gate.clear()

    def array(self, segmentId=None):
        return segmentArray(self.session.segmentationNode, segmentId or self.session.segmentId, self.volumeNode)

    def count(self, segmentId=None):
        return int(self.array(segmentId).sum())

    def listed(self):
        return [self.ui.promptsList.item(n).text().split(":")[0] for n in range(self.ui.promptsList.count)]
