"""The real SAMLiverTumor.py over the real MRML, with stand-ins for Qt and the application."""

import os
import re
import subprocess
import sys

import pytest

PREAMBLE = """
import sys
from types import SimpleNamespace
import slicer_stand_in as stand_in
module = stand_in.load()
import slicer

def opened():
    widget = module.SAMLiverTumorWidget()
    widget.setup()
    return widget

def add(name):
    return slicer.mrmlScene.AddNode(getattr(slicer, name)())
"""
CLICK = """
calls = []
def segmentNodes(volumeNode, **options):
    calls.append(options)
    if fail:
        from SAMLiverTumorLib.errors import PromptError
        raise PromptError("The box lies outside the volume.")
    enabled.append(widget.ui.segmentButton.enabled)
    options["progress"](3, 7)
    texts.append(widget.ui.statusLabel.text)
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    segmentationNode = add("vtkMRMLSegmentationNode")
    segmentId = segmentationNode.GetSegmentation().AddEmptySegment("id", "Lesion 1")
    return SimpleNamespace(segmentationNode=segmentationNode, segmentId=segmentId)
enabled, texts, fail = [], [], False
stand_in.put("SAMLiverTumorLib.mrml.packages", ensurePackages=lambda path: None)
volumeNode = add("vtkMRMLScalarVolumeNode")
widget = opened()
widget._parameterNode.roi = add("vtkMRMLMarkupsROINode")
stand_in.put("SAMLiverTumorLib.mrml.api", segmentNodes=segmentNodes)
"""


@pytest.fixture
def run(root, tmp_path):
    """Run a program after loading the module in a fresh process, away from the checkout; its standard output."""

    def run(program: str, **variables: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "SAM_LIVER_TUMOR_SLICER_PYTHON"}
        environment.update(PYTHONPATH=str(root / "Testing" / "Python"), **variables)
        command = [sys.executable, "-c", PREAMBLE + program]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def source(root) -> str:
    """The text of SAMLiverTumor.py."""
    return (root / "SAMLiverTumor" / "SAMLiverTumor.py").read_text(encoding="utf-8")


def test_loading_imports_nothing_heavy_and_makes_no_node(run):
    run("""
heavy = {"torch", "torchvision", "segment_anything", "SimpleITK", "scipy", "monai", "onnxruntime", "pydicom"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert slicer.mrmlScene.GetNumberOfNodes() == 0
""")


def test_in_a_checkout_the_module_finds_the_library_beside_its_folder(run, root):
    out = run("""
import SAMLiverTumorLib
print(SAMLiverTumorLib.__file__)
""")
    assert out.strip() == str(root / "SAMLiverTumorLib" / "__init__.py")


def test_a_library_that_is_importable_already_is_not_shadowed(root, tmp_path, run):
    # Installed, the module file and the library lie in one folder, which Slicer has put on the path.
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "SAMLiverTumorLib").symlink_to(root / "SAMLiverTumorLib", target_is_directory=True)
    program = f"assert {str(root)!r} not in sys.path"
    path = os.pathsep.join([str(root / "Testing" / "Python"), str(installed)])
    command = [sys.executable, "-c", PREAMBLE + program]
    done = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_module_tells_slicer_its_title_place_and_dependencies(run):
    run("""
parent = SimpleNamespace(path=module.__file__)
module.SAMLiverTumor(parent)
assert parent.title == "SAM Liver Tumor"
assert parent.categories == ["Segmentation"]
assert parent.dependencies == ["Markups", "Segmentations", "SegmentEditor", "Volumes"]
assert parent.contributors and "not a medical device" in parent.helpText and "LiTS" in parent.acknowledgementText
assert slicer.app.connected == [("startupCompleted()", module.registerSampleData)]
""")


