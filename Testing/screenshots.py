"""Photographs of the panel and of the slice it works on, for README and tutorial: `python3 dev.py screenshots`.

A user's work on the sample case, with real networks: load, box on one slice, follow, accept, evaluate, correct. The
panel is the real one on the desktop stand-in; pictures of views are rendered by Slicer's displayable managers.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]
OUT = ROOT / "Resources" / "Screenshots"

# Around the fourth largest tumor of the sample case, in RAS mm: two millimeters outside it, first to last slice.
CENTER, SIZE = (58.07, 29.38, 1907.7), (42.1, 46.2, 40.0)
CLICK = (56.0, 29.0, 1906.9)


def main() -> int:
    """Take the pictures."""
    import desktop

    application = desktop.start()
    widget = desktop.openModule(ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
    import slicer

    from SAMLiverTumorLib.mrml.render import renderScene

    ui, session = widget.ui, widget.panel.session
    OUT.mkdir(parents=True, exist_ok=True)

    def finish() -> None:
        desktop.wait(lambda: not session.busy and not widget.panel.tasks.busy, seconds=300)
        desktop.processEvents()

    def photograph(names: dict[str, str]) -> None:
        """Render the scene and keep some of the pictures under other names."""
        with tempfile.TemporaryDirectory() as folder:
            scene = Path(folder) / "scene.mrb"
            desktop.saveScene(scene)
            reason = renderScene(scene, folder, CLICK)
            if reason:
                print(reason, file=sys.stderr)
                return
            for rendered, kept in names.items():
                shutil.copyfile(Path(folder) / rendered, OUT / kept)

    ui.loadSampleButton.click()
    finish()
    desktop.grab(widget, OUT / "panel-loaded.png")
    volumeNode = ui.volumeSelector.currentNode()
    volumeNode.GetDisplayNode().SetAutoWindowLevel(False)
    volumeNode.GetDisplayNode().SetWindowLevel(250, 60)
    red = application.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.JumpSliceByOffsetting(*CLICK)

    # a box on the present slice, as drawn in the red view
    ui.boxButton.click()
    roi = session.promptNodes[2]
    roi.InvokeCustomModifiedEvent(roi.PointStartInteractionEvent)
    roi.SetCenter(CENTER[0], CENTER[1], CLICK[2])
    roi.SetSize(SIZE[0], SIZE[1], 2.0)
    roi.InvokeCustomModifiedEvent(roi.PointEndInteractionEvent)
    interactionNode = slicer.app.applicationLogic().GetInteractionNode()
    interactionNode.SetCurrentInteractionMode(interactionNode.ViewTransform)
    finish()
    desktop.grab(widget, OUT / "panel-prompted.png")
    photograph({"axial.png": "prompted-axial.png"})

    ui.followBothButton.click()
    finish()
    ui.helpSection.collapsed = False
    desktop.grab(widget, OUT / "panel-followed.png")
    ui.helpSection.collapsed = True
    photograph({"coronal.png": "followed-coronal.png"})

    ui.acceptButton.click()
    for section in (ui.inputsButton, ui.modelButton, ui.promptsButton, ui.segmentButtonSection):
        section.collapsed = True
    ui.evaluateSection.collapsed = False
    ui.evaluateButton.click()
    finish()
    desktop.grab(widget, OUT / "panel-evaluated.png")

    with tempfile.TemporaryDirectory() as folder:
        photograph_training(desktop, widget, Path(folder) / "run")

    desktop.leave(widget)
    editor = desktop.openSegmentEditor().editor
    editor.setSegmentationNode(session.segmentationNode)
    editor.setSourceVolumeNode(volumeNode)
    editor.setCurrentSegmentID(session.segmentId)
    editor.setActiveEffectByName("SAM")
    session.promptNodes[0].AddControlPointWorld(*CLICK)
    finish()
    desktop.grab(editor, OUT / "segment-editor-effect.png")
    print(f"{volumeNode.GetName()}: {ui.statusLabel.text}; pictures in {OUT}")
    desktop.quit()
    desktop.check()
    return 0


def photograph_training(desktop, widget, folder: Path) -> None:
    """A very short training on the reference of the sample case, with its figures: a few slices, a minute."""
    from dataclasses import replace

    from SAMLiverTumorLib.panel import train

    chosen = train.settingsOf
    short = {"steps": 20, "slices": 8, "validation_slices": 4, "negatives": 1, "copies": 0}
    train.settingsOf = lambda *args, **named: replace(chosen(*args, **named), **short)
    ui, parameters, session = widget.ui, widget._parameterNode, widget.panel.session
    before = parameters.segmentation, parameters.segmentId, parameters.model
    reference = parameters.reference
    parameters.segmentation = reference
    parameters.segmentId = reference.GetSegmentation().GetSegmentIdBySegmentName("tumor")
    parameters.inside = reference
    parameters.trainEpochs, parameters.trainFolder = 2, str(folder)
    ui.evaluateSection.collapsed = True
    ui.trainSection.collapsed = False
    ui.trainStartButton.click()
    desktop.wait(lambda: not widget.panel.tasks.busy, seconds=300)
    training = widget.panel.train.training
    desktop.wait(lambda: not training.isWatched, seconds=1800)
    desktop.processEvents()
    desktop.grab(widget, OUT / "panel-trained.png")
    print(f"{session.message} {training.record.before} -> {training.record.reached}")
    train.settingsOf = chosen
    ui.trainSection.collapsed = True
    parameters.inside = None
    parameters.segmentation, parameters.segmentId, parameters.model = before


if __name__ == "__main__":
    sys.exit(main())
