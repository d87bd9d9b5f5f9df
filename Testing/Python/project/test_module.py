"""The real SAMLiverTumor.py, loaded by the desktop stand-in: what Slicer is told, and what loading costs."""

import re

import pytest
from desktop.process import MODULE, ROOT

UI = MODULE.parent / "Resources" / "UI" / "SAMLiverTumor.ui"
PANEL = ROOT / "SAMLiverTumorLib" / "panel"
ELEMENTS = f"""
import xml.etree.ElementTree as ElementTree
tree = ElementTree.parse({str(UI)!r})
widgets = {{element.get("name"): element for element in tree.iter("widget")}}
module = sys.modules["SAMLiverTumor"]
"""


def test_opening_the_panel_imports_no_network_and_changes_no_scene(run_layers):
    run_layers(
        """
before = slicer.mrmlScene.GetNumberOfNodes()
widget = desktop.openModule(desktop.ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
heavy = {"torch", "torchvision", "segment_anything", "SimpleITK", "scipy", "monai", "onnxruntime", "pydicom"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert slicer.mrmlScene.GetNumberOfNodes() == before + 1, "only the parameter node"
import SAMLiverTumorLib
assert SAMLiverTumorLib.__file__ == str(desktop.ROOT / "SAMLiverTumorLib" / "__init__.py")
assert not widget.panel.timer.active and widget.panel.worker._thread is None
""",
        open_module=False,
    )


def test_the_panel_opens_where_torch_cannot_be_imported(run_layers):
    run_layers(
        """
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "segment_anything", "monai"):
            raise ImportError(f"{name} is broken")
sys.meta_path.insert(0, Broken())
widget = desktop.openModule(desktop.ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
assert widget.ui.statusLabel.text == "Choose a volume."
""",
        open_module=False,
    )


def test_a_library_that_is_importable_already_is_not_shadowed(run_layers, tmp_path):
    # Installed, the module file and the library lie in one folder, which Slicer has put on the path.
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "SAMLiverTumorLib").symlink_to(ROOT / "SAMLiverTumorLib", target_is_directory=True)
    run_layers(
        f"""
sys.path.insert(0, {str(installed)!r})
desktop.openModule(desktop.ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
assert {str(ROOT)!r} not in sys.path
""",
        open_module=False,
    )


def test_the_module_tells_slicer_its_title_place_and_dependencies(run_layers):
    run_layers("""
parent = slicer.modules.SAMLiverTumorInstance.parent
assert parent.title == "SAM Liver Tumor"
assert parent.categories == ["Segmentation"]
assert parent.dependencies == ["Markups", "Segmentations", "SegmentEditor", "Volumes"]
hidden = slicer.modules.SegmentEditorSAMLiverTumorInstance.parent
assert hidden.title == "Segment Editor SAM Liver Tumor" and hidden.hidden
assert parent.contributors and "not a medical device" in parent.helpText and "LiTS" in parent.acknowledgementText
""")


def test_the_registered_sample_case_exists_and_has_the_stated_checksums(run_layers):
    run_layers("""
import hashlib, os, urllib.request
import SampleData
(options,) = SampleData.SampleDataLogic.sources
assert options["category"] == "SAM Liver Tumor"
assert os.path.isfile(options["thumbnailFileName"])
lengths = {len(options[name]) for name in ("uris", "fileNames", "nodeNames", "loadFileTypes", "checksums")}
assert lengths == {2}
for uri, checksum in zip(options["uris"], options["checksums"]):
    assert uri.startswith("file://")
    with urllib.request.urlopen(uri) as file:
        assert "SHA256:" + hashlib.sha256(file.read()).hexdigest() == checksum
""")


def test_every_widget_that_the_code_names_is_in_the_ui_file(run_layers):
    files = {path.name: path for path in PANEL.rglob("*.py")}
    del files["editor_panel.py"]  # has a .ui file of its own
    used = {name for path in files.values() for name in re.findall(r"\b_?ui\.(\w+)", path.read_text("utf-8"))}
    assert {"segmentButton", "statusLabel"} <= used
    run_layers(ELEMENTS + f"assert {used!r} <= set(widgets), {used!r} - set(widgets)")


def test_every_choice_with_a_widget_names_its_parameter_there(run_layers):
    run_layers(
        ELEMENTS
        + """
named = [e.findtext("string") for e in tree.iter("property") if e.get("name") == "SlicerParameterName"]
assert len(set(named)) == len(named)
fields = set(module.SAMLiverTumorParameterNode.__doc__ and widget._parameterNode.allParameters)
bound = {"volume", "segmentation", "model", "device", "window", "windowLow", "windowHigh", "channels", "plane"}
bound |= {"quality", "live", "boxThroughSlices", "editorMasking", "editorOverwrite"}
bound |= {"trainSource", "trainPart", "trainEpochs"}
bound |= {f"phase{n}{what}" for n in (1, 2) for what in ("", "Window", "Low", "High")}
assert set(named) == bound
# chosen in lists that the scene fills, of more than one class, or made by the panel
listed = {"segmentId", "reference", "referenceSegmentId", "inside", "insideSegmentId", "modelFile"}
listed |= {"trainImages", "trainLabels", "trainFolder"}
assert fields - set(named) == listed | {"include", "exclude", "roi", "evaluation", "lesions", "training"}
"""
    )