def test_the_registered_sample_case_exists_and_has_the_stated_checksums(run):
    run("""
import hashlib, os, urllib.request
registered = []
class SampleDataLogic:
    registerCustomSampleDataCategory = staticmethod(lambda category, title: registered.append(category))
    registerCustomSampleDataSource = staticmethod(lambda **options: registered.append(options))
sys.modules["SampleData"] = SimpleNamespace(SampleDataLogic=SampleDataLogic)
module.registerSampleData()
category, options = registered
assert options["category"] == category == "SAM Liver Tumor"
assert os.path.isfile(options["thumbnailFileName"])
lengths = {len(options[name]) for name in ("uris", "fileNames", "nodeNames", "loadFileTypes", "checksums")}
assert lengths == {2}
for uri, checksum in zip(options["uris"], options["checksums"]):
    assert uri.startswith("file://")
    with urllib.request.urlopen(uri) as file:
        assert "SHA256:" + hashlib.sha256(file.read()).hexdigest() == checksum
""")


def test_every_widget_that_the_code_names_is_in_the_ui_file(source, run):
    used = set(re.findall(r"\bui\.(\w+)", source))
    assert {"segmentButton", "statusLabel"} <= used
    run(f"assert {used!r} <= set(stand_in.ui_widgets())")


def test_every_parameter_has_one_widget_of_a_class_that_can_show_it(run):
    run("""
named = {}
for name, element in stand_in.ui_widgets().items():
    for property in element.findall("property[@name='SlicerParameterName']"):
        assert property.findtext("string") not in named
        named[property.findtext("string")] = element
fields = module.SAMLiverTumorParameterNode.fields
assert set(named) == set(fields)
for name, field in fields.items():
    if isinstance(field, type) and issubclass(field, slicer.vtkMRMLNode):
        assert named[name].get("class") == "qMRMLNodeComboBox"
        node_types = [e.text for e in named[name].findall("property[@name='nodeTypes']/stringlist/string")]
        assert node_types == [field.__name__]
    else:
        assert named[name].get("class") == ("QLineEdit" if field is str else "QComboBox")
""")


def test_every_mrml_widget_is_connected_to_the_scene_of_the_root(root, run):
    run("""
import xml.etree.ElementTree as ElementTree
widgets = stand_in.ui_widgets()
assert next(iter(widgets.values())).get("class") == "qMRMLWidget"
tree = ElementTree.parse(stand_in.ROOT / "SAMLiverTumor" / "Resources" / "UI" / "SAMLiverTumor.ui")
connected = {
    c.findtext("receiver") for c in tree.iter("connection")
    if (c.findtext("sender"), c.findtext("signal")) == ("SAMLiverTumor", "mrmlSceneChanged(vtkMRMLScene*)")
}
mrml = {name for name, e in widgets.items() if e.get("class") in ("qMRMLNodeComboBox", "qSlicerMarkupsPlaceWidget")}
assert connected == mrml and len(mrml) == 8
custom = {e.findtext("class") for e in tree.iter("customwidget")}
assert custom == {e.get("class") for e in widgets.values() if not e.get("class").startswith("Q")}
for name, element in widgets.items():
    if not name.endswith("Label") and not element.get("class").startswith(("qMRMLWidget", "ctkCollapsible")):
        assert element.find("property[@name='toolTip']") is not None, name
""")


def test_the_button_is_alive_only_with_a_volume_a_prompt_and_a_name(run):
    run("""
widget = opened()
button = widget.ui.segmentButton
assert (button.enabled, button.toolTip) == (False, "Choose a volume.")
widget._parameterNode.volume = add("vtkMRMLScalarVolumeNode")
assert (button.enabled, button.toolTip) == (False, "Choose include points or a box.")
widget._parameterNode.exclude = add("vtkMRMLMarkupsFiducialNode")
assert not button.enabled
widget._parameterNode.include = add("vtkMRMLMarkupsFiducialNode")
assert button.enabled
widget._parameterNode.segmentName = " "
assert (button.enabled, button.toolTip) == (False, "Give the segment a name.")
""")


