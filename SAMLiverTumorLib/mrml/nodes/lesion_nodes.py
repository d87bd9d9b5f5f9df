"""A lesion report as MRML nodes: a table, and the diameters as locked line markups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import slicer
import vtk

from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.table_nodes import filledTable

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.lesion_report.table import LesionReport

TABLE_ATTRIBUTE = "SAMLiverTumor.LesionReport"

DIAMETER_ATTRIBUTE = "SAMLiverTumor.Diameter"
"""Marks the lines that were made here and may be removed; all other markups are the user's."""

_LINES_REFERENCE = "SAMLiverTumor.Diameters"
_FOLDER_ATTRIBUTE = "SAMLiverTumor.DiameterFolder"

# Two lines each: more would hide the image.
MOST_LINES = 10

# Okabe and Ito's palette, as in the report's figures.
_COLORS = {"longest": (1.0, 0.5, 0.05), "perpendicular": (0.34, 0.71, 0.91)}

_COLUMNS = (
    ("Volume (ml)", "volume_ml", 3),
    ("Longest axial (mm)", "longest_axial_mm", 1),
    ("Perpendicular (mm)", "perpendicular_mm", 1),
    ("Longest 3D (mm)", "longest_3d_mm", 1),
    ("Mean ({unit})", "intensity_mean", 1),
    ("SD ({unit})", "intensity_sd", 1),
    ("Min ({unit})", "intensity_min", 1),
    ("Median ({unit})", "intensity_median", 1),
    ("Max ({unit})", "intensity_max", 1),
    ("Liver border (mm)", "liver_border_distance_mm", 1),
    ("Share of liver (%)", "liver_share_percent", 2),
    ("Nearest lesion", "nearest_lesion", 0),
    ("Nearest (mm)", "nearest_distance_mm", 1),
    ("Slice", "diameter_slice", 0),
    ("Slices", "slices", 0),
    ("R (mm)", "centroid_r_mm", 1),
    ("A (mm)", "centroid_a_mm", 1),
    ("S (mm)", "centroid_s_mm", 1),
)


def tableFromLesions(
    scene: slicer.vtkMRMLScene, report: LesionReport, name: str, tableNode: slicer.vtkMRMLTableNode | None = None
) -> slicer.vtkMRMLTableNode:
    """One row per lesion, the largest first.

    :param tableNode: overwritten; None makes one.
    """
    rows = [report.figures(row) for row in report.rows]
    columns = [(title.format(unit=report.unit), [row[key] for row in rows], n) for title, key, n in _COLUMNS]
    labels = [str(row.number) for row in report.rows]
    return filledTable(scene, name, tableNode, TABLE_ATTRIBUTE, labels, columns)


def showDiameters(
    scene: slicer.vtkMRMLScene, report: LesionReport, tableNode: slicer.vtkMRMLTableNode, lesions: int = MOST_LINES
) -> list[slicer.vtkMRMLMarkupsLineNode]:
    """Show both axial diameters of the largest lesions in the views, replacing earlier ones.

    :param tableNode: the report's table, which references its lines.
    :param lesions: show those of at most so many.
    """
    hideDiameters(scene, tableNode)
    lineNodes = []
    with _placingUnchanged(scene):
        folder = _folder(scene, tableNode) if report.rows else None
        for row in report.rows[: max(0, lesions)]:
            for kind, diameter in (("longest", row.axial.longest), ("perpendicular", row.axial.perpendicular)):
                name = _("Lesion {number}, longest") if kind == "longest" else _("Lesion {number}, perpendicular")
                lineNode = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name.format(number=row.number))
                lineNode.SetAttribute(DIAMETER_ATTRIBUTE, "1")
                lineNode.CreateDefaultDisplayNodes()
                for point in diameter.ends_ras:
                    lineNode.AddControlPointWorld(*(float(x) for x in point))
                lineNode.SetLocked(True)
                _style(lineNode.GetDisplayNode(), _COLORS[kind])
                tableNode.AddNodeReferenceID(_LINES_REFERENCE, lineNode.GetID())
                _putInto(scene, folder, lineNode)
                lineNodes.append(lineNode)
    return lineNodes


def hideDiameters(scene: slicer.vtkMRMLScene, tableNode: slicer.vtkMRMLTableNode) -> None:
    """Remove the lines that were made for a report, and their folder, from the scene."""
    count = tableNode.GetNumberOfNodeReferences(_LINES_REFERENCE)
    lineNodes = [tableNode.GetNthNodeReference(_LINES_REFERENCE, n) for n in range(count)]
    tableNode.RemoveNodeReferenceIDs(_LINES_REFERENCE)
    hierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for lineNode in lineNodes:
        if lineNode is not None and lineNode.GetAttribute(DIAMETER_ATTRIBUTE):
            scene.RemoveNode(lineNode)
            # the application has removed the item already; the bare core keeps it
            item = hierarchyNode.GetItemByDataNode(lineNode)
            if item:
                hierarchyNode.RemoveItem(item, False, False)
    items = vtk.vtkIdList()
    hierarchyNode.GetItemChildren(hierarchyNode.GetSceneItemID(), items, True)
    for item in (items.GetId(n) for n in range(items.GetNumberOfIds())):
        isOurs = hierarchyNode.GetItemAttribute(item, _FOLDER_ATTRIBUTE) == tableNode.GetID()
        # keep the folder if the user has put something into it
        if isOurs and not hierarchyNode.GetNumberOfItemChildren(item):
            hierarchyNode.RemoveItem(item)


def _folder(scene: slicer.vtkMRMLScene, tableNode: slicer.vtkMRMLTableNode) -> int:
    hierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    name = _("Diameters of {name}").format(name=tableNode.GetName())
    folder = hierarchyNode.CreateFolderItem(hierarchyNode.GetSceneItemID(), name)
    hierarchyNode.SetItemAttribute(folder, _FOLDER_ATTRIBUTE, tableNode.GetID())
    return folder


def _putInto(scene: slicer.vtkMRMLScene, folder: int, node: slicer.vtkMRMLNode) -> None:
    hierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchyNode.GetItemByDataNode(node)
    # the application has made an item already; the bare core makes none
    if item:
        hierarchyNode.SetItemParent(item, folder)
    else:
        hierarchyNode.CreateItem(folder, node)


@contextmanager
def _placingUnchanged(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Restore the user's active place node afterwards: a new markups node becomes the active one."""
    selectionNode = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    if selectionNode is None:
        yield
        return
    nodeId, className = selectionNode.GetActivePlaceNodeID(), selectionNode.GetActivePlaceNodeClassName()
    try:
        yield
    finally:
        selectionNode.SetReferenceActivePlaceNodeClassName(className)
        selectionNode.SetReferenceActivePlaceNodeID(nodeId)


def _style(displayNode: slicer.vtkMRMLMarkupsDisplayNode, color: tuple[float, float, float]) -> None:
    for setColor in (displayNode.SetSelectedColor, displayNode.SetColor, displayNode.SetActiveColor):
        setColor(color)
    displayNode.SetPointLabelsVisibility(False)
    # name and length, such as "Lesion 1, longest: 44.4mm"
    displayNode.SetPropertiesLabelVisibility(True)
    displayNode.SetUseGlyphScale(True)
    displayNode.SetGlyphScale(1.0)
    displayNode.SetHandlesInteractive(False)