def test_every_mrml_widget_is_connected_to_the_scene_and_everything_has_a_tooltip(run_layers):
    run_layers(
        ELEMENTS
        + """
assert next(iter(widgets.values())).get("class") == "qMRMLWidget"
connected = {
    c.findtext("receiver") for c in tree.iter("connection")
    if (c.findtext("sender"), c.findtext("signal")) == ("SAMLiverTumor", "mrmlSceneChanged(vtkMRMLScene*)")
}
assert connected == {name for name, e in widgets.items() if e.get("class") == "qMRMLNodeComboBox"}
assert len(connected) == 6
custom = {e.findtext("class") for e in tree.iter("customwidget")}
assert custom == {e.get("class") for e in widgets.values() if not e.get("class").startswith("Q")}
for name, element in widgets.items():
    if not name.endswith("Label") and not element.get("class").startswith(("qMRMLWidget", "ctkCollapsible")):
        assert element.find("property[@name='toolTip']") is not None, name
titles = [b.text for b in widget.parent.findChildren(ctk.ctkCollapsibleButton)]
assert titles == [
    "Inputs", "Further phases", "Model", "Prompts", "Segment", "Evaluate", "Export", "Fine-tune", "Help and log",
]
"""
    )


def test_the_panel_begins_with_the_volume_that_the_views_show(run_layers):
    run_layers("""
first = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "first")
shown = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "shown")
desktop.leave(widget)
desktop.enter(widget)
assert widget._parameterNode.volume is None, "the first one is nobody's choice"
slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(shown.GetID())
desktop.leave(widget)
desktop.enter(widget)
assert widget._parameterNode.volume is shown
""")


@pytest.mark.parametrize("saved, opened", [("fast", "full"), ("best", "best")])
def test_a_scene_of_version_0_1_opens_with_full_quality_for_what_is_gone(run_layers, saved, opened):
    run_layers(
        f"""
saved, opened = {saved!r}, {opened!r}
"""
        + """
widget._parameterNode.model = "mobile-sam"
node = widget._parameterNode.parameterNode
desktop.leave(widget)
widget.setParameterNode(None)
node.SetParameter("quality", saved)
node.SetParameter("zoom", "on")
desktop.saveScene("old.mrb")
desktop.closeScene()
desktop.enter(widget)
for enter in (lambda: None, lambda: desktop.enter(widget)):
    # once into the open panel, once while the user is elsewhere
    desktop.loadScene("old.mrb")
    enter()
    parameters, settings = widget._parameterNode, widget.panel._shared.session.settings
    assert (parameters.quality, settings.quality, widget.ui.qualityCombo.currentText) == (opened,) * 3
    assert (parameters.model, settings.model, widget.ui.modelCombo.currentText) == ("mobile-sam",) * 3
    desktop.leave(widget)
assert slicer.util.getModuleLogic("SAMLiverTumor").getParameterNode().quality == opened
"""
    )


def test_the_logic_segments_as_the_parameters_say_and_never_downloads_unasked(run_layers):
    run_layers("""
from types import SimpleNamespace
import SAMLiverTumorLib.mrml.api.segment as api
calls = []
api.segmentNodes = lambda volumeNode, **options: calls.append(options) or SimpleNamespace(
    segmentationNode="node", segmentId="id")
logic = slicer.util.getModuleLogic("SAMLiverTumor")
parameters = logic.getParameterNode()
parameters.window, parameters.windowLow, parameters.windowHigh = "custom", -10.0, 90.0
assert logic.segment(parameters) == ("node", "id")
parameters.plane = "coronal"
logic.segment(parameters, segmentName="Lesion 2")
assert [options["settings"].orientation for options in calls] == ["axial", "coronal"]
assert [options["segmentName"] for options in calls] == ["Liver tumor", "Lesion 2"]
settings = calls[0]["settings"]
assert (settings.window.low, settings.window.high, settings.model) == (-10.0, 90.0, "auto")
assert calls[0]["confirm"]("Download 39 MB?") is False
try:
    parameters.plane = "somewhere"
except ValueError:
    pass
else:
    raise AssertionError
""")


def test_closing_the_scene_and_cleaning_up_let_go(run_layers):
    run_layers("""
node = widget._parameterNode.parameterNode
assert node.HasObserver("ModifiedEvent")
desktop.closeScene()
assert widget._parameterNode is not None and widget._parameterNode.volume is None
widget.parent.exit()
desktop.closeScene()
assert widget._parameterNode is None and not widget.ui.segmentButton.enabled
desktop.enter(widget)
assert widget._parameterNode is not None
widget.cleanup()
assert not widget._parameterNode and not widget.Observations
widget.cleanup()
""")


def test_reload_brings_the_library_anew(run_layers):
    run_layers("""
old = sys.modules["SAMLiverTumorLib"]
widget.onReload()
assert sys.modules["SAMLiverTumorLib"] is not old
assert slicer.util.getModuleWidget("SAMLiverTumor").panel is not widget.panel
""")
