"""The table that a series is chosen from, where a folder of DICOM files holds several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from SAMLiverTumorLib.io.dicom.stacks import Stack


def chooseSeries(stacks: Sequence[Stack], title: str, question: str, parent: qt.QWidget | None = None) -> Stack | None:
    """The series that the user chooses; None for Cancel.

    Arrow keys, Return and Escape alone do, as does a double click; the first row is chosen to begin with.

    :param stacks: in the order in which to show them.
    """
    dialog = qt.QDialog(parent)
    dialog.objectName = "seriesDialog"
    dialog.windowTitle = title
    layout = qt.QVBoxLayout(dialog)
    label = qt.QLabel(question)
    label.wordWrap = True
    layout.addWidget(label)
    table = _table(stacks)
    layout.addWidget(table)
    buttons = qt.QDialogButtonBox()
    buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    buttons.button(qt.QDialogButtonBox.Ok).setDefault(True)
    buttons.connect("accepted()", dialog.accept)
    buttons.connect("rejected()", dialog.reject)
    table.connect("cellDoubleClicked(int,int)", lambda row, column: dialog.accept())
    layout.addWidget(buttons)
    dialog.resize(860, 360)
    table.setFocus()
    accepted = dialog.exec_()
    row = table.currentRow()
    dialog.deleteLater()
    return stacks[row] if accepted and 0 <= row < len(stacks) else None


def _table(stacks: Sequence[Stack]) -> qt.QTableWidget:
    heads = {
        _("Series"): lambda stack: stack.number or "-",
        _("Description"): lambda stack: stack.frames[0].description or "-",
        _("Slices"): lambda stack: str(len(stack.frames)),
        _("Spacing (mm)"): lambda stack: _millimeters(stack.step),
        _("Thickness (mm)"): lambda stack: _millimeters(stack.frames[0].thickness),
        _("Size"): lambda stack: f"{stack.frames[0].columns} x {stack.frames[0].rows}",
        _("Direction"): lambda stack: stack.direction or "-",
        _("Told by"): lambda stack: stack.told_by,
    }
    table = qt.QTableWidget(len(stacks), len(heads))
    table.setHorizontalHeaderLabels(list(heads))
    table.verticalHeader().hide()
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    # Tab goes on to the buttons, not from cell to cell
    table.tabKeyNavigation = False
    for row, stack in enumerate(stacks):
        for column, text in enumerate(heads.values()):
            item = qt.QTableWidgetItem(text(stack))
            item.setToolTip(stack.uid)
            table.setItem(row, column, item)
    table.resizeColumnsToContents()
    table.setCurrentCell(0, 0)
    return table


def _millimeters(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
