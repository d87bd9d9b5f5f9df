"""An evaluation as MRML nodes: a table and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

from SAMLiverTumorLib.mrml.application.i18n import tr as _
from SAMLiverTumorLib.mrml.nodes.table_nodes import filledTable

if TYPE_CHECKING:
    from SAMLiverTumorLib.evaluation.metrics.evaluate import Evaluation
    from SAMLiverTumorLib.evaluation.metrics.overlap import Overlap

TABLE_ATTRIBUTE = "SAMLiverTumor.Evaluation"
_COLUMNS = (
    ("Dice", "dice", 4),
    ("IoU", "iou", 4),
    ("Accuracy", "accuracy", 4),
    ("Sensitivity", "sensitivity", 4),
    ("Precision", "precision", 4),
    ("Volume error (ml)", "volume_error_ml", 3),
    ("Volume error (%)", "volume_error_percent", 1),
)
_MISSED_ROWS = 5


def tableFromEvaluation(
    scene: slicer.vtkMRMLScene, evaluation: Evaluation, name: str, tableNode: slicer.vtkMRMLTableNode | None = None
) -> slicer.vtkMRMLTableNode:
    """Overall, means and one row per lesion found, and for the largest of those missed.

    :param tableNode: overwritten; None makes one.
    """
    rows: list[tuple[str, Overlap | dict]] = [(_("overall"), evaluation.overall)]
    if evaluation.lesions:
        found, everything = len(evaluation.found), len(evaluation.lesions)
        if found:
            rows.append((_("mean of {count} found").format(count=found), evaluation.mean_found))
        rows.append((_("mean of all {count}").format(count=everything), evaluation.mean_all))
    missed = evaluation.missed[:_MISSED_ROWS]
    for text, lesions in ((_("lesion {number}"), evaluation.found), (_("missed {number}"), missed)):
        rows += [(text.format(number=lesion.number), lesion.overlap) for lesion in lesions]
    columns = [(title, [_figure(figures, key) for _label, figures in rows], n) for title, key, n in _COLUMNS]
    return filledTable(scene, name, tableNode, TABLE_ATTRIBUTE, [label for label, _figures in rows], columns)


def _figure(figures: Overlap | dict, key: str) -> float | None:
    return figures.get(key) if isinstance(figures, dict) else getattr(figures, key)


def hasPlot(tableNode: slicer.vtkMRMLTableNode, key: str = "Dice") -> bool:
    """Whether a column is defined in all rows, so that it can be plotted."""
    column = tableNode.GetTable().GetColumnByName(key)
    return column is not None and column.IsNumeric() and column.GetNumberOfTuples() > 0


def plotFromTable(
    scene: slicer.vtkMRMLScene, tableNode: slicer.vtkMRMLTableNode, key: str = "Dice"
) -> slicer.vtkMRMLPlotChartNode:
    """A bar chart of one column; the same table reuses its chart."""
    chartNode = tableNode.GetNodeReference("SAMLiverTumor.Plot")
    if chartNode is None:
        seriesNode = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", key)
        seriesNode.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        seriesNode.SetColor(0.0, 0.45, 0.70)
        seriesNode.SetAndObserveTableNodeID(tableNode.GetID())
        seriesNode.SetLabelColumnName("Lesion")
        seriesNode.SetYColumnName(key)
        chartNode = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("{name} plot").format(name=tableNode.GetName()))
        chartNode.AddAndObservePlotSeriesNodeID(seriesNode.GetID())
        chartNode.SetYAxisTitle(key)
        chartNode.SetYAxisRangeAuto(False)
        chartNode.SetYAxisRange(0.0, 1.0)
        chartNode.SetLegendVisibility(False)
        tableNode.SetNodeReferenceID("SAMLiverTumor.Plot", chartNode.GetID())
    chartNode.SetTitle(tableNode.GetName())
    return chartNode
