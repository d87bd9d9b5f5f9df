"""The curves of a training run as MRML nodes: tables of loss and validation Dice, and one plot of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import slicer
import vtk

from SAMLiverTumorLib.mrml.application.i18n import tr as _

if TYPE_CHECKING:
    from SAMLiverTumorLib.training.runs.progress_record import TrainingRecord

TRAINING_ATTRIBUTE = "SAMLiverTumor.Training"
_DICE_REFERENCE, _CHART_REFERENCE = "SAMLiverTumor.TrainingDice", "SAMLiverTumor.TrainingPlot"
_LOSS = "Loss"
# Okabe and Ito's palette, as for segments.
_COLORS = ((0.35, 0.35, 0.35), (0.00, 0.45, 0.70), (0.34, 0.71, 0.91), (0.90, 0.38, 0.00), (0.00, 0.62, 0.45))


def tableFromTraining(
    scene: slicer.vtkMRMLScene, record: TrainingRecord, name: str, tableNode: slicer.vtkMRMLTableNode | None = None
) -> slicer.vtkMRMLTableNode:
    """A table of the loss per step; it references the table of validation Dice.

    :param tableNode: overwritten; None makes one.
    """
    if tableNode is None:
        tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        tableNode.SetAttribute(TRAINING_ATTRIBUTE, "1")
    diceNode = tableNode.GetNodeReference(_DICE_REFERENCE)
    if diceNode is None:
        diceNode = scene.AddNewNodeByClass("vtkMRMLTableNode", _("{name} Dice").format(name=name))
        tableNode.SetNodeReferenceID(_DICE_REFERENCE, diceNode.GetID())
    curve = record.curve()
    _fill(tableNode, {"Step": [step for step, _loss in curve], _LOSS: [loss for _step, loss in curve]})
    steps = sorted(record.dices)
    kinds = dict.fromkeys(kind for step in steps for kind in record.dices[step])
    columns = {"Step": steps, **{kind: [record.dices[step].get(kind) for step in steps] for kind in kinds}}
    _fill(diceNode, columns)
    return tableNode


def plotFromTraining(scene: slicer.vtkMRMLScene, tableNode: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLPlotChartNode:
    """A chart of loss and validation Dice over the steps; the same table reuses its chart."""
    chartNode = tableNode.GetNodeReference(_CHART_REFERENCE)
    if chartNode is None:
        chartNode = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("{name} plot").format(name=tableNode.GetName()))
        chartNode.SetTitle(tableNode.GetName())
        chartNode.SetXAxisTitle("Step")
        chartNode.SetYAxisTitle(_("Loss, and Dice of validation"))
        tableNode.SetNodeReferenceID(_CHART_REFERENCE, chartNode.GetID())
    shown = [chartNode.GetNthPlotSeriesNode(n) for n in range(chartNode.GetNumberOfPlotSeriesNodes())]
    names = {seriesNode.GetYColumnName() for seriesNode in shown if seriesNode is not None}
    for node in (tableNode, tableNode.GetNodeReference(_DICE_REFERENCE)):
        for n in range(1, node.GetNumberOfColumns() if node is not None else 0):
            column = node.GetTable().GetColumnName(n)
            if column not in names:
                chartNode.AddAndObservePlotSeriesNodeID(_series(scene, node, column, len(names)).GetID())
                names.add(column)
    return chartNode


def _series(
    scene: slicer.vtkMRMLScene, tableNode: slicer.vtkMRMLTableNode, column: str, number: int
) -> slicer.vtkMRMLPlotSeriesNode:
    name = column if column == _LOSS else _("Dice, {kind}").format(kind=column)
    seriesNode = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    seriesNode.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    seriesNode.SetAndObserveTableNodeID(tableNode.GetID())
    seriesNode.SetXColumnName("Step")
    seriesNode.SetYColumnName(column)
    seriesNode.SetColor(*_COLORS[number % len(_COLORS)])
    # only lines for hundreds of losses, and markers for validations
    isLoss = column == _LOSS
    seriesNode.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone if isLoss else 4)
    return seriesNode


def _fill(tableNode: slicer.vtkMRMLTableNode, columns: Mapping[str, Sequence[float | None]]) -> None:
    wasModified = tableNode.StartModify()
    tableNode.RemoveAllColumns()
    for name, values in columns.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(float("nan") if value is None else float(value))
        tableNode.AddColumn(column)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.EndModify(wasModified)
