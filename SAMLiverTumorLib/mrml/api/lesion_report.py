"""For scripts and Slicer's Python console: measures the lesions of a segment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import slicer

from SAMLiverTumorLib.mrml.api.find_and_fine_tune import Segment
from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.conversions import volumeFromNode
from SAMLiverTumorLib.mrml.nodes.lesion_nodes import showDiameters, tableFromLesions
from SAMLiverTumorLib.mrml.segments.segments import provenance, segmentArray

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.lesion_report.table import LesionReport


class Reported(NamedTuple):
    """The table in the scene, the diameter lines if requested, and the report."""

    tableNode: slicer.vtkMRMLTableNode
    lineNodes: list[slicer.vtkMRMLMarkupsLineNode]
    report: LesionReport


def lesionReport(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    liver: Segment | None = None,
    minMl: float = 0.0,
    diameters: bool = False,
    outFolder: Path | str | None = None,
    tableNode: slicer.vtkMRMLTableNode | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Reported:
    """Measure every lesion of a segment and write the figures to a table node.

    Volume, segmentation and the user's markups are only read; on failure nothing in the scene changes.

    :param liver: (segmentation node, segment ID) of the liver, for share and border.
    :param minMl: ignore connected components smaller than this.
    :param diameters: show both axial diameters of the ten largest lesions in the views, as locked lines.
    :param outFolder: write CSV, JSON, HTML and PDF there as well; needs matplotlib.
    :param tableNode: an earlier report's, overwritten; None makes one.
    :raises SAMLiverTumorError: with a text for the user.

    >>> table, lines, report = lesionReport(volumeNode, segmentationNode, segmentId)   # doctest: +SKIP
    """
    from SAMLiverTumorLib.evaluation.lesion_report.files import check_folder, write_report
    from SAMLiverTumorLib.evaluation.lesion_report.measure import measure_lesions

    if outFolder is not None:
        check_folder(outFolder)
    volume = volumeFromNode(volumeNode)
    mask = segmentArray(segmentationNode, segmentId, volumeNode)
    liverMask = segmentArray(*liver, volumeNode) if liver is not None else None
    entries = provenance(segmentationNode, segmentId)
    report = measure_lesions(mask, volume, liverMask, minMl, entries, progress=progress)
    if outFolder is not None:
        write_report(outFolder, report, volume, mask)
    scene = volumeNode.GetScene()
    segmentName = segmentationNode.GetSegmentation().GetSegment(segmentId).GetName()
    tableNode = tableFromLesions(scene, report, _("Lesions of {name}").format(name=segmentName), tableNode)
    return Reported(tableNode, showDiameters(scene, report, tableNode) if diameters else [], report)
