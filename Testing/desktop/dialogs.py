"""Questions to the user: answered by the test beforehand, and refused when no answer is waiting, as nobody is there."""

from collections import deque
from dataclasses import dataclass

from PySide6 import QtCore, QtWidgets

from .pythonqt import pythonQtClass


@dataclass(frozen=True)
class Shown:
    """A dialog that the module opened: its kind (the class), title and text."""

    kind: str
    title: str
    text: str


answers: deque = deque()
shown: list[Shown] = []


def answer(*values) -> None:
    """What the user will reply to the next dialogs: a button's name ("Yes"), a path, a text, a qt.QColor."""
    answers.extend(values)


def ask(kind: str, title: str, text: str):
    """The waiting answer to a dialog.

    :raises RuntimeError: if none is waiting: in Slicer the dialog would have held the panel.
    """
    shown.append(Shown(kind, title, text))
    if not answers:
        raise RuntimeError(f"Testing/desktop: unexpected dialog {shown[-1]}; give its answer by desktop.answer first")
    return answers.popleft()


_NativeDialog = pythonQtClass(QtWidgets.QDialog)
_NativeMessageBox = pythonQtClass(QtWidgets.QMessageBox)


class QDialog(_NativeDialog):
    """A dialog of the module's own; the answer is what its exec_ returns, 1 for accepted.

    An answer that is a function gets the dialog, shown, and does what the user does; what that leads to is returned.
    """

    def exec(self):
        return self.exec_()

    def exec_(self):
        given = ask("QDialog", self.windowTitle, self.objectName)
        if not callable(given):
            return given
        # as exec does, so that the panel's shortcuts do not take the keys
        self.setModal(True)
        self.show()
        given(self)
        if self.isVisible():
            raise RuntimeError(f"Testing/desktop: the dialog {self.windowTitle!r} is still open")
        return self.result()


class QMessageBox(_NativeMessageBox):
    """A message box that takes the waiting answer: the name of one of its standard buttons."""

    def exec(self):
        return self.exec_()

    def exec_(self):
        button = getattr(QtWidgets.QMessageBox.StandardButton, ask("QMessageBox", self.windowTitle, self.text))
        if not self.standardButtons & button:
            raise RuntimeError(f"Testing/desktop: the message box {self.text!r} has no button {button.name}")
        return button


class QFileDialog:
    """The static functions, which return a path alone as in PythonQt; "" stands for Cancel."""

    @staticmethod
    def getOpenFileName(parent=None, caption: str = "", folder: str = "", filter: str = "", *others) -> str:
        return ask("QFileDialog.getOpenFileName", caption, filter)

    @staticmethod
    def getSaveFileName(parent=None, caption: str = "", folder: str = "", filter: str = "", *others) -> str:
        return ask("QFileDialog.getSaveFileName", caption, filter)

    @staticmethod
    def getExistingDirectory(parent=None, caption: str = "", folder: str = "", *others) -> str:
        return ask("QFileDialog.getExistingDirectory", caption, folder)


class QInputDialog:
    """The static functions, which return the text alone as in PythonQt.

    "" stands for Cancel of getText; getItem returns the first item then, as Qt does.
    """

    @staticmethod
    def getText(parent, title: str, label: str, *others) -> str:
        return ask("QInputDialog.getText", title, label)

    @staticmethod
    def getItem(parent, title: str, label: str, items: list, current: int = 0, editable: bool = True, *others) -> str:
        return ask("QInputDialog.getItem", title, label) or items[current]


class QColorDialog:
    """The static function; an invalid qt.QColor stands for Cancel."""

    @staticmethod
    def getColor(initial=QtCore.Qt.GlobalColor.white, parent=None, title: str = "", *options):
        return ask("QColorDialog.getColor", title, "")
