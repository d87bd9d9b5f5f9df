"""The panel opens on the desktop, over our Python layer and, where SLICER_BASE_PYTHON names it, over Slicer's own."""

import struct

import pytest
from desktop.process import run_on_desktop


@pytest.fixture
def run(tmp_path):
    """Run a program on its own desktop, over our Python layer."""
    return lambda program, **options: run_on_desktop(program, tmp_path, **options)


def test_classes_compare_as_in_slicer(run):
    run(
        """
ui = widget.ui
assert type(ui.segmentButton) == qt.QPushButton and type(ui.planeCombo) == qt.QComboBox
assert type(ui.volumeSelector) == slicer.qMRMLNodeComboBox
assert isinstance(ui.volumeSelector, qt.QWidget) and not isinstance(ui.volumeSelector, qt.QLabel)
assert ui.segmentButton in widget.parent.findChildren(qt.QPushButton)
assert widget.parent.findChildren(qt.QCheckBox) == [
    ui.liveCheckBox, ui.boxThroughCheckBox, ui.editorMaskingCheckBox, ui.editorOverwriteCheckBox,
    ui.lesionDiametersCheckBox, ui.exportAllCheckBox,
]
assert ui.segmentButton.name == ui.segmentButton.objectName == "segmentButton"
assert ui.segmentButton.className() == "QPushButton"
"""
    )


def test_the_panel_opens_reflects_the_scene_and_reloads(run_layers):
    run_layers(
        """
assert slicer.modules.SAMLiverTumorWidget is widget is slicer.util.getModuleWidget("SAMLiverTumor")
assert widget.parent.isEntered and slicer.util.mainWindow() is None
ui = widget.ui
assert not ui.segmentButton.enabled and ui.segmentButton.toolTip
volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
ui.volumeSelector.setCurrentNode(volumeNode)
assert slicer.util.getModuleLogic("SAMLiverTumor").getParameterNode().volume is volumeNode
desktop.leave(widget)
assert not widget.parent.isEntered
desktop.enter(widget)
desktop.closeScene()
assert ui.volumeSelector.currentNode() is None
widget.onReload()
assert slicer.modules.SAMLiverTumorWidget is not widget
assert slicer.util.getModuleWidget("SAMLiverTumor").parent.isEntered
import SampleData
assert SampleData.SampleDataLogic.sources[0]["sampleName"] == "LiverTumorCT"
"""
    )


def test_the_panel_opens_without_any_view(run):
    run("assert slicer.app.layoutManager() is None", options="views=False")


def test_a_screenshot_of_the_panel_has_the_given_width_and_shows_its_parts(run, tmp_path):
    run(
        """
desktop.grab(widget, "open.png", width=420)
image = qt.QImage("open.png")
colors = {image.pixel(x, y) for x in range(0, 420, 3) for y in range(0, image.height(), 3)}
assert len(colors) > 20, "an empty picture has one color"
for button in widget.parent.findChildren(ctk.ctkCollapsibleButton):
    button.collapsed = True
desktop.grab(widget, "closed.png")
"""
    )
    sizes = [struct.unpack(">II", (tmp_path / name).read_bytes()[16:24]) for name in ("open.png", "closed.png")]
    assert sizes[0][0] == sizes[1][0] == 420
    assert sizes[1][1] < 0.7 * sizes[0][1]


def test_quitting_announces_it_while_the_scene_stands_and_then_cleans_up(run):
    out = run(
        """
application.connect("aboutToQuit()", lambda: print("about", slicer.mrmlScene.GetNumberOfNodes() > 0))
widget.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartSaveEvent, print)
cleanup = widget.cleanup
widget.cleanup = lambda: (print("cleanup"), cleanup())
desktop.quit()
assert not widget.Observations
"""
    )
    assert out.split("\n")[:2] == ["about True", "cleanup"]
