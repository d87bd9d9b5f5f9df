"""`SessionState`: state of a prompt session that only the panel shows."""

from __future__ import annotations

import slicer

from SAMLiverTumorLib.errors import SAMLiverTumorError
from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.mrml.nodes.conversions import BOX, boxFromNode, isDrawn
from SAMLiverTumorLib.mrml.session.jobs.session_jobs import SessionJobs
from SAMLiverTumorLib.mrml.session.scene_selection import Selection
from SAMLiverTumorLib.prompts import Box, Prompts, on_plane
from SAMLiverTumorLib.volume import Volume


class SessionState:
    """Read-only access to a session.

    :param selection: what the session works on.
    :param jobs: its jobs.
    """

    def __init__(self, selection: Selection, jobs: SessionJobs) -> None:
        self._selection, self._jobs = selection, jobs

    @property
    def volume(self) -> Volume | None:
        """The chosen volume's voxels; None if there are none."""
        return self._selection.volume()

    @property
    def canPropagate(self) -> bool:
        """Whether a tumor is prompted or drawn in the current view; also True while anything is running."""
        current, source, view = self._selection.current, self._selection.source, self._selection.view
        if current is None or source is None or view is None:
            return False
        return self._jobs.busy or self._jobs.canPropagate(current, source, view)

    @property
    def propagation(self) -> Propagation | None:
        """The propagation of the segment's tumor through the volume; None if there was none."""
        current, source = self._selection.current, self._selection.source
        return current.objectOn(source.key).propagation if current is not None and source is not None else None

    @property
    def boxThrough(self) -> Box | None:
        """The box through slices that a propagated tumor must stay inside; None if there is none."""
        current, source = self._selection.current, self._selection.source
        try:
            plan = self._jobs.slices.plan(current, source) if current is not None and source is not None else None
        except SAMLiverTumorError:
            return None
        return plan.prompts.box if plan is not None and plan.isThrough else None

    @property
    def segmentName(self) -> str:
        """Name of the chosen segment; empty if none."""
        segmentationNode, segmentId = self._selection.segmentationNode, self._selection.segmentId
        segmentation = segmentationNode.GetSegmentation() if segmentationNode is not None else None
        return segmentation.GetSegment(segmentId).GetName() if segmentation and segmentId else ""

    @property
    def waiting(self) -> int:
        """The number of slices being segmented."""
        return self._jobs.waiting

    @property
    def searching(self) -> tuple[int, int] | None:
        """Progress of a search for tumors, (slices done, total; 0 until known); None if there is none."""
        return self._jobs.searches.progress

    @property
    def existingPromptNodes(self) -> dict[str, slicer.vtkMRMLMarkupsNode]:
        """The segment's prompt nodes by role, without creating any."""
        current = self._selection.current
        return dict(current.nodes.byRole) if current is not None else {}

    @property
    def promptKinds(self) -> frozenset[str]:
        """The kinds of prompts that the segment has, of "points" and "box"."""
        current = self._selection.current
        try:
            return current.nodes.prompts().kinds if current is not None else frozenset()
        except SAMLiverTumorError:
            return frozenset()

    def boxSizeOnSlice(self) -> tuple[float, float, float] | None:
        """The box's edge lengths in mm, if it crosses the current slice; else None."""
        roiNode, view, volume = self.existingPromptNodes.get(BOX), self._selection.view, self.volume
        if roiNode is None or view is None or volume is None or not isDrawn(roiNode):
            return None
        try:
            box = boxFromNode(roiNode)
            if box is None or on_plane(Prompts(box=box), view.plane(volume)).box is None:
                return None
        except SAMLiverTumorError:
            return None
        size = [0.0, 0.0, 0.0]
        roiNode.GetSizeWorld(size)
        return tuple(size)
