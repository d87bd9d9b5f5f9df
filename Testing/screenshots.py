"""Screenshots of the panel and of the slice it works on, for README and tutorial: `python3 dev.py screenshots`.

A user's work on the sample case, with real networks: load, box on one slice, propagate, accept, evaluate, measure,
export, further phases, search, another patient, train, correct. The panel is the real one on the desktop stand-in;
slice views are rendered by Slicer's displayable managers.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "Testing" / "support"), str(ROOT)]
OUT = ROOT / "Resources" / "Screenshots"

# A box two millimeters outside the fourth largest tumor of the sample case, and a click inside it, in RAS mm.
CENTER, SIZE = (58.07, 29.38, 1907.7), (42.1, 46.2, 40.0)
CLICK = (56.0, 29.0, 1906.9)


def main() -> int:
    """Take the screenshots."""
    import desktop

    application = desktop.start()
    widget = desktop.openModule(ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
    import slicer

    from SAMLiverTumorLib.mrml.rendering.render import renderScene

    ui, session = widget.ui, widget.panel.session
    OUT.mkdir(parents=True, exist_ok=True)

    def finish() -> None:
        desktop.wait(lambda: not session.busy and not widget.panel.tasks.busy, seconds=900)
        desktop.processEvents()

    def photograph(names: dict[str, str]) -> None:
        """Render the scene and keep some of the images under other names."""
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

    # a box on the current slice, as drawn in the red view
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

    ui.propagateBothButton.click()
    finish()
    ui.helpSection.collapsed = False
    desktop.grab(widget, OUT / "panel-followed.png")
    ui.helpSection.collapsed = True
    photograph({"coronal.png": "followed-coronal.png"})

    ui.acceptButton.click()
    sections = Sections(desktop, widget)
    ui.evaluateButton.click()
    finish()
    ui.lesionReportButton.click()
    finish()
    sections.photograph("panel-evaluated.png", "evaluateSection")

    sections.photograph("panel-model.png", "modelButton")
    ui.exportFormatCombo.setCurrentIndex(2)
    with tempfile.TemporaryDirectory() as folder:
        desktop.answer(str(Path(folder) / "Liver tumor.nii.gz"))
        ui.exportButton.click()
        finish()
        # the real message would show a folder of this machine
        session.say("Written: Liver tumor.nii.gz.")
        sections.photograph("panel-export.png", "exportSection")

    photograph_phases(desktop, widget, sections, volumeNode, finish)
    photograph_search(widget, sections, finish)
    with tempfile.TemporaryDirectory() as folder:
        photograph_ircadb(desktop, widget, sections, Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        photograph_training(desktop, widget, sections, Path(folder) / "run")

    desktop.leave(widget)
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    red.JumpSliceByOffsetting(*CLICK)
    editor = desktop.openSegmentEditor().editor
    editor.setSegmentationNode(session.segmentationNode)
    editor.setSourceVolumeNode(volumeNode)
    editor.setCurrentSegmentID(session.segmentId)
    editor.setActiveEffectByName("SAM Liver Tumor")
    session.promptNodes[0].AddControlPointWorld(*CLICK)
    finish()
    desktop.grab(editor, OUT / "segment-editor-effect.png")
    for path in (*OUT.glob("panel-*.png"), OUT / "segment-editor-effect.png"):
        shrink(path)
    print(f"{volumeNode.GetName()}: {ui.statusLabel.text}; screenshots in {OUT}")
    desktop.quit()
    desktop.check()
    return 0


def shrink(path: Path) -> None:
    """Reduce to 256 colors: half the size, with no visible difference in a panel. The repository is limited in size."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


class Sections:
    """Takes screenshots of the panel with some of its sections open."""

    def __init__(self, desktop, widget) -> None:
        import ctk

        self._desktop, self._widget = desktop, widget
        self._all = widget.parent.findChildren(ctk.ctkCollapsibleButton)

    def photograph(self, name: str, *opened: str) -> None:
        """Open only these sections and take a screenshot."""
        for section in self._all:
            section.collapsed = section.objectName not in opened
        self._desktop.grab(self._widget, OUT / name)


