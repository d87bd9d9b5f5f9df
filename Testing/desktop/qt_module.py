"""The module `qt`: the Qt classes that the panel uses or is likely to use."""

import weakref
from typing import ClassVar

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import pythonQtClass

_OBJECTS = {
    QtCore: "QBuffer QFile QItemSelectionModel QObject QSettings QTimer",
    QtGui: "QAction QActionGroup QDoubleValidator QIntValidator QStandardItemModel",
    QtWidgets: (
        "QAbstractButton QAbstractItemView QAbstractSlider QApplication QButtonGroup QCheckBox QComboBox "
        "QCompleter QDialogButtonBox QDoubleSpinBox QFormLayout QFrame QGridLayout QGroupBox QHBoxLayout "
        "QHeaderView QLabel QLayout QLineEdit QListWidget QMenu QPlainTextEdit QProgressBar QProgressDialog "
        "QPushButton QRadioButton QScrollArea QSlider QSpinBox QSplitter QStackedWidget QTabWidget QTableView "
        "QTableWidget QTextBrowser QTextEdit QToolButton QTreeWidget QVBoxLayout QWidget"
    ),
}
_VALUES = {
    QtCore: (
        "QByteArray QDateTime QDir QEvent QEventLoop QFileInfo QIODevice QItemSelection QLocale QModelIndex QPoint "
        "QPointF QRect QSignalBlocker QSize QUrl Qt"
    ),
    QtGui: (
        "QBrush QColor QCursor QDesktopServices QFont QFontDatabase QFontMetrics QIcon QImage QKeyEvent QKeySequence "
        "QMouseEvent QPainter QPalette QPen QPixmap QStandardItem"
    ),
    QtWidgets: "QListWidgetItem QSizePolicy QSpacerItem QStyle QTableWidgetItem QTreeWidgetItem",
}
for _module, _names in _OBJECTS.items():
    for _name in _names.split():
        globals()[_name] = pythonQtClass(getattr(_module, _name))
for _module, _names in _VALUES.items():
    for _name in _names.split():
        globals()[_name] = getattr(_module, _name)


_NativeShortcut = pythonQtClass(QtGui.QShortcut)


class QShortcut(_NativeShortcut):
    """A keyboard shortcut that tests can find, as there is no keyboard focus off-screen."""

    __module__ = "qt"
    made: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        QShortcut.made.add(self)

    @classmethod
    def alive(cls) -> list:
        """The shortcuts that would react to their keys now."""
        return [shortcut for shortcut in cls.made if shiboken6.isValid(shortcut) and shortcut.isEnabled()]


def __getattr__(name: str):
    raise AttributeError(f"Testing/desktop: qt has no {name}; add it to qt_module.py if Qt does")
