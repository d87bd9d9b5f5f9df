"""A simulated user of the panel, with real networks: clicks, and the time until the segment has changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.panel_watch import Watch
from SAMLiverTumorLib.volume import Volume

#: The phase whose clicks are timed.
CLICKS = "warm clicks"


@dataclass(frozen=True)
class Clicks:
    """Warm clicks: seconds from the click to the written segment, and the number of clicks that changed voxels."""

    seconds: tuple[float, ...]
    changed: int

    def as_dict(self) -> dict:
        """JSON-ready."""
        return {
            "clicks": len(self.seconds),
            "changed": self.changed,
            "median_ms": round(1e3 * float(np.median(self.seconds)), 1),
            "p95_ms": round(1e3 * float(np.percentile(self.seconds, 95)), 1),
            "all_ms": [round(1e3 * one, 1) for one in self.seconds],
        }


def _cylinder(volume: Volume) -> np.ndarray:
    """A cylinder around the phantom's tumor, as labels 0 and 1."""
    edge, slices = volume.dimensions[0], volume.dimensions[2]
    v, u = np.mgrid[:edge, :edge] / edge
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[slices // 4 : 3 * slices // 4] = (u - 0.325) ** 2 + (v - 0.475) ** 2 < 0.05**2
    return labels


class BenchUser:
    """Segments the tumor of `speed_scene.phantom`.

    :param widget: the open panel's widget object.
    :param watch: runs the event loop and watches it.
    """

    def __init__(self, widget: Any, watch: Watch) -> None:
        self._widget, self._watch = widget, watch
        self._ui, self._panel, self._session = widget.ui, widget.panel, widget.panel.session

    def work(self, volume: Volume, clicks: int, through: int) -> Clicks:
        """Choose the volume, draw boxes, click, undo, evaluate with a label map; the times of the clicks.

        :param through: number of slices that the second box spans.
        """
        import slicer

        from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode

        volumeNode = addVolumeNode(slicer.mrmlScene, volume)
        k = volume.dimensions[2] // 2
        do, ui = self._watch.do, self._ui
        do("choose the volume", lambda: ui.volumeSelector.setCurrentNode(volumeNode), self._isDone)
        do("look at a slice", lambda: self._look(volume, k), self._isDone)
        ui.boxThroughCheckBox.checked = False
        do("first box on a slice", lambda: self._drawBox(volume, k, 1), self._isDone)
        do("first click", lambda: self._click(volume, k, 0), self._isDone)
        do("slices encoded ahead", lambda: None, lambda: self._panel.worker.wait(0))
        timed = self._warmClicks(volume, k, clicks)
        do("accept", self._session.accept, self._isDone)
        ui.boxThroughCheckBox.checked = True
        do("box through slices", lambda: self._drawBox(volume, k + through, through), self._isDone)
        self._evaluate(volume, volumeNode)
        do("scroll", lambda: [self._look(volume, k + step) for step in range(through)], self._isDone)
        do("close the scene", lambda: slicer.mrmlScene.Clear(False), self._isDone)
        return timed

    def _warmClicks(self, volume: Volume, k: int, clicks: int) -> Clicks:
        seconds, changed = [], 0
        for number in range(clicks):
            before = self._count()
            started: list[float] = []
            written: list[float] = []

            def click(number: int = number, started: list[float] = started) -> None:
                started.append(time.perf_counter())
                self._click(volume, k, number)

            def isWritten(started: list[float] = started, written: list[float] = written) -> None:
                if started and not written and not self._session.busy:
                    written.append(time.perf_counter())

            self._session.onChanged.append(isWritten)
            self._watch.do(CLICKS, click, lambda written=written: bool(written) and self._isDone())
            self._session.onChanged.remove(isWritten)
            seconds.append(written[0] - started[0])
            changed += self._count() != before
            self._watch.do("undo", self._ui.undoButton.click, self._isDone)
        self._watch.do("redo", self._ui.redoButton.click, self._isDone)
        return Clicks(tuple(seconds), changed)

    def _evaluate(self, volume: Volume, volumeNode: Any) -> None:
        import slicer
        import slicer.util

        labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "reference")
        labels.CopyOrientation(volumeNode)
        slicer.util.updateVolumeFromArray(labels, _cylinder(volume))
        choose = lambda: self._ui.referenceSelector.setCurrentNode(labels)  # noqa: E731
        self._watch.do("choose a label map as reference", choose, self._isDone)
        self._watch.do("evaluate", self._ui.evaluateButton.click, self._isDone)

    def _isDone(self) -> bool:
        return not self._session.busy and not self._panel.tasks.busy

    def _count(self) -> int:
        from SAMLiverTumorLib.mrml.segments.labelmap_boxes import voxelDigest

        return voxelDigest(self._session.segmentationNode)

    def _look(self, volume: Volume, k: int) -> None:
        import slicer

        sliceNode = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        sliceNode.JumpSliceByOffsetting(*self._ras(volume, 0, 0, k))

    def _ras(self, volume: Volume, right: float, down: float, k: float) -> np.ndarray:
        """World position on slice k beside the tumor's center, as shares of the slice's width."""
        edge = volume.dimensions[0]
        return (volume.ijk_to_ras @ [(0.325 + right) * edge, (0.475 + down) * edge, k, 1])[:3]

    def _drawBox(self, volume: Volume, k: int, slices: int) -> None:
        self._look(volume, k)
        if not self._ui.boxButton.checked:
            self._ui.boxButton.click()
        roiNode = self._session.promptNodes[2]
        low, high = self._ras(volume, -0.06, -0.06, k - 0.4), self._ras(volume, 0.06, 0.06, k + slices - 0.6)
        roiNode.InvokeCustomModifiedEvent(roiNode.PointStartInteractionEvent)
        roiNode.SetCenter((low + high) / 2)
        roiNode.SetSize(np.abs(high - low))
        roiNode.InvokeCustomModifiedEvent(roiNode.PointEndInteractionEvent)
        self._ui.boxButton.click()

    def _click(self, volume: Volume, k: int, number: int) -> None:
        """Click inside and outside the tumor in turn, never twice at the same place."""
        angle, isInside = 2.4 * number, number % 2 == 0
        distance = 0.02 if isInside else 0.052
        node = self._session.promptNodes[0 if isInside else 1]
        node.AddControlPointWorld(*self._ras(volume, distance * np.cos(angle), distance * np.sin(angle), k))