def test_segment_hands_the_parameters_to_the_library_and_takes_the_result(run):
    run(
        CLICK
        + """
widget._parameterNode.window = "wide"
widget.onSegmentButton()
(options,) = calls
assert options["roiNode"].IsA("vtkMRMLMarkupsROINode") and options["segmentationNode"] is None
assert (options["window"], options["plane"], options["model"]) == ("wide", "axial", "auto")
assert options["confirm"]("Download 39 MB?") is False, "a test must not download"
assert enabled == [False], "a second click has to wait"
assert texts == ["Working: 3 of 7"]
assert widget._parameterNode.segmentation.IsA("vtkMRMLSegmentationNode")
assert widget.ui.statusLabel.text == "Done: segment Lesion 1."
assert widget.ui.segmentButton.enabled
"""
    )


def test_what_the_user_can_mend_stands_in_the_status_line(run):
    run(
        CLICK
        + """
fail = True
widget.onSegmentButton()
assert widget.ui.statusLabel.text == "The box lies outside the volume."
assert widget.ui.segmentButton.enabled
assert widget._parameterNode.segmentation is None
"""
    )


def test_a_bug_is_not_swallowed_and_the_button_comes_back(run):
    run(
        CLICK
        + """
def broken(*arguments, **options):
    raise ZeroDivisionError
stand_in.put("SAMLiverTumorLib.mrml.api", segmentNodes=broken)
try:
    widget.onSegmentButton()
except ZeroDivisionError:
    assert widget.ui.segmentButton.enabled
else:
    raise AssertionError
"""
    )


def test_closing_the_scene_and_leaving_the_panel_let_go_of_the_parameter_node(run):
    run("""
widget = opened()
node = widget._parameterNode.node
assert node.HasObserver("ModifiedEvent")
widget.exit()
assert widget._parameterNode is None and not node.HasObserver("ModifiedEvent")
widget.enter()
assert node.HasObserver("ModifiedEvent")
slicer.mrmlScene.Clear()
assert widget._parameterNode is not None and widget._parameterNode.volume is None
assert not node.HasObserver("ModifiedEvent")
widget.parent.isEntered = False
slicer.mrmlScene.Clear()
assert widget._parameterNode is None and not widget.ui.segmentButton.enabled
widget.cleanup()
assert not slicer.mrmlScene.HasObserver(slicer.mrmlScene.StartCloseEvent)
""")


def test_reload_drops_the_library(run):
    run("""
widget = opened()
widget.onReload()
assert widget.reloaded
assert not [name for name in sys.modules if name.startswith("SAMLiverTumorLib")]
""")


def test_points_added_in_the_panel_are_green_and_red(run):
    run("""
widget = opened()
for selector, color in ((widget.ui.includeSelector, (0.2, 0.8, 0.2)), (widget.ui.excludeSelector, (0.9, 0.2, 0.2))):
    node = add("vtkMRMLMarkupsFiducialNode")
    slicer.mrmlScene.RegisterNodeClass(slicer.vtkMRMLMarkupsFiducialDisplayNode())
    selector.signals["nodeAddedByUser(vtkMRMLNode*)"](node)
    assert node.GetDisplayNode().GetSelectedColor() == color
""")


@pytest.mark.skipif(
    "SAM_LIVER_TUMOR_SLICER_PYTHON" not in os.environ,
    reason="set SAM_LIVER_TUMOR_SLICER_PYTHON to Base/Python of a Slicer 5.12 checkout",
)
def test_slicers_own_parameter_node_wrapper_takes_the_parameter_node(run):
    run(
        """
node = module.SAMLiverTumorParameterNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
assert (node.volume, node.segmentName, node.window, node.model) == (None, "Liver tumor", "auto", "auto")
node.roi = add("vtkMRMLMarkupsROINode")
assert node.roi.IsA("vtkMRMLMarkupsROINode")
try:
    node.plane = "oblique"
except ValueError:
    pass
else:
    raise AssertionError
""",
        SAM_LIVER_TUMOR_SLICER_PYTHON=os.environ["SAM_LIVER_TUMOR_SLICER_PYTHON"],
    )
