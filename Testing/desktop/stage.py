"""Starts the desktop in this process, and stands for the user at it."""

import importlib.util
import os
import sys
import time
import traceback
import types
from pathlib import Path

from .process import ROOT

errors: list[str] = []
_application = None


def start(testing: bool = False, views: bool = True):
    """Make qt, ctk, slicer.app and the rest importable, over a new empty scene; the application.

    :param testing: as if Slicer had been started with --testing: questions are not asked but answered with yes.
    :param views: False: there is no layout manager, as in `Slicer --no-main-window`.
    """
    global _application
    if _application is not None:
        raise RuntimeError("one process holds one desktop: use run_on_desktop")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    _keepNoneAlive()
    # Exceptions in slots and observers go to the hook, not to the caller.
    sys.excepthook = lambda *error: (
        errors.append("".join(traceback.format_exception(*error))),
        sys.__excepthook__(*error),
    )
    import slicer

    from . import ctk_module, dialogs, modules, qt_module, segment_editor, slicer_widgets, ui_loader
    from .application import Application

    for name in ("QColorDialog", "QDialog", "QFileDialog", "QInputDialog", "QMessageBox"):
        setattr(qt_module, name, getattr(dialogs, name))
    qt_module.QUiLoader = ui_loader.QUiLoader
    sys.modules.update(qt=qt_module, ctk=ctk_module, **segment_editor.modules())
    _bootstrap().createScene()
    slicer.modules = modules.Modules(vars(slicer.modules))
    slicer.modules.segmenteditor = segment_editor.SegmentEditorModule()
    for name in slicer_widgets.__all__:
        setattr(slicer, name, getattr(slicer_widgets, name))
    slicer.qSlicerSegmentEditorEffectFactory = segment_editor.qSlicerSegmentEditorEffectFactory
    for name in slicer_widgets.NAMED_ONLY:
        setattr(slicer, name, type(name, (), {}))
    for cls in (modules.qSlicerScriptedLoadableModule, modules.qSlicerScriptedLoadableModuleWidget):
        setattr(slicer, cls.__name__, cls)
    _application = slicer.app = Application(testing, views)
    _putPythonLayer(slicer)
    return _application


def _keepNoneAlive() -> None:
    """Before Python 3.12 None is counted like any object, and PySide or VTK return it once too often.

    Seen with PySide6 6.12 and Python 3.11 after half a minute of events: "none_dealloc: deallocating None".
    """
    if sys.version_info < (3, 12) and sys.implementation.name == "cpython":
        import ctypes

        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def _bootstrap() -> types.ModuleType:
    """The library's own scene, without importing the library: the module has to find that by itself."""
    path = ROOT / "SAMLiverTumorLib" / "mrml" / "application" / "headless_scene.py"
    spec = importlib.util.spec_from_file_location("desktop.bootstrap", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _putPythonLayer(slicer: types.ModuleType) -> None:
    from . import packaging, sample_data

    _put("slicer.packaging", packaging)
    _put("SampleData", sample_data)
    slicersOwn = os.environ.get("SLICER_BASE_PYTHON")
    if slicersOwn:
        slicer.__path__.append(str(Path(slicersOwn) / "slicer"))
        return
    from . import i18n, parameters, scripted_module

    _put("slicer.i18n", i18n)
    _put("slicer.parameterNodeWrapper", parameters)
    _put("slicer.ScriptedLoadableModule", scripted_module)


def _put(name: str, module: types.ModuleType) -> None:
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def openModule(path: Path | str, width: int = 420):
    """Load a module file and those beside it, finish the start-up, open the panel as the user does; the widget."""
    from .modules import loadModule

    module = loadModule(Path(path))
    # Slicer takes every Python file directly in the folder for a module
    for companion in sorted(Path(path).parent.glob("*.py")):
        if companion.name != Path(path).name:
            loadModule(companion)
    _application.startupCompleted.emit()
    representation = module.widgetRepresentation()
    representation.resize(width, 800)
    representation.show()
    representation.enter()
    processEvents()
    return representation.self()


def openSegmentEditor():
    """Open the module Segment Editor; the widget object with its `editor`."""
    from .segment_editor import openSegmentEditor

    opened = openSegmentEditor()
    processEvents()
    return opened


def enter(widget) -> None:
    """Open the panel again after `leave`."""
    widget.parent.enter()
    processEvents()


def leave(widget) -> None:
    """Go to another module."""
    widget.parent.exit()
    processEvents()


def grab(widget, path: Path | str, width: int = 420) -> tuple[int, int]:
    """Write an image of a panel or a Qt widget, as high as its contents need at `width` pixels; its size."""
    shown = getattr(widget, "parent", widget)
    shown = widget if callable(shown) else shown
    shown.resize(width, 10)
    # Collapsing and word wrap change heights, which layouts pass up one event at a time.
    for _ in range(3):
        processEvents()
        layout = shown.layout()
        needed = layout.totalHeightForWidth(width) if layout and layout.hasHeightForWidth() else -1
        shown.resize(width, max(needed, shown.minimumSizeHint.height()))
    processEvents()
    picture = shown.grab()
    if not picture.save(str(path)):
        raise OSError(f"cannot write {path}")
    return picture.width(), picture.height()


def processEvents() -> None:
    """Let the event loop catch up, deletions included."""
    from PySide6 import QtCore

    _application.processEvents()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)


def wait(condition, seconds: float = 30, what: str = "") -> None:
    """Run the event loop until a condition holds.

    :raises TimeoutError: if it does not within `seconds`; the limit is for a hang, not a measure of speed.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what or 'the condition'} did not come true within {seconds} s")
        processEvents()
        time.sleep(0.002)


def pressKeys(keys: str) -> None:
    """Press a shortcut such as "Ctrl+Z".

    :raises LookupError: unless exactly one shortcut would react.
    """
    from . import qt_module

    wanted = qt_module.QKeySequence(keys)
    found = [shortcut for shortcut in qt_module.QShortcut.alive() if wanted == shortcut.key]
    if len(found) != 1:
        raise LookupError(f"{len(found)} shortcuts react to {keys}")
    found[0].activated.emit()
    processEvents()


def saveScene(path: Path | str) -> None:
    """Save the scene as an MRB file."""
    assert _application.coreIOManager().saveScene(str(path)), path


def loadScene(path: Path | str) -> None:
    """Close the scene and load an MRB file."""
    assert _application.coreIOManager().loadScene(str(path)), path
    processEvents()


def closeScene() -> None:
    """What File > Close scene does."""
    import slicer

    slicer.mrmlScene.Clear(False)
    processEvents()


def quit() -> None:
    """Quit as Slicer does: aboutToQuit while everything stands, then the panels are cleaned up."""
    import slicer
    from PySide6 import QtCore

    QtCore.QTimer.singleShot(0, _application.quit)
    _application.exec()
    for name in [name[: -len("Widget")] for name in vars(slicer.modules) if name.endswith("Widget")]:
        _application.moduleManager().moduleAboutToBeUnloaded.emit(name)


def check() -> None:
    """
    :raises AssertionError: if an exception got lost in a slot, an observer or a timer, or an answer was not asked for.
    """
    from .dialogs import answers

    assert not errors, "\n".join(errors)
    assert not answers, f"these answers were never asked for: {list(answers)}"


def __getattr__(name: str):
    if name in ("answer", "answers", "shown"):
        from . import dialogs

        return getattr(dialogs, name)
    raise AttributeError(f"Testing/desktop has no {name}")
