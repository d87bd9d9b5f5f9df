"""Photographs of the panel and of the slice it works on, for README and tutorial: `python3 dev.py screenshots`.

A user's work on the sample case, with real networks: load, box around a tumor, a click, accept, evaluate. The
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

    ui.loadSampleButton.click()
    finish()
    desktop.grab(widget, OUT / "panel-loaded.png")
    volumeNode = ui.volumeSelector.currentNode()
    volumeNode.GetDisplayNode().SetAutoWindowLevel(False)
    volumeNode.GetDisplayNode().SetWindowLevel(250, 60)
    red = application.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.JumpSliceByOffsetting(*CLICK)

    ui.boxThroughCheckBox.checked = True
    ui.boxButton.click()
    roi = session.promptNodes[2]
    roi.InvokeCustomModifiedEvent(roi.PointStartInteractionEvent)
    roi.SetCenter(*CENTER)
    roi.SetSize(*SIZE)
    roi.InvokeCustomModifiedEvent(roi.PointEndInteractionEvent)
    interactionNode = slicer.app.applicationLogic().GetInteractionNode()
    interactionNode.SetCurrentInteractionMode(interactionNode.ViewTransform)
    finish()
    session.promptNodes[0].AddControlPointWorld(*CLICK)
    finish()
    desktop.grab(widget, OUT / "panel-prompted.png")
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.mrb"
        desktop.saveScene(scene)
        reason = renderScene(scene, folder, CLICK)
        if reason:
            print(reason, file=sys.stderr)
        else:
            shutil.copyfile(Path(folder) / "axial.png", OUT / "prompted-axial.png")
    print(f"{volumeNode.GetName()}: {ui.statusLabel.text}; pictures in {OUT}")
    desktop.quit()
    desktop.check()
    return 0


if __name__ == "__main__":
    sys.exit(main())
