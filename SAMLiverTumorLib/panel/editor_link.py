"""Links a prompt session to the user's Segment Editor: its undo and its rules."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules

# Slicer's Segment Editor module keeps its settings in the scene's node with this singleton tag.
_SINGLETON_TAG = "SegmentEditor"


class EditorWidgetHistory:
    """The undo of a `qMRMLSegmentEditorWidget` as `mrml.session.protocols.EditorHistory`.

    The widget has slots for undo and redo; only the state of its buttons says whether they are possible.
    """

    def __init__(self, editor: Any) -> None:
        self.editor = editor
        self.saveStateForUndo, self.undo, self.redo = editor.saveStateForUndo, editor.undo, editor.redo
        self._undoButton = slicer.util.findChild(editor, "UndoButton")
        self._redoButton = slicer.util.findChild(editor, "RedoButton")

    def canUndo(self) -> bool:
        """Whether there is a state to undo to."""
        return self._undoButton.enabled

    def canRedo(self) -> bool:
        """Whether there is a state to redo to."""
        return self._redoButton.enabled


class EditorLink:
    """Provides the undo of the Segment Editor that edits a session's segmentation, if one does."""

    def __init__(self) -> None:
        self._history: EditorWidgetHistory | None = None

    def history(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, editor: Any = None
    ) -> EditorWidgetHistory | None:
        """The undo of `editor`, by default the Segment Editor module's; None if it edits something else.

        A Segment Editor that was not opened yet has nothing to undo and is not created for this.
        """
        if editor is None:
            editor = getattr(getattr(slicer.modules, "SegmentEditorWidget", None), "editor", None)
        if editor is None or segmentationNode is None or editor.segmentationNode() is not segmentationNode:
            return None
        if self._history is None or self._history.editor is not editor:
            self._history = EditorWidgetHistory(editor)
        return self._history


def rulesOf(segmentationNode: slicer.vtkMRMLSegmentationNode | None, masking: bool, overwriting: bool) -> EditorRules:
    """The Segment Editor module's settings to obey, if they are for this segmentation."""
    node = slicer.mrmlScene.GetSingletonNode(_SINGLETON_TAG, "vtkMRMLSegmentEditorNode")
    if node is None or segmentationNode is None or node.GetSegmentationNode() is not segmentationNode:
        return EditorRules()
    return EditorRules(node, masking, overwriting)
