"""A stand-in for the Slicer desktop: PythonQt's behavior on PySide6, Slicer's widgets over a real MRML scene.

    import desktop

    application = desktop.start()
    widget = desktop.openModule(desktop.ROOT / "SAMLiverTumor" / "SAMLiverTumor.py")
    widget.ui.volumeSelector.setCurrentNode(volumeNode)
    desktop.wait(lambda: widget.ui.segmentButton.enabled)
    desktop.grab(widget, "panel.png")
    desktop.check()

Real: Qt's widgets and event loop, the .ui file, the module's code, MRML nodes and logics, `slicer.util`. Written
here: `qt`, `ctk`, `slicer.qMRML*`, `slicer.app`, the ScriptedLoadableModule bases, the parameterNodeWrapper. With
the environment variable SLICER_BASE_PYTHON naming a folder with Slicer's own Base/Python, Slicer's bases, its
parameterNodeWrapper and its i18n are used instead of ours.

What it does not prove: that Slicer's C++ widgets look or behave like these in every corner (they follow the public
headers of Slicer 5.12, not its code), that layouts fit with Slicer's style and fonts, that slice views hand mouse
clicks to markups (tests add control points to the scene), that other modules are there, or that pip installs
anything. It holds only what the module uses; anything else raises AttributeError naming this folder, to be added
when Slicer has it. One process holds one desktop: tests start theirs with `run_on_desktop`.
"""

from .process import ROOT, run_on_desktop

__all__ = ["ROOT", "run_on_desktop"]

_STAGE = (
    "answer",
    "answers",
    "check",
    "closeScene",
    "enter",
    "errors",
    "grab",
    "leave",
    "loadScene",
    "openModule",
    "openSegmentEditor",
    "pressKeys",
    "processEvents",
    "quit",
    "saveScene",
    "shown",
    "start",
    "wait",
)


def __getattr__(name: str):
    # PySide6 and slicer are imported by the process that starts a desktop, not by pytest.
    if name in _STAGE:
        from . import stage

        return getattr(stage, name)
    raise AttributeError(f"Testing/desktop has no {name}")
