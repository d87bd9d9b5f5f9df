"""`ObjectWriter`: writes open objects, with provenance, into the segmentations of a scene."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import slicer

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.inference.segment_slices import Settings, further_entry
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.segments.editor_rules import EditorRules
from SAMLiverTumorLib.mrml.segments.segments import SegmentWriter, replaceProvenance
from SAMLiverTumorLib.mrml.session.open_object import FOUND, OpenObject, SliceShare, VolumeKey, restoreVoxels, setShare
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment
from SAMLiverTumorLib.plane import Plane
from SAMLiverTumorLib.prompts import Prompts
from SAMLiverTumorLib.versions import versions


class ObjectWriter:
    """Keeps one `SegmentWriter` per segmentation.

    :param scene: where the volumes are.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._writers: dict[slicer.vtkMRMLSegmentationNode, SegmentWriter] = {}
        self._versions: dict[str, str] | None = None
        #: Which of the user's Segment Editor settings apply.
        self.rules = EditorRules()
        #: Whether voxels are being written now: events meanwhile are not edits by the user.
        self.isWriting = False

    def set(self, target: PromptedSegment, volumeKey: VolumeKey, key: Hashable, share: SliceShare | None) -> None:
        """Replace one slice's share of the segment's object on a volume.

        :raises InputError: the segment cannot be written; then nothing has changed.
        """
        writer = self._writer(target, volumeKey)
        with self._writing():
            target.keep(setShare(writer, target.segmentId, target.objectOn(volumeKey), key, share))

    def voxelsOn(self, target: PromptedSegment, volumeKey: VolumeKey, plane: Plane) -> Mask | None:
        """The segment's voxels on one slice of the volume's grid; None for an oblique plane.

        :raises InputError: the segmentation lies on another voxel grid.
        """
        if plane.axis is None:
            return None
        writer = self._writer(target, volumeKey)
        grid = writer.grid()
        origin, size = [0, 0, 0], list(grid.dimensions)
        origin[plane.axis], size[plane.axis] = plane.index, 1
        box = writer.readBox(target.segmentId, tuple(origin), tuple(size[::-1]))
        return Mask.from_array(box, grid, tuple(origin))

    def restore(self, target: PromptedSegment, objects: Mapping[VolumeKey, OpenObject], areVoxelsThere: bool) -> None:
        """Restore the segment's voxels and provenance to earlier objects.

        :param areVoxelsThere: the voxels already match.
        :raises InputError: the segment cannot be written.
        """
        for volumeKey in dict.fromkeys([*target.objects, *objects]):
            present, wanted = target.objectOn(volumeKey), objects.get(volumeKey) or OpenObject(volumeKey)
            if not areVoxelsThere and (present.hasChanges or wanted.hasChanges):
                with self._writing():
                    restoreVoxels(self._writer(target, volumeKey), target.segmentId, present, wanted)
            if present.provenance != wanted.provenance:
                replaceProvenance(target.segmentationNode, target.segmentId, present.provenance, wanted.provenance)
            target.keep(wanted)

    def recordProvenance(
        self, target: PromptedSegment, volumeKey: VolumeKey, prompts: Prompts | None, settings: Settings
    ) -> None:
        """Update the object's entry in the segment's provenance.

        :raises InputError: the provenance tag is damaged.
        """
        part = target.objectOn(volumeKey)
        found = part.slices[FOUND].provenance if FOUND in part.slices else None
        # pieces that exclude points have removed, as voxels by slice
        cuts = {
            f"{name} {where}": share.cut.count for (name, where), share in part.slices.items() if share.cut is not None
        }
        entry = found if part.hasVoxels else None
        if (part.hasVoxels or cuts) and prompts is not None:
            self._versions = self._versions or versions()
            prompted = {key: share for key, share in part.slices.items() if key != FOUND}
            models = [share.model for share in prompted.values() if share.model is not None]
            said = {
                "models": [model for n, model in enumerate(models) if model not in models[:n]],
                "prompts": prompts.as_dict(),
                "orientation": ", ".join(dict.fromkeys(str(key[0]) for key in prompted)),
                "channels": settings.channels,
                "quality": settings.quality,
                **further_entry(settings),
                "versions": self._versions,
                **({"removed": cuts} if cuts else {}),
            }
            if found is None or models or cuts:
                entry = said if found is None else {**said, "found": found}
        if entry != part.provenance:
            replaceProvenance(target.segmentationNode, target.segmentId, part.provenance, entry)
            target.keep(replace(part, provenance=entry))

    def drop(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        """Forget a segmentation that was deleted."""
        writer = self._writers.pop(segmentationNode, None)
        if writer is not None:
            writer.release()

    def close(self, inScene: bool = True) -> None:
        """Forget all segmentations; pass `inScene=False` while the scene itself removes everything."""
        for writer in self._writers.values():
            if inScene:
                writer.release()
        self._writers.clear()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.isWriting = True
        try:
            yield
        finally:
            self.isWriting = False

    def _writer(self, target: PromptedSegment, volumeKey: VolumeKey) -> SegmentWriter:
        """The segmentation's writer, set to the volume."""
        volumeId, dimensions = volumeKey
        volumeNode = self._scene.GetNodeByID(volumeId)
        if volumeNode is None or volumeNode.GetImageData() is None:
            raise InputError("The volume this was segmented on is no longer in the scene.")
        if tuple(volumeNode.GetImageData().GetDimensions()) != dimensions:
            raise InputError(
                f"Volume '{volumeNode.GetName()}' has a different number of voxels than when it was segmented."
            )
        writer = self._writers.get(target.segmentationNode)
        if writer is None:
            writer = SegmentWriter(self._scene, target.segmentationNode, volumeNode)
            self._writers[target.segmentationNode] = writer
        writer.volumeNode = volumeNode
        writer.rules = self.rules
        return writer