def photograph_phases(desktop, widget, sections: Sections, volumeNode, finish) -> None:
    """A shifted copy of the sample case serves as second phase, since that patient has none."""
    import numpy as np
    import slicer

    from SAMLiverTumorLib.mrml.nodes.conversions import addVolumeNode, volumeFromNode
    from SAMLiverTumorLib.volume import Volume

    volume, ui = volumeFromNode(volumeNode), widget.ui
    aside = volume.ijk_to_ras.copy()
    aside[:3, 3] += (260, 12, -8)
    phaseNode = addVolumeNode(slicer.mrmlScene, Volume(np.array(volume.array), aside, "Second phase"))
    ui.phase1Selector.setCurrentNode(phaseNode)
    finish()
    sections.photograph("panel-phases-apart.png", "inputsButton", "phasesSection")
    ui.phase1RegisterButton.click()
    finish()
    # a registered phase is noticed in the next event
    finish()
    sections.photograph("panel-phases.png", "phasesSection")
    ui.phase1Selector.setCurrentNode(None)
    slicer.mrmlScene.RemoveNode(phaseNode.GetParentTransformNode())
    slicer.mrmlScene.RemoveNode(phaseNode)
    finish()


def photograph_search(widget, sections: Sections, finish) -> None:
    """Tumors of the sample case found by text, inside the reference's liver, in a segment of their own."""
    import slicer

    ui, parameters = widget.ui, widget._parameterNode
    before, reference, volumeNode = parameters.segmentId, parameters.reference, parameters.volume
    parameters.inside = reference
    ui.addSegmentButton.click()
    ui.segmentNameEdit.text = "Found"
    ui.segmentNameEdit.editingFinished.emit()
    ui.findButton.click()
    finish()
    sections.photograph("panel-found.png", "segmentButtonSection")
    found = slicer.util.arrayFromSegmentBinaryLabelmap(parameters.segmentation, parameters.segmentId, volumeNode) > 0
    tumorId = reference.GetSegmentation().GetSegmentIdBySegmentName("tumor")
    tumors = slicer.util.arrayFromSegmentBinaryLabelmap(reference, tumorId, volumeNode) > 0
    print(f"{widget.panel.session.message} Dice {2 * (found & tumors).sum() / (found.sum() + tumors.sum()):.3f}")
    ui.undoButton.click()
    parameters.inside = None
    parameters.segmentId = before


def photograph_ircadb(desktop, widget, sections: Sections, folder: Path) -> None:
    """A made-up patient in the layout of 3D-IRCADb, whose data may not be redistributed."""
    from ircadb_case import Patient

    parameters, panel = widget._parameterNode, widget.panel
    before = parameters.volume, parameters.reference, parameters.segmentation, parameters.segmentId
    parameters.segmentation = None
    desktop.answer(str(Patient(1).write_zips(folder)))
    widget.ui.loadIrcadbButton.click()
    desktop.wait(lambda: not panel.tasks.busy and parameters.volume is not before[0], seconds=120)
    desktop.processEvents()
    sections.photograph("panel-ircadb.png", "inputsButton")
    parameters.volume, parameters.reference, parameters.segmentation, parameters.segmentId = before


def photograph_training(desktop, widget, sections: Sections, folder: Path) -> None:
    """A very short training run on the reference of the sample case: a few slices, a minute."""
    from dataclasses import replace

    from SAMLiverTumorLib.panel.fine_tuning import section as train

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
    ui.trainStartButton.click()
    desktop.wait(lambda: not widget.panel.tasks.busy, seconds=300)
    training = widget.panel.train.training
    desktop.wait(lambda: not training.isWatched, seconds=1800)
    desktop.processEvents()
    sections.photograph("panel-trained.png", "trainSection")
    print(f"{session.message} {training.record.before} -> {training.record.reached}")
    train.settingsOf = chosen
    parameters.inside = None
    parameters.segmentation, parameters.segmentId, parameters.model = before


if __name__ == "__main__":
    sys.exit(main())
