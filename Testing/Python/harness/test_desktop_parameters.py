"""Parameters on the desktop, over our parameterNodeWrapper and, where SLICER_BASE_PYTHON names it, Slicer's own."""

import zipfile

PARAMETERS = """
import enum
from typing import Annotated
from slicer.parameterNodeWrapper import (
    Choice, Decimals, Default, FloatRange, RangeBounds, SingleStep, WithinRange, parameterNodeWrapper
)

class Device(enum.Enum):
    AUTO = "auto"
    CPU = "cpu"

@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    name: str = "Liver tumor"
    live: bool = True
    box: bool = False
    level: Annotated[int, WithinRange(1, 9)] = 3
    width: Annotated[float, WithinRange(0, 2000), Decimals(1), SingleStep(0.5)] = 400.0
    device: Device = Device.AUTO
    plane: Annotated[str, Choice(["axial", "coronal"])] = "axial"
    window: Annotated[FloatRange, RangeBounds(-1000, 1000), Default(FloatRange(-160, 240))]

def newNode():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetSingletonTag("Try")
    return node

def ui():
    widgets = dict(volume=slicer.qMRMLNodeComboBox(), name=qt.QLineEdit(), live=qt.QCheckBox(), box=qt.QPushButton(),
                   level=qt.QSpinBox(), width=ctk.ctkSliderWidget(), device=qt.QComboBox(), plane=qt.QComboBox(),
                   window=ctk.ctkRangeWidget())
    widgets["box"].checkable = True
    widgets["volume"].noneEnabled = True
    widgets["volume"].setMRMLScene(slicer.mrmlScene)
    made = type("", (), {})()
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
        setattr(made, name, widget)
    return made
"""


def test_parameters_are_stored_under_slicer_s_names(run_layers):
    run_layers(
        PARAMETERS
        + """
node = newNode()
parameters = Parameters(node)
volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
parameters.volume, parameters.device, parameters.live = volumeNode, Device.CPU, False
stored = {name: node.GetParameter(name) for name in node.GetParameterNames()}
assert stored == {
    "volume": "", "name": "Liver tumor", "live": "False", "box": "False", "level": "3", "width": "400.0",
    "device": "CPU", "plane": "axial", "window._minimum": "-160", "window._maximum": "240",
}, stored
assert node.GetNodeReferenceID("volume") == volumeNode.GetID()
for name, value in (("level", 10), ("plane", "oblique"), ("window", FloatRange(-2000, 0))):
    before = getattr(parameters, name)
    try:
        setattr(parameters, name, value)
    except ValueError:
        assert getattr(parameters, name) == before
        continue
    raise AssertionError(name)
""",
        open_module=False,
    )


def test_parameters_survive_saving_and_loading_the_scene(run_layers, tmp_path):
    run_layers(
        PARAMETERS
        + """
parameters = Parameters(newNode())
parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
parameters.name, parameters.live, parameters.box, parameters.level = "Größe", False, True, 7
parameters.width, parameters.device, parameters.plane = 350.5, Device.CPU, "coronal"
parameters.window = FloatRange(-100, 300)
desktop.saveScene("scene.mrb")
desktop.closeScene()
assert slicer.mrmlScene.GetFirstNodeByName("CT") is None
desktop.loadScene("scene.mrb")
loaded = Parameters(slicer.mrmlScene.GetSingletonNode("Try", "vtkMRMLScriptedModuleNode"))
assert loaded.volume.GetName() == "CT"
assert (loaded.name, loaded.live, loaded.box, loaded.level) == ("Größe", False, True, 7)
assert (loaded.width, loaded.device, loaded.plane) == (350.5, Device.CPU, "coronal")
assert (loaded.window.minimum, loaded.window.maximum) == (-100, 300)
""",
        open_module=False,
    )
    assert zipfile.is_zipfile(tmp_path / "scene.mrb")


def test_widgets_and_parameters_stay_in_sync_until_disconnected(run_layers):
    run_layers(
        PARAMETERS
        + """
parameters, gui = Parameters(newNode()), ui()
tag = parameters.connectGui(gui)
assert (gui.name.text, gui.live.checked, gui.level.value, gui.width.value) == ("Liver tumor", True, 3, 400.0)
assert (gui.plane.currentText, gui.device.currentText) == ("axial", "AUTO")
assert (gui.window.minimumValue, gui.window.maximumValue) == (-160, 240) and gui.volume.currentNode() is None
volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
events = []
parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: events.append(event))
gui.volume.setCurrentNode(volumeNode)
gui.name.text = "B"
gui.live.click()
gui.box.click()
gui.level.value = 5
gui.width.value = 350.5
gui.device.currentIndex = 1
gui.plane.setCurrentText("coronal")
gui.window.setValues(-100, 300)
assert len(events) >= 9
assert (parameters.volume, parameters.name, parameters.live, parameters.box) == (volumeNode, "B", False, True)
assert (parameters.level, parameters.width, parameters.device) == (5, 350.5, Device.CPU)
assert parameters.plane == "coronal" and parameters.window.maximum == 300
parameters.name, parameters.width, parameters.window = "C", 10.0, FloatRange(1, 2)
parameters.volume = None
assert (gui.name.text, gui.width.value, gui.window.minimumValue, gui.volume.currentNode()) == ("C", 10.0, 1, None)
parameters.disconnectGui(tag)
parameters.name = "D"
gui.level.value = 6
assert gui.name.text == "C" and parameters.level == 5
""",
        open_module=False,
    )
