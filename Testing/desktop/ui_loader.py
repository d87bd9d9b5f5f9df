"""The real .ui file, with the classes of this stand-in; whatever of it Slicer would ignore raises here."""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools

from . import ctk_module, qt_module, slicer_widgets
from .pythonqt import childNames, connect


class QUiLoader(QtUiTools.QUiLoader):
    """Loads a .ui file whose connections may carry MRML pointers."""

    def load(self, file: QtCore.QFile, parent=None):
        """The root widget.

        :raises AttributeError: for a class, property, signal or slot that is not there.
        """
        root = ElementTree.fromstring(bytes(file.readAll().data()))
        connections = root.find("connections")
        links = [] if connections is None else list(connections)
        if connections is not None:
            root.remove(connections)
        for element in root.iter("widget"):
            _check(element)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        # Python's side of the made objects lives as long as the root.
        self._made = []
        childNames.update(element.get("name", "") for element in root.iter())
        widget = super().load(buffer, parent)
        childNames.clear()
        widget._made = self._made
        named = {made.objectName: made for made in [widget, *self._made]}
        for link in links:
            text = {part.tag: part.text for part in link}
            slot = getattr(named[text["receiver"]], text["slot"].partition("(")[0])
            connect(named[text["sender"]], text["signal"], slot)
        return widget

    def createWidget(self, className: str, parent=None, name: str = ""):
        """Called by Qt for each widget."""
        return self._make(widgetClass(className), parent, name)

    def createLayout(self, className: str, parent=None, name: str = ""):
        """Called by Qt for each layout."""
        # A layout inside a layout comes with that layout's widget as parent, whose layout it must not become.
        owner = parent if isinstance(parent, QtCore.QObject) and parent.isWidgetType() and not parent.layout() else None
        return self._make(getattr(qt_module, className), owner, name)

    def createAction(self, parent=None, name: str = ""):
        """Called by Qt for each action."""
        return self._make(qt_module.QAction, parent, name)

    def _make(self, cls: type, parent, name: str):
        made = cls(parent) if parent is not None else cls()
        made.objectName = name
        self._made.append(made)
        return made


def widgetClass(name: str) -> type:
    """The class that stands for a class named in a .ui file.

    :raises AttributeError: if there is none.
    """
    home = ctk_module if name.startswith("ctk") else slicer_widgets if name.startswith("q") else qt_module
    # Designer's horizontal and vertical lines.
    return getattr(home, "QFrame" if name == "Line" else name)


def _check(element: ElementTree.Element) -> None:
    cls = widgetClass(element.get("class"))
    for entry in element.findall("property"):
        isDynamic = entry.get("stdset") == "0"
        if not isDynamic and cls.staticMetaObject.indexOfProperty(entry.get("name")) < 0:
            raise AttributeError(
                f"Testing/desktop: {cls.__name__} has no property {entry.get('name')}, in the .ui file"
            )
