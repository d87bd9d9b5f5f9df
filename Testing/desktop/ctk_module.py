"""The module `ctk`: the CTK widgets that the panel uses or is likely to use, drawn simply with Qt's own.

A collapsed ctkCollapsibleButton clips its contents instead of hiding them: `widget.visible` inside it stays True.
"""

from PySide6 import QtCore, QtGui, QtWidgets

from . import qt_module as qt
from .ctk_numbers import ctkRangeWidget, ctkSliderWidget, fill
from .dialogs import QMessageBox, ask

__all__ = ["ctkRangeWidget", "ctkSliderWidget"]
_ANY_HEIGHT = 16777215
# Slicer's own parameterNodeWrapper compares with these, without making any.
_NAMED_ONLY = "ctkCheckablePushButton ctkColorPickerButton ctkDirectoryButton ctkDoubleRangeSlider ctkDoubleSlider"


class ctkCheckBox(qt.QCheckBox):
    pass


class ctkComboBox(qt.QComboBox):
    pass


class ctkDoubleSpinBox(qt.QDoubleSpinBox):
    pass


class ctkMessageBox(QMessageBox):
    dontShowAgainSettingsKey = ""


class ctkCollapsibleButton(qt.QAbstractButton):
    """A section with a title bar that opens and closes it."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, text: str | QtWidgets.QWidget = "", parent=None) -> None:
        if not isinstance(text, str):
            text, parent = "", text
        super().__init__(parent)
        self._bar = self.fontMetrics().height() + 8
        self.text = text
        self.checkable = True
        self.checked = True
        self.setContentsMargins(0, self._bar, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.toggled.connect(self._onToggled)

    collapsed = QtCore.Property(
        bool, lambda self: not self.checked, lambda self, collapsed: self.setChecked(not collapsed)
    )
    setCollapsed = collapsed.fset

    def _onToggled(self, isOpen: bool) -> None:
        self.setMaximumHeight(_ANY_HEIGHT if isOpen else self._bar)
        self.contentsCollapsed.emit(not isOpen)

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._bar

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width, self._bar)
        painter.fillRect(bar, self.palette.button().color().darker(106))
        painter.setPen(self.palette.mid().color())
        painter.drawRect(self.rect.adjusted(0, 0, -1, -1))
        painter.drawLine(bar.bottomLeft(), bar.bottomRight())
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, (self._bar - 12) // 2, 12, 12)
        shape = QtWidgets.QStyle.PrimitiveElement
        kind = shape.PE_IndicatorArrowDown if self.checked else shape.PE_IndicatorArrowRight
        self.style().drawPrimitive(kind, arrow, painter, self)
        painter.setPen(self.palette.buttonText().color())
        middle = QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft
        painter.drawText(bar.adjusted(24, 0, 0, 0), middle, self.text)
        painter.end()


class ctkPathLineEdit(qt.QWidget):
    """A path to type, or to choose with a button."""

    Dirs, Files = 1, 2
    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit()
        self._button = QtWidgets.QToolButton()
        self._button.setText("…")
        fill(self, self._edit, self._button)
        self._filters, self._nameFilters, self._settingKey = self.Files, [], ""
        self._edit.textChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    def browse(self) -> None:
        kind = "getExistingDirectory" if self._filters & self.Dirs else "getOpenFileName"
        path = ask(f"ctkPathLineEdit.{kind}", self.objectName, " ".join(self._nameFilters))
        if path:
            self._edit.setText(path)

    currentPath = QtCore.Property(str, lambda self: self._edit.text, lambda self, path: self._edit.setText(path))
    setCurrentPath = currentPath.fset
    filters = QtCore.Property(
        int, lambda self: self._filters, lambda self, flags: setattr(self, "_filters", int(flags))
    )
    nameFilters = QtCore.Property(
        "QStringList", lambda self: self._nameFilters, lambda self, names: setattr(self, "_nameFilters", list(names))
    )
    settingKey = QtCore.Property(
        str, lambda self: self._settingKey, lambda self, key: setattr(self, "_settingKey", key)
    )


def __getattr__(name: str):
    if name in _NAMED_ONLY.split():
        return globals().setdefault(name, type(name, (), {"__init__": _refuse}))
    raise AttributeError(f"Testing/desktop: ctk has no {name}; add it to ctk_module.py if CTK does")


def _refuse(self, *arguments) -> None:
    raise AttributeError(f"Testing/desktop: {type(self).__name__} has no stand-in; write it in ctk_module.py")
