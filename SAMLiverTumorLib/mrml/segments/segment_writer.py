"""`SegmentWriter`: writes masks into a segment, box by box, by the Segment Editor's rules, with undo."""

from __future__ import annotations

import numpy as np
import slicer

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.nodes.conversions import Grid, gridFromNode
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules, allowEverything
from SAMLiverTumorLib.mrml.segments.labelmap_boxes import (
    boxImage,
    imageLattice,
    labelmapsWithVoxels,
    latticeShift,
    readBox,
    referenceLattice,
    segmentLabelmap,
    volumeLattice,
)

_EDITOR_LOGIC = slicer.vtkSlicerSegmentEditorLogic
_EDITOR_NODE = slicer.vtkMRMLSegmentEditorNode


class SegmentWriter:
    """Writes masks of one volume into the segments of one segmentation.

    Voxels that were in the segment before are kept: a refined mask removes only what the same prompts had added. Other
    segments are unchanged, unless the user's overwrite mode says otherwise.

    :param rules: which of the user's Segment Editor settings apply; assignable. None allows editing everywhere and
        overwrites nothing.
    :param maximumUndoStates: how many states of the segmentation are kept.

    >>> writer = SegmentWriter(scene, segmentationNode, volumeNode)
    >>> writer.saveStateForUndo()
    >>> added = writer.write(segmentId, mask)
    >>> added = writer.write(segmentId, refinedMask, previous=added)
    >>> writer.undo()
    True
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        rules: EditorRules | None = None,
        maximumUndoStates: int = 102,
    ) -> None:
        self.segmentationNode = segmentationNode
        self.volumeNode = volumeNode
        self.rules = rules or EditorRules()
        self.maximumUndoStates = maximumUndoStates
        self._editorNode = self._ownEditorNode(scene)
        self._logic = _EDITOR_LOGIC()
        self._logic.SetMRMLScene(scene)
        self._logic.SetMaximumNumberOfUndoStates(maximumUndoStates)
        self._logic.SetSegmentEditorNode(self._editorNode)

    def write(self, segmentId: str, mask: Mask, previous: Mask | None = None) -> Mask:
        """Add `mask` to the segment; remove what `previous` had added and `mask` lacks.

        The cost depends on the size of the two masks' box and of the segment, not of the volume.

        :param previous: what the last write for the same prompts returned.
        :return: the voxels in the segment that these writes have added. Voxels that were in the segment before, and
            voxels that the user's masking refused, are not included.
        :raises InputError: no such segment; the mask belongs to another volume or to the volume's position before it
            was moved; the segmentation lies on another voxel grid.
        """
        volume = gridFromNode(self.volumeNode)
        self._checkBelongs(mask, volume)
        if mask.count == 0 and (previous is None or previous.count == 0):
            segmentLabelmap(self.segmentationNode, segmentId)
            return mask
        lattice, latticeOffset = self._editingLattice(segmentId, volume)
        origin, shape = _unionBox(mask, previous)
        wanted = _inBox(mask, origin, shape)
        ours = _inBox(previous, origin, shape)
        present = self._readSegment(segmentId, volume, origin, shape)
        toAdd = wanted & ~present
        toRemove = ours & ~wanted & present
        if not toAdd.any() and not toRemove.any():
            return Mask.from_array(ours & present, volume, origin)
        self._applyRules(segmentId)
        start = np.array(origin) + latticeOffset
        # remove first: an emptied labelmap shrinks before it grows again
        self._modify(segmentId, toRemove, start, lattice, _EDITOR_LOGIC.ModificationModeRemove)
        self._modify(segmentId, toAdd, start, lattice, _EDITOR_LOGIC.ModificationModeAdd)
        # read again, since masking may have refused some voxels
        present = self._readSegment(segmentId, volume, origin, shape)
        return Mask.from_array((ours | toAdd) & present, volume, origin)

    def put(self, segmentId: str, add: Mask | None = None, remove: Mask | None = None) -> None:
        """Add and remove voxels ignoring the user's masking and overwrite mode, for undo.

        :raises InputError: as `write`.
        """
        volume = self.grid()
        for mask in (add, remove):
            if mask is not None:
                self._checkBelongs(mask, volume)
        if add is None and remove is None:
            return
        lattice, latticeOffset = self._editingLattice(segmentId, volume)
        self._allowEverything(segmentId)
        for mask, mode in (
            (remove, _EDITOR_LOGIC.ModificationModeRemove),
            (add, _EDITOR_LOGIC.ModificationModeAdd),
        ):
            if mask is not None:
                self._modify(segmentId, mask.array, np.array(mask.origin) + latticeOffset, lattice, mode)

    def grid(self) -> Grid:
        """The volume's current grid."""
        return gridFromNode(self.volumeNode)

    def hasSegment(self, segmentId: str) -> bool:
        """Whether the segmentation still has the segment."""
        return self.segmentationNode.GetSegmentation().GetSegment(segmentId) is not None

    def overwritable(self, segmentId: str) -> list[str]:
        """IDs of the other segments that a write may take voxels from in the user's overwrite mode."""
        if not self.rules.mayOverwrite:
            return []
        return [other for other in self.segmentationNode.GetSegmentation().GetSegmentIDs() if other != segmentId]

    def readBox(self, segmentId: str, origin: tuple[int, int, int], shape: tuple[int, int, int]) -> np.ndarray:
        """The segment's voxels in a box of the volume: first voxel (i, j, k), shape (k, j, i); bool (k, j, i).

        :raises InputError: no such segment, or its voxels are on another grid than the volume.
        """
        return self._readSegment(segmentId, self.grid(), origin, shape)

    def release(self) -> None:
        """Remove the writer's own editor node from its scene; the writer cannot be used afterwards."""
        scene = self._editorNode.GetScene()
        if scene is not None:
            scene.RemoveNode(self._editorNode)

    def saveStateForUndo(self) -> None:
        """Save the current state; call before a change. Unchanged states are saved once."""
        self._logic.SaveStateForUndo()

    def undo(self) -> bool:
        """Restore the last saved state; returns whether there was one."""
        if not self.canUndo:
            return False
        self._logic.Undo()
        return True

    def redo(self) -> bool:
        """Revert the last undo; returns whether there was one."""
        if not self.canRedo:
            return False
        self._logic.Redo()
        return True

    @property
    def canUndo(self) -> bool:
        """Whether there is a saved state to undo to."""
        return bool(self._logic.CanUndo())

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone state to redo to."""
        return bool(self._logic.CanRedo())

    def _ownEditorNode(self, scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentEditorNode:
        """A hidden editor node: selecting segments in the user's own node would change their display.

        One per segmentation: a logic's undo history is lost when its editor node switches to another segmentation.
        """
        node = _EDITOR_NODE()
        node.SetSingletonTag(f"SAMLiverTumor.{self.segmentationNode.GetID()}")
        node.SetName("SAMLiverTumor segment writer")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = scene.AddNode(node)
        node.SetAndObserveSegmentationNode(self.segmentationNode)
        node.SetAndObserveSourceVolumeNode(self.volumeNode)
        return node

    def _applyRules(self, segmentId: str) -> None:
        self._select(segmentId)
        self.rules.applyTo(self._editorNode, self.segmentationNode)

    def _allowEverything(self, segmentId: str) -> None:
        self._select(segmentId)
        allowEverything(self._editorNode)

    def _select(self, segmentId: str) -> None:
        self._editorNode.SetAndObserveSegmentationNode(self.segmentationNode)
        self._editorNode.SetAndObserveSourceVolumeNode(self.volumeNode)
        self._editorNode.SetSelectedSegmentID(segmentId)

    def _checkBelongs(self, mask: Mask, volume: Grid) -> None:
        if mask.dimensions != volume.dimensions or not np.allclose(mask.ijk_to_ras, volume.ijk_to_ras, atol=1e-6):
            raise InputError(
                f"The mask was made for another volume than '{volume.name}', or the volume has been moved or "
                "transformed since; segment again."
            )

    def _editingLattice(self, segmentId: str, volume: Grid) -> tuple[np.ndarray, np.ndarray]:
        """The lattice to edit on, and the offset from the volume's voxel indices to its own.

        Editing on another lattice than a labelmap's would resample it and every segment that shares it.
        """
        segmentLabelmap(self.segmentationNode, segmentId)
        wanted = volumeLattice(volume.ijk_to_ras, self.segmentationNode)
        layers = labelmapsWithVoxels(self.segmentationNode)
        reference = referenceLattice(self.segmentationNode)
        if reference is None or (not layers and latticeShift(reference, wanted, volume.dimensions) is None):
            self.segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(self.volumeNode)
            reference = referenceLattice(self.segmentationNode)
        offset = latticeShift(reference, wanted, volume.dimensions)
        if offset is None or any(
            latticeShift(imageLattice(layer), wanted, volume.dimensions) is None for layer in layers
        ):
            raise InputError(
                f"Segmentation '{self.segmentationNode.GetName()}' has another voxel grid or position than volume "
                f"'{volume.name}'; put both under the same transform, or make a new segmentation for this volume."
            )
        return reference, offset

    def _readSegment(self, segmentId: str, volume: Grid, origin, shape) -> np.ndarray:
        labelmap, labelValue = segmentLabelmap(self.segmentationNode, segmentId)
        if labelmap is None:
            return np.zeros(shape, bool)
        wanted = volumeLattice(volume.ijk_to_ras, self.segmentationNode)
        shift = latticeShift(imageLattice(labelmap), wanted, volume.dimensions)
        return readBox(labelmap, labelValue, np.array(origin) + shift, shape)

    def _modify(self, segmentId: str, box: np.ndarray, start: np.ndarray, lattice: np.ndarray, mode: int) -> None:
        filled = np.argwhere(box)
        if not len(filled):
            return
        low, high = filled.min(axis=0), filled.max(axis=0) + 1
        part = box[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        image = boxImage(part, start + low[::-1], lattice)
        self._logic.ModifySegmentByLabelmap(self.segmentationNode, segmentId, image, mode, True, False)


def _unionBox(mask: Mask, previous: Mask | None) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First voxel (i, j, k) and shape (k, j, i) of the box around both masks; one of them has voxels."""
    masks = [m for m in (mask, previous) if m is not None and m.count]
    low = np.min([m.origin for m in masks], axis=0)
    high = np.max([np.array(m.origin) + m.array.shape[::-1] for m in masks], axis=0)
    return tuple(int(x) for x in low), tuple(int(x) for x in (high - low)[::-1])


def _inBox(mask: Mask | None, origin: tuple[int, int, int], shape: tuple[int, int, int]) -> np.ndarray:
    """The mask in a box that holds all of it, bool (k, j, i)."""
    box = np.zeros(shape, bool)
    if mask is not None and mask.count:
        first = [m - o for m, o in zip(mask.origin, origin, strict=True)][::-1]
        box[tuple(slice(f, f + n) for f, n in zip(first, mask.array.shape, strict=True))] = mask.array
    return box
