"""The button Find tumors, in the panel and in the effect."""

_READER = """
from dataclasses import replace
import numpy as np
from text_search_case import Reader, SQUARE
import SAMLiverTumorLib.panel.sections.find_tumors as find
class Gated(Reader):
    def __init__(self):
        super().__init__()
        self.gate = user.network.gate
    def embed(self, rgb, spacing, cancel=None, mirrored=False):
        return user.network.embed(rgb, spacing, cancel)
reader = Gated()
"""


def test_without_a_model_that_knows_text_the_button_says_what_to_do(at_panel):
    at_panel(
        """
import SAMLiverTumorLib.panel.panel_pool as network
network.load_registry = lambda: {id: info for id, info in registry.items() if not info.concepts}
""".replace("registry.items", "everything.items").replace(
            "network.load", "everything = network.load_registry()\nnetwork.load"
        )
        + """
panel.update()
assert not ui.findButton.enabled and "Fine-tune" in ui.findButton.toolTip, ui.findButton.toolTip
# the header of a weight file says what it knows; nothing is loaded to learn that
import json, struct
path = Path("text.safetensors").absolute()
about = json.dumps({"concepts": ["liver tumor"]})
header = json.dumps({"__metadata__": {"sam-liver-tumor": about}}).encode()
path.write_bytes(struct.pack("<Q", len(header)) + header)
widget._parameterNode.modelFile = str(path)
widget._parameterNode.model = "file"
assert ui.findButton.enabled and "torch" not in sys.modules
path.write_bytes(b"\\xff" * 64)
panel.update()
assert not ui.findButton.enabled
"""
    )


def test_tumors_are_found_inside_what_is_chosen_and_undo_takes_them_back(at_panel):
    at_panel(
        _READER
        + """
find.textModel = lambda model: "knows text"
user.predictor = lambda model: {"knows text": reader}[model]
from SAMLiverTumorLib.mrml.segments.segments import addTumorSegment, createSegmentation
organs = createSegmentation(slicer.mrmlScene, user.volumeNode, "organs")
liver = addTumorSegment(organs, "liver")
array = np.zeros(SQUARE.shape, np.uint8)
array[2:5] = 1
slicer.util.updateSegmentBinaryLabelmapFromArray(array, organs, liver, user.volumeNode)
widget._parameterNode.inside = organs
panel.update()
user.begin()
ui.findButton.click()
desktop.wait(lambda: user.network.waiting.is_set())
assert ui.statusLabel.text.startswith("Searching") and not ui.findButton.enabled and ui.cancelButton.enabled
ui.cancelButton.click()
user.network.gate.set()
user.finish()
assert not session.busy and not panel.timer.active
# the segment that was made for the search is gone with it
assert ui.statusLabel.text == "Cancelled." and not session.segmentId and not session.canUndo
assert widget._parameterNode.segmentation is None and ui.segmentCombo.count == 0
assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == [organs]
ui.findButton.click()
user.finish()
assert (user.array() == (SQUARE & (array > 0))).all()
assert ui.statusLabel.text.startswith("Found 1 piece,"), ui.statusLabel.text
ui.undoButton.click()
assert user.count() == 0
ui.redoButton.click()
assert user.count() == 90
# nothing breaks when the scene is closed meanwhile
user.begin()
ui.findButton.click()
slicer.mrmlScene.Clear(0)
user.network.gate.set()
desktop.processEvents()
assert not session.busy
"""
    )
