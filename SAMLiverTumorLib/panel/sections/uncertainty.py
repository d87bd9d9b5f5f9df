"""The part of section Segment that shows the uncertainty of a propagated tumor and the next best slice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import slicer
import slicer.util
from slicer.i18n import tr as _

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode
from SAMLiverTumorLib.panel.section_context import Shared, enable
from SAMLiverTumorLib.plane import ORIENTATIONS

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.propagation.result import Propagation
    from SAMLiverTumorLib.inference.uncertainty.fusion import Fusion

_OPACITY = 0.6


class Uncertainty:
    """Connects the buttons "Uncertainty" and "Next best slice"."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._ui = shared, shared.ui
        self._fusion: Fusion | None = None
        self._ui.uncertaintyButton.connect("clicked(bool)", self.show)
        self._ui.nextSliceButton.connect("clicked(bool)", lambda checked: self.goToNext())

    def update(self) -> None:
        """Enable the buttons."""
        session, missing = self._shared.session, ""
        if self._shared.state.propagation is None:
            missing = _("Propagate the tumor through the volume first.")
        elif session.busy or self._shared.tasks.busy:
            missing = _("Wait until the current job is done.")
        toolTip = _("Segment the tumor along all three axes, and overlay how uncertain each voxel is.")
        enable(self._ui.uncertaintyButton, missing, toolTip)
        self._ui.uncertaintyButton.checked = self._shownNode() is not None
        enable(self._ui.nextSliceButton, missing, _("Go to the slice where a prompt would help most. Key: N"))

    def show(self, on: bool) -> None:
        """Compute and show the uncertainty, or remove it from the slices."""
        if on:
            self._fuse(ORIENTATIONS, self._showMaps)
        else:
            _setForeground(None)
            self._shared.follow()

    def goToNext(self) -> None:
        """Go to the next best slice, by the last computed uncertainty, or else the network's own."""
        if not self._ui.nextSliceButton.enabled:
            return
        if self._fusion is not None and self._fusion.first is self._shared.state.propagation:
            self._goTo(self._fusion)
        else:
            self._fuse((), self._goTo)

    def close(self) -> None:
        """Release the volume."""
        self._fusion = None

    def _fuse(self, orientations: tuple[str, ...], done: Callable[[Fusion], None]) -> None:
        session, state, pool = self._shared.session, self._shared.state, self._shared.pool
        first: Propagation = state.propagation
        settings, box = session.settings, state.boxThrough
        try:
            inside, grid = session.inside(), gridFromNode(session.volumeNode)
        except SAMLiverTumorError as error:
            session.say(str(error))
            return

        def work(cancelled: Callable[[], bool], progress: Callable[[int, int | None], None]) -> Fusion:
            # scipy comes with these: not in the thread that draws the screen
            from SAMLiverTumorLib.inference.propagation.slice_step import Limits
            from SAMLiverTumorLib.inference.uncertainty.fusion import fuse
            from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble

            ensemble = Ensemble(orientations)
            limits = Limits(None if inside is None else inside.onGrid(grid)[0], box)
            return fuse(first, pool, settings, ensemble, limits=limits, progress=progress, cancel=cancelled)

        what = (session.volumeNode, state.segmentName)
        self._shared.tasks.start("fuse", _("Segmenting along all axes"), work, partial(self._keep, what, done))
        self._shared.follow()

    def _keep(
        self, what: tuple[slicer.vtkMRMLScalarVolumeNode, str], done: Callable[[Fusion], None], fusion: Fusion
    ) -> None:
        self._fusion, self._what = fusion, what
        if slicer.mrmlScene.IsNodePresent(what[0]):
            done(fusion)
        self._shared.follow()

    def _showMaps(self, fusion: Fusion) -> None:
        from SAMLiverTumorLib.mrml.nodes.probability_nodes import showProbability, showUncertainty

        volumeNode, segmentName = self._what
        showProbability(slicer.mrmlScene, volumeNode, segmentName, fusion.probability)
        node = showUncertainty(slicer.mrmlScene, volumeNode, segmentName, fusion.uncertainty)
        _setForeground(node)
        text = _("{name}: bright is uncertain. Probability and uncertainty are volumes in the scene.")
        self._shared.session.say(text.format(name=node.GetName()))

    def _goTo(self, fusion: Fusion) -> None:
        from SAMLiverTumorLib.inference.uncertainty.next_best_slice import next_best_slice

        best = next_best_slice(fusion)
        if best is None:
            self._shared.session.say(_("No part of the tumor is uncertain."))
            return
        name = best.orientation.capitalize()
        sliceNodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
        # prompts apply to the view that was moved last
        for sliceNode in sorted(sliceNodes, key=lambda node: node.GetOrientation() == name):
            sliceNode.JumpSliceByOffsetting(*best.center_ras)
        text = _("{name} slice {index}: {reason}")
        self._shared.session.say(text.format(name=name, index=best.index, reason=best.reason))

    @staticmethod
    def _shownNode() -> slicer.vtkMRMLScalarVolumeNode | None:
        """The map that is shown over the slices, if any."""
        from SAMLiverTumorLib.mrml.nodes.probability_nodes import MAP_ATTRIBUTE

        for compositeNode in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            node = slicer.mrmlScene.GetNodeByID(compositeNode.GetForegroundVolumeID() or "")
            if node is not None and node.GetAttribute(MAP_ATTRIBUTE):
                return node
        return None


def _setForeground(node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Show a volume over all slice views, or none."""
    for compositeNode in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        compositeNode.SetForegroundVolumeID(node.GetID() if node is not None else None)
        compositeNode.SetForegroundOpacity(_OPACITY if node is not None else 0.0)
