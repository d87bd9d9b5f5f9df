"""CTK's widgets for one number and for a range of numbers."""

from PySide6 import QtCore, QtGui, QtWidgets

from . import qt_module as qt


def fill(widget: QtWidgets.QWidget, *parts: QtWidgets.QWidget) -> None:
    """Lay parts out side by side without margins; sliders, bars and text fields take the room that is left."""
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part, 1 if isinstance(part, QtWidgets.QSlider | QtWidgets.QLineEdit | _RangeBar) else 0)


def _ofBox(kind: type, name: str) -> QtCore.Property:
    def write(self, value) -> None:
        getattr(self._box, f"set{name[0].upper()}{name[1:]}")(value)
        self._onBounds()

    return QtCore.Property(kind, lambda self: getattr(self._box, name), write)


class _Bounded(qt.QWidget):
    """What ctkSliderWidget and ctkRangeWidget share: bounds, step and decimals, kept by a spin box."""

    minimum = _ofBox(float, "minimum")
    maximum = _ofBox(float, "maximum")
    singleStep = _ofBox(float, "singleStep")
    decimals = _ofBox(int, "decimals")
    suffix = _ofBox(str, "suffix")
    setMinimum, setMaximum = minimum.fset, maximum.fset
    setSingleStep, setDecimals, setSuffix = singleStep.fset, decimals.fset, suffix.fset

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox()
        self._box.setKeyboardTracking(False)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._box.setRange(minimum, maximum)
        self._onBounds()


class ctkSliderWidget(_Bounded):
    """A slider and a spin box for one number."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        fill(self, self._slider, self._box)
        self._slider.valueChanged.connect(self._onSlider)
        self._box.valueChanged.connect(self._onBox)
        self._onBounds()

    def _onSlider(self, steps: int) -> None:
        self._box.setValue(self._box.minimum + steps * self._box.singleStep)

    def _onBox(self, value: float) -> None:
        self._follow()
        self.valueChanged.emit(value)

    def _onBounds(self) -> None:
        extent = (self._box.maximum - self._box.minimum) / (self._box.singleStep or 1)
        self._slider.blockSignals(True)
        self._slider.setRange(0, min(round(extent), 10**6))
        self._slider.blockSignals(False)
        self._follow()

    def _follow(self) -> None:
        self._slider.blockSignals(True)
        self._slider.setValue(round((self._box.value - self._box.minimum) / (self._box.singleStep or 1)))
        self._slider.blockSignals(False)

    value = QtCore.Property(float, lambda self: self._box.value, lambda self, value: self._box.setValue(value))
    setValue = value.fset


class ctkRangeWidget(_Bounded):
    """Two spin boxes around a bar for a lower and an upper number."""

    valuesChanged = QtCore.Signal(float, float)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._upper = QtWidgets.QDoubleSpinBox()
        self._upper.setKeyboardTracking(False)
        self._bar = _RangeBar(self)
        fill(self, self._box, self._bar, self._upper)
        self._upper.setValue(self._upper.maximum)
        self._quiet = False
        self._box.valueChanged.connect(lambda value: self._onMoved(self._box, self._upper, value > self._upper.value))
        self._upper.valueChanged.connect(lambda value: self._onMoved(self._upper, self._box, value < self._box.value))

    def _onMoved(self, moved: QtWidgets.QDoubleSpinBox, other: QtWidgets.QDoubleSpinBox, crossed: bool) -> None:
        if self._quiet:
            return
        if crossed:
            # The end that is moved pushes the other one along.
            self._silently(other.setValue, moved.value)
        self._bar.update()
        self.valuesChanged.emit(self._box.value, self._upper.value)

    def _onBounds(self) -> None:
        before = (self._box.value, self._upper.value)
        self._silently(self._upper.setRange, self._box.minimum, self._box.maximum)
        self._silently(self._upper.setDecimals, self._box.decimals)
        self._upper.setSingleStep(self._box.singleStep)
        self._upper.setSuffix(self._box.suffix)
        self._emitIfChanged(before)

    def setValues(self, lower: float, upper: float) -> None:
        before = (self._box.value, self._upper.value)
        self._silently(self._box.setValue, min(lower, upper))
        self._silently(self._upper.setValue, max(lower, upper))
        self._emitIfChanged(before)

    def _silently(self, change, *values) -> None:
        self._quiet = True
        change(*values)
        self._quiet = False

    def _emitIfChanged(self, before: tuple[float, float]) -> None:
        self._bar.update()
        if (self._box.value, self._upper.value) != before:
            self.valuesChanged.emit(self._box.value, self._upper.value)

    minimumValue = QtCore.Property(
        float, lambda self: self._box.value, lambda self, value: self.setValues(value, max(value, self._upper.value))
    )
    maximumValue = QtCore.Property(
        float, lambda self: self._upper.value, lambda self, value: self.setValues(min(value, self._box.value), value)
    )
    setMinimumValue, setMaximumValue = minimumValue.fset, maximumValue.fset


class _RangeBar(QtWidgets.QWidget):
    """The bar between the boxes of a range; it only shows."""

    def __init__(self, owner: ctkRangeWidget) -> None:
        super().__init__()
        self._owner = owner
        self.setMinimumSize(40, 12)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Preferred)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        box, upper = self._owner._box, self._owner._upper
        scale = (self.width - 7) / ((box.maximum - box.minimum) or 1)
        middle = self.height // 2
        start, end = ((value - box.minimum) * scale for value in (box.value, upper.value))
        painter.fillRect(0, middle - 2, self.width, 4, self.palette.mid())
        painter.fillRect(QtCore.QRectF(start, middle - 2, end - start, 4), self.palette.highlight())
        for position in (start, end):
            painter.fillRect(QtCore.QRectF(position, middle - 7, 7, 14), self.palette.dark())
        painter.end()
