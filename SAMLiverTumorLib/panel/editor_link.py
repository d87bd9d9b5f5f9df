"""The user's Segment Editor, as far as a prompt session goes along with it: its undo and its rules."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules

# Slicer's Segment Editor module keeps its settings in the scene's node of this singleton tag.
_SINGLETON_TAG = "SegmentEditor"


class EditorWidgetHistory:
    """The undo of a `qMRMLSegmentEditorWidget` as `mrml.session.protocols.EditorHistory`.

    The widget has slots to go back and forth, and says only by its buttons whether it can.
    """

    def __init__(self, editor: Any) -> None:
        self.editor = editor
        self.saveStateForUndo, self.undo, self.redo = editor.saveStateForUndo, editor.undo, editor.redo
        self._undoButton = slicer.util.findChild(editor, "UndoButton")
        self._redoButton = slicer.util.findChild(editor, "RedoButton")

    def canUndo(self) -> bool:
        """Whether there is a state to go back to."""
        return self._undoButton.enabled

    def canRedo(self) -> bool:
        """Whether there is a state to come back to."""
        return self._redoButton.enabled


class EditorLink:
    """Hands a session the undo of the Segment Editor that edits its segmentation, if one does."""

    def __init__(self) -> None:
        self._history: EditorWidgetHistory | None = None

    def history(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, editor: Any = None
    ) -> EditorWidgetHistory | None:
        """The undo of `editor`, the Segment Editor module's if not given; None where it edits something else.

        A Segment Editor that was not opened yet has nothing to undo and is not made for this.
        """
        if editor is None:
            editor = getattr(getattr(slicer.modules, "SegmentEditorWidget", None), "editor", None)
        if editor is None or segmentationNode is None or editor.segmentationNode() is not segmentationNode:
            return None
        if self._history is None or self._history.editor is not editor:
            self._history = EditorWidgetHistory(editor)
        return self._history


def rulesOf(segmentationNode: slicer.vtkMRMLSegmentationNode | None, masking: bool, overwriting: bool) -> EditorRules:
    """What to keep to of the Segment Editor module's settings, where they are those of this segmentation."""
    node = slicer.mrmlScene.GetSingletonNode(_SINGLETON_TAG, "vtkMRMLSegmentEditorNode")
    if node is None or segmentationNode is None or node.GetSegmentationNode() is not segmentationNode:
        return EditorRules()
    return EditorRules(node, masking, overwriting)
