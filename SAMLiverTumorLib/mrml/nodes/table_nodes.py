"""Figures of lesions as a table node: one column of names, and columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

UNDEFINED = "-"
"""What a table shows for a figure that is not defined, such as the precision of a missed lesion."""


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
    :param columns: title, values and decimals of each; a column with None in it is text, with "-" for None.
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
        # Slicer would show NaN as "nan"
        isText = any(value is None for value in values)
        array = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
        array.SetName(title)
        for value in values:
            figure = None if value is None else round(float(value), decimals)
            array.InsertNextValue(figure if not isText else UNDEFINED if figure is None else f"{figure:.{decimals}f}")
        arrays.append(array)
    wasModified = tableNode.StartModify()
    tableNode.SetName(name)
    tableNode.RemoveAllColumns()
    for array in arrays:
        tableNode.AddColumn(array)
    tableNode.SetUseColumnNameAsColumnHeader(True)
    tableNode.EndModify(wasModified)
    return tableNode
