"""Binds widgets to parameters, for the pairs of classes that Slicer 5.12 binds."""

import enum
from pathlib import PurePath

import slicer

from . import ctk_module as ctk
from . import qt_module as qt
from . import slicer_widgets
from .parameter_types import Choice, Decimals, FloatRange, RangeBounds, SingleStep, WithinRange


def parameterNameOf(widget) -> str:
    """The dynamic property SlicerParameterName of a widget, or ""."""
    return widget.property("SlicerParameterName") or ""


class Connector:
    """A widget's signal, and how to read and write its value."""

    def __init__(self, signal, read, write) -> None:
        self.signal, self.read, self.write = signal, read, write
        self._slot = None

    def connect(self, changed) -> None:
        if self.signal is not None:
            self._slot = lambda *arguments: changed()
            self.signal.connect(self._slot)

    def disconnect(self) -> None:
        if self._slot is not None:
            self.signal.disconnect(self._slot)
            self._slot = None


def createGuiConnector(widget, parameter) -> Connector:
    """
    :raises RuntimeError: for a pair that Slicer does not bind either, or a missing annotation.
    """
    kind, cls = parameter.kind, type(widget)
    for kinds, classes, make in _MAKERS:
        # Slicer compares classes exactly: a subclass of QComboBox is not bound.
        if issubclass(kind, kinds) and cls in classes and not (kind is bool and bool not in kinds):
            return make(widget, parameter)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{cls}'.")


def _checkBox(widget, parameter) -> Connector:
    return Connector(widget.stateChanged, lambda: widget.checked, widget.setChecked)


def _pushButton(widget, parameter) -> Connector:
    widget.checkable = True
    return Connector(widget.toggled, lambda: widget.checked, widget.setChecked)


def _number(widget, parameter) -> Connector:
    isInteger = parameter.kind is int
    isSpinBoxOfInt = type(widget) in (qt.QSlider, qt.QSpinBox)
    if not isSpinBoxOfInt:
        decimals = parameter.annotation(Decimals)
        if isInteger or decimals:
            widget.decimals = 0 if isInteger else decimals.value
    step = parameter.annotation(SingleStep)
    if step:
        widget.singleStep = step.value
    bounds = [found for found in parameter.annotations if isinstance(found, WithinRange)]
    lower = max((found.minimum for found in bounds), default=float("-inf"))
    upper = min((found.maximum for found in bounds), default=float("inf"))
    if type(widget) in (qt.QSlider, ctk.ctkSliderWidget) and float("inf") in (-lower, upper):
        raise RuntimeError(f"Cannot connect parameter {parameter.name} to a slider where the type is unbounded.")
    if isSpinBoxOfInt:
        lower, upper = int(max(lower, -(2**31))), int(min(upper, 2**31 - 1))
    widget.setRange(lower, upper)
    return Connector(widget.valueChanged, lambda: parameter.kind(widget.value), widget.setValue)


def _comboBox(widget, parameter) -> Connector:
    if issubclass(parameter.kind, enum.Enum):
        values = list(parameter.kind)
        label = getattr(parameter.kind, "label", lambda member: member.name)
        labels = [label(member) for member in values]
    else:
        choice = parameter.annotation(Choice)
        if choice is None:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        values = list(choice.choices)
        labels = [str(value) for value in values]
    widget.clear()
    widget.addItems(labels)
    write = lambda value: widget.setCurrentIndex(values.index(value))  # noqa: E731
    return Connector(widget.currentIndexChanged, lambda: values[widget.currentIndex], write)


def _text(widget, parameter) -> Connector:
    def write(value: str) -> None:
        # Writing moves the cursor to the end, which would jump while the user types in the middle.
        if value != widget.text:
            widget.text = value

    return Connector(getattr(widget, "textChanged", None), lambda: widget.text, write)


def _plainText(widget, parameter) -> Connector:
    return Connector(widget.textChanged, widget.toPlainText, widget.setPlainText)


def _range(widget, parameter) -> Connector:
    bounds = parameter.annotation(RangeBounds)
    if bounds is None:
        raise RuntimeError("Cannot have a connection to a range widget where the float is unbounded. Add RangeBounds.")
    decimals, step = parameter.annotation(Decimals), parameter.annotation(SingleStep)
    if decimals:
        widget.decimals = decimals.value
    if step:
        widget.singleStep = step.value
    widget.setRange(bounds.minimum, bounds.maximum)
    read = lambda: FloatRange(widget.minimumValue, widget.maximumValue)  # noqa: E731
    return Connector(widget.valuesChanged, read, lambda value: widget.setValues(value.minimum, value.maximum))


def _path(widget, parameter) -> Connector:
    write = lambda value: widget.setCurrentPath(str(value))  # noqa: E731
    return Connector(widget.currentPathChanged, lambda: parameter.kind(widget.currentPath), write)


def _node(widget, parameter) -> Connector:
    widget.nodeTypes = [parameter.kind.__name__]
    return Connector(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)


_COMBO_BOXES = (qt.QComboBox, ctk.ctkComboBox)
_MAKERS = (
    ((slicer.vtkMRMLNode,), (slicer_widgets.qMRMLNodeComboBox,), _node),
    ((bool,), (qt.QCheckBox, ctk.ctkCheckBox), _checkBox),
    ((bool,), (qt.QPushButton,), _pushButton),
    ((int,), (qt.QSlider, qt.QSpinBox), _number),
    ((int, float), (qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox), _number),
    ((enum.Enum, int, float, str, bool), _COMBO_BOXES, _comboBox),
    ((str,), (qt.QLineEdit, qt.QLabel), _text),
    ((str,), (qt.QTextEdit, qt.QPlainTextEdit), _plainText),
    ((FloatRange,), (ctk.ctkRangeWidget,), _range),
    ((PurePath,), (ctk.ctkPathLineEdit,), _path),
)
