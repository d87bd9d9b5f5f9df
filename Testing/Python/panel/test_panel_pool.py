"""The panel over the real LiteMedSAM, on the sample case."""

from desktop.process import run_on_desktop


def test_a_box_on_the_sample_case_gives_the_tumor(tmp_path, store):
    out = run_on_desktop(
        f"""
import numpy as np
panel, ui, session = widget.panel, widget.ui, widget.panel.session
panel.pool.store.root = Path({str(store.root)!r})
ui.loadSampleButton.click()
volumeNode = ui.volumeSelector.currentNode()
assert volumeNode.GetName() == "LiverTumorCT" and ui.referenceSegmentCombo.currentText == "tumor"
assert slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID()
slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().JumpSliceByOffsetting(58.07, 29.38, 1907.7)
ui.boxThroughCheckBox.checked = False
ui.boxButton.click()
roiNode = session.promptNodes[2]
roiNode.InvokeCustomModifiedEvent(roiNode.PointStartInteractionEvent)
roiNode.SetCenter(58.07, 29.38, 1907.7)
roiNode.SetSize(38.1, 42.2, 40.0)
roiNode.InvokeCustomModifiedEvent(roiNode.PointEndInteractionEvent)
assert session.busy and ui.progressBar.enabled
panel.worker.wait(120)
desktop.wait(lambda: not session.busy)
found = slicer.util.arrayFromSegmentBinaryLabelmap(session.segmentationNode, session.segmentId, volumeNode) > 0
reference = widget._parameterNode.reference
truth = slicer.util.arrayFromSegmentBinaryLabelmap(
    reference, reference.GetSegmentation().GetSegmentIDs()[1], volumeNode
) > 0
(k,) = found.any((1, 2)).nonzero()[0]
box = (slice(65, 96), slice(59, 87))
dice = 2 * (found[k] & truth[k])[box].sum() / (found[k].sum() + truth[k][box].sum())
assert dice > 0.7, dice
for name in ("evaluateSection", "modelButton"):
    getattr(ui, name).collapsed = False
ui.evaluateButton.click()
panel.worker.wait(120)
desktop.wait(lambda: not panel.tasks.busy)
assert "lesions found" in ui.statusLabel.text
print(dice, ui.statusLabel.text)
desktop.grab(widget, "panel.png")
print(qt.QImage("panel.png").width())
""",
        tmp_path,
        OMP_NUM_THREADS="2",
    )
    assert out.strip().endswith("420")
