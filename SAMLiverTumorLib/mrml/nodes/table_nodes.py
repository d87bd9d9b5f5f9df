"""Figures of lesions as a table node: one column of names, and columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk


def filledTable(
    scene: slicer.vtkMRMLScene,
    name: str,
    tableNode: slicer.vtkMRMLTableNode | None,
    attribute: str,
    labels: Sequence[str],
    columns: Sequence[tuple[str, Sequence[float | None], int]],
) -> slicer.vtkMRMLTableNode:
    """Replace the contents of a table.

    :param tableNode: None makes one.
    :param attribute: marks the kind of a new one.
    :param labels: of the rows.
    :param columns: title, values and decimals of each; None becomes NaN.
    """
    if tableNode is None:
        tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        tableNode.SetAttribute(attribute, "1")
    names = vtk.vtkStringArray()
    names.SetName("Lesion")
    for label in labels:
        names.InsertNextValue(label)
    arrays = [names]
    for title, values, decimals in columns:
        array = vtk.vtkDoubleArray()
        array.SetName(title)
        for value in values:
            array.InsertNextValue(float("nan") if value is None else round(float(value), decimals))
        arrays.append(array)
    wasModified = tableNode.StartModify()
    tableNode.SetName(name)
    tableNode.RemoveAllColumns()
    for array in arrays:
        tableNode.AddColumn(array)
    tableNode.SetUseColumnNameAsColumnHeader(True)
    tableNode.EndModify(wasModified)
    return tableNode
