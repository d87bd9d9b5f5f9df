"""`EditorRules`: which of the user's Segment Editor settings a write obeys."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from SAMLiverTumorLib.errors import InputError

_EDITOR_NODE = slicer.vtkMRMLSegmentEditorNode
_INSIDE_SINGLE = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment


@dataclass(frozen=True)
class EditorRules:
    """The user's Segment Editor settings, and which of them apply. The node is only read, at each write.

    :param node: the settings; None allows editing everywhere and overwrites nothing.
    :param masking: obey the editable area and the editable intensity range.
    :param overwriting: obey the overwrite mode; False never takes voxels from other segments.
    """

    node: slicer.vtkMRMLSegmentEditorNode | None = None
    masking: bool = True
    overwriting: bool = True

    @property
    def mayOverwrite(self) -> bool:
        """Whether a write may take voxels from other segments."""
        return self.node is not None and self.overwriting and self.node.GetOverwriteMode() != _EDITOR_NODE.OverwriteNone

    def applyTo(
        self, editorNode: slicer.vtkMRMLSegmentEditorNode, segmentationNode: slicer.vtkMRMLSegmentationNode
    ) -> None:
        """Copy the rules to the writer's own editor node.

        :raises InputError: editing is allowed inside one segment only, and the segmentation has no such segment.
        """
        allowEverything(editorNode)
        if self.node is None:
            return
        if self.overwriting:
            editorNode.SetOverwriteMode(self.node.GetOverwriteMode())
        if not self.masking:
            return
        if self.node.GetMaskMode() == _INSIDE_SINGLE:
            maskSegmentId = self.node.GetMaskSegmentID()
            if not maskSegmentId or segmentationNode.GetSegmentation().GetSegment(maskSegmentId) is None:
                raise InputError(
                    "Segment Editor's masking allows editing inside one segment only, and that segment is not in "
                    f"'{segmentationNode.GetName()}'; choose another editable area in Segment Editor, Masking."
                )
            editorNode.SetMaskSegmentID(maskSegmentId)
        editorNode.SetMaskMode(self.node.GetMaskMode())
        editorNode.SetSourceVolumeIntensityMask(self.node.GetSourceVolumeIntensityMask())
        editorNode.SetSourceVolumeIntensityMaskRange(self.node.GetSourceVolumeIntensityMaskRange())


def allowEverything(editorNode: slicer.vtkMRMLSegmentEditorNode) -> None:
    """Set the editor node to allow editing everywhere and overwrite nothing."""
    editorNode.SetOverwriteMode(_EDITOR_NODE.OverwriteNone)
    editorNode.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    editorNode.SetSourceVolumeIntensityMask(False)
