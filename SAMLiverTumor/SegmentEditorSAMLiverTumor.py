"""The hidden module that registers the effect "SAM" of SAM Liver Tumor in Slicer's Segment Editor."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class SegmentEditorSAMLiverTumor(ScriptedLoadableModule):
    """Registers the effect when the application has started; there is nothing to open."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Segment Editor SAM Liver Tumor")
        self.parent.categories = [_("Segmentation")]
        # SAMLiverTumor puts the library on the path
        self.parent.dependencies = ["Segmentations", "SAMLiverTumor"]
        self.parent.contributors = ["SAM Liver Tumor contributors"]
        self.parent.hidden = True
        self.parent.helpText = _("Segment Editor effect of the module SAM Liver Tumor.")
        slicer.app.connect("startupCompleted()", self.registerEffect)

    def registerEffect(self) -> None:
        """Make the effect known to every Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        # the package's folder without importing the package
        package = importlib.util.find_spec("SAMLiverTumorLib").submodule_search_locations[0]
        self.scriptedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        path = Path(package) / "segment_editor_sam" / "SegmentEditorEffect.py"
        self.scriptedEffect.setPythonSource(path.as_posix())
        self.scriptedEffect.self().register()
