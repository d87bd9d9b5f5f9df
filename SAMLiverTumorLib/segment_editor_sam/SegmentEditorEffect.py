"""The effect "SAM" of Slicer's Segment Editor: a shell around `panel.editor_panel`.

Slicer loads this file by its path, under the name of the folder it lies in, and makes one effect for each Segment
Editor widget. Nothing of the library is imported before the user chooses the effect.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import qt
import slicer
import slicer.util
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

HERE = Path(__file__).resolve().parent


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Prompts of the Segment Anything Model beside Paint, Scissors and masking."""

    def __init__(self, scriptedEffect: Any) -> None:
        # Segment Editor keeps one effect of each name, and others bring SAM too
        scriptedEffect.name = "SAM Liver Tumor"
        scriptedEffect.title = _("SAM")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.panel = None
        self._widget = None

    def clone(self) -> Any:
        """An effect for another Segment Editor widget."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clonedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        clonedEffect.setPythonSource(Path(__file__).as_posix())
        return clonedEffect

    def icon(self) -> qt.QIcon:
        """The effect's button."""
        path = HERE / "SegmentEditorEffect.png"
        return qt.QIcon(str(path)) if path.exists() else qt.QIcon()

    def helpText(self) -> str:
        """Shown above the options."""
        return _(
            "Segment by prompts: place include and exclude points or draw a box, and the mask follows.<br>"
            "Undo and redo take prompts and masks back together; masking is kept to. Model and window are chosen in "
            "the module SAM Liver Tumor."
        )

    def setupOptionsFrame(self) -> None:
        """The options are made when the effect is first used."""

    def activate(self) -> None:
        """Called when the user chooses the effect."""
        # SAM prompts with markups: the ordinary cursor shows where they go
        self.scriptedEffect.showEffectCursorInSliceView = False
        if self.panel is None or self.panel.engine.isClosed:
            self._build()
        self.panel.activate(self.scriptedEffect.parameterSetNode(), self._editor())

    def deactivate(self) -> None:
        """Called when the user chooses another effect, or leaves Segment Editor."""
        if self.panel is not None:
            self.panel.deactivate()

    def cleanup(self) -> None:
        """Called before the effect is deleted."""
        if self.panel is not None:
            self.panel.engineClosed()
            self.panel = None

    def updateGUIFromMRML(self) -> None:
        """Called when the Segment Editor's settings have changed."""
        if self.panel is not None and self.panel.isActive:
            self.panel.apply()

    def updateMRMLFromGUI(self) -> None:
        """The options that the effect has are not kept in the scene."""

    def setMRMLDefaults(self) -> None:
        """The options that the effect has are not kept in the scene."""

    def sourceVolumeNodeChanged(self) -> None:
        """Called when another source volume is chosen."""
        self.updateGUIFromMRML()

    def interactionNodeModified(self, interactionNode: slicer.vtkMRMLInteractionNode) -> None:
        """Called when place mode begins or ends: prompts are placed in it, so the effect stays active."""

    def _build(self) -> None:
        from SAMLiverTumor import SAMLiverTumorLogic
        from SAMLiverTumorLib.panel.editor_panel import EditorPanel

        if self._widget is not None:  # of an engine that was closed by a reload
            self._widget.setParent(None)
        self._widget = slicer.util.loadUI(str(HERE / "SegmentEditorEffect.ui"))
        self.scriptedEffect.addOptionsWidget(self._widget)
        requirements = str(Path(slicer.util.modulePath("SAMLiverTumor")).parent / "Resources" / "requirements.txt")
        ui = slicer.util.childWidgetVariables(self._widget)
        self.panel = EditorPanel(ui, self._widget, requirements, SAMLiverTumorLogic().getParameterNode)

    def _editor(self) -> Any:
        """The Segment Editor widget that the options lie in; the module's where that is unknown."""
        widget = self.scriptedEffect.optionsFrame()
        while widget is not None and not widget.inherits("qMRMLSegmentEditorWidget"):
            widget = widget.parentWidget()
        if widget is None:
            logging.debug("SAM effect: not inside a qMRMLSegmentEditorWidget")
        return widget
