"""The stand-in for the Slicer desktop behaves like PythonQt, and refuses what Slicer would refuse."""

import pytest
from desktop.process import run_on_desktop


@pytest.fixture
def run(tmp_path):
    """Run a program on its own desktop, over our Python layer."""
    return lambda program, **options: run_on_desktop(program, tmp_path, **options)


def test_properties_are_attributes_and_a_misspelled_one_is_refused(run):
    run(
        """
button = qt.QPushButton("Segment")
button.enabled = False
button.toolTip = "Choose a volume."
assert (button.text, button.enabled, button.isEnabled()) == ("Segment", False, False)
assert button.toolTip == "Choose a volume."
box = qt.QComboBox()
box.addItems(["a", "b"])
box.currentIndex = 1
assert (box.currentText, box.count) == ("b", 2)
layout = qt.QVBoxLayout()
layout.spacing = 11
assert layout.spacing == 11 and button.sizeHint.width() > 20
for wrong in ("enabeld", "foo"):
    try:
        setattr(button, wrong, True)
    except AttributeError as error:
        assert "Testing/desktop" in str(error) and wrong in str(error)
    else:
        raise AssertionError(wrong)
for owner in (button, qt, ctk, slicer.app, slicer.modules):
    try:
        owner.noSuchThing
    except AttributeError as error:
        assert "Testing/desktop" in str(error), error
    else:
        raise AssertionError(owner)
button.setProperty("SlicerParameterName", "volume")
assert button.property("SlicerParameterName") == button.SlicerParameterName == "volume"
assert slicer.app.translate("context", "text") == "text"
""",
        open_module=False,
    )


def test_signals_connect_by_their_signature_and_slots_get_what_they_take(run):
    run(
        """
got = []
button = qt.QPushButton()
button.checkable = True
def one(checked): got.append(checked)
def none(): got.append("none")
button.connect("clicked(bool)", one)
button.connect("clicked(bool)", none)
button.connect("clicked()", lambda *arguments: got.append(arguments))
button.click()
assert got == [True, "none", ()], got
assert button.disconnect("clicked(bool)", one) and not button.disconnect("clicked(bool)", one)
button.click()
assert got[3:] == ["none", ()], got
timer = qt.QTimer()
timer.connect("timeout()", none)
timer.singleShot = True
timer.start(0)
qt.QTimer.singleShot(0, lambda: got.append("static"))
desktop.wait(lambda: got[5:] in (["none", "static"], ["static", "none"]))
for wrong in ("clicked(QString)", "pressd()"):
    try:
        button.connect(wrong, none)
    except AttributeError as error:
        assert wrong in str(error)
    else:
        raise AssertionError(wrong)
""",
        open_module=False,
    )


def test_exceptions_in_callbacks_are_kept(run):
    run(
        """
button = qt.QPushButton()
button.connect("clicked()", lambda: 1 / 0)
button.click()
slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, lambda caller, event: 1 / 0)
slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
qt.QTimer.singleShot(0, lambda: 1 / 0)
desktop.wait(lambda: len(desktop.errors) == 3)
assert all("ZeroDivisionError" in error for error in desktop.errors)
desktop.errors.clear()
""",
        open_module=False,
    )


def test_an_exception_in_a_callback_fails_the_run(run):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run("qt.QTimer.singleShot(0, lambda: 1 / 0); desktop.processEvents()", open_module=False)


UI = """<ui version="4.0"><class>A</class><widget class="qMRMLWidget" name="A">
<layout class="QVBoxLayout" name="l"><item><widget class="{cls}" name="b">
<property name="{property}"><bool>true</bool></property></widget></item></layout></widget>
<connections><connection><sender>b</sender><signal>{signal}</signal><receiver>A</receiver><slot>{slot}</slot>
</connection></connections></ui>"""
GOOD = {"cls": "QPushButton", "property": "checkable", "signal": "clicked(bool)", "slot": "setDisabled(bool)"}
WRONG = {"cls": "qMRMLNoWidget", "property": "chekable", "signal": "clickd()", "slot": "setNothing()"}


def test_a_ui_file_with_parts_that_slicer_ignores_is_refused(run, tmp_path):
    (tmp_path / "good.ui").write_text(UI.format(**GOOD), encoding="utf-8")
    for name, value in WRONG.items():
        (tmp_path / f"{name}.ui").write_text(UI.format(**{**GOOD, name: value}), encoding="utf-8")
    run(
        """
good = slicer.util.loadUI("good.ui")
button = slicer.util.childWidgetVariables(good).b
assert button.checkable
button.click()
assert not good.enabled
for name, text in (("cls", "qMRMLNoWidget"), ("property", "chekable"), ("signal", "clickd"), ("slot", "setNothing")):
    try:
        slicer.util.loadUI(f"{name}.ui")
    except AttributeError as error:
        assert "Testing/desktop" in str(error) and text in str(error), error
    else:
        raise AssertionError(name)
""",
        open_module=False,
    )


def test_a_dialog_without_a_waiting_answer_fails_and_with_one_gets_it(run):
    run(
        """
desktop.answer("Yes", "No", "/a/b.pt", "")
ask = slicer.util.confirmYesNoDisplay
assert ask("Download 39 MB?") is True and ask("Again?") is False
assert qt.QFileDialog.getOpenFileName(None, "Model", "", "*.pt") == "/a/b.pt"
assert qt.QInputDialog.getText(None, "Name", "Segment") == ""
assert [shown.text for shown in desktop.shown[:2]] == ["Download 39 MB?", "Again?"]
try:
    ask("Unasked?")
except RuntimeError as error:
    assert "Unasked?" in str(error)
else:
    raise AssertionError
application.setTesting(True)
ask("In testing mode?")
assert len(desktop.shown) == 5, desktop.shown
""",
        open_module=False,
    )


def test_settings_last_for_the_run_only(run):
    run(
        """
qt.QSettings().setValue("SAMLiverTumor/live", True)
qt.QSettings().sync()
assert slicer.util.settingsValue("SAMLiverTumor/live", False, converter=slicer.util.toBool) is True
assert qt.QSettings().fileName().startswith(application.temporaryPath)
""",
        open_module=False,
    )
    run("assert not qt.QSettings().contains('SAMLiverTumor/live')", open_module=False)


def test_a_shortcut_reacts_until_it_is_disabled_or_deleted(run):
    run(
        """
got = []
shortcuts = [qt.QShortcut(widget.parent) for _ in range(2)]
for shortcut, keys in zip(shortcuts, ("Ctrl+1", "Ctrl+2")):
    shortcut.setKey(qt.QKeySequence(keys))
    shortcut.connect("activated()", lambda keys=keys: got.append(keys))
desktop.pressKeys("Ctrl+2")
desktop.pressKeys("Ctrl+1")
assert got == ["Ctrl+2", "Ctrl+1"]
shortcuts[0].enabled = False
shortcuts[1].deleteLater()
desktop.processEvents()
for keys in ("Ctrl+2", "Ctrl+1"):
    try:
        desktop.pressKeys(keys)
    except LookupError:
        continue
    raise AssertionError(keys)
"""
    )
