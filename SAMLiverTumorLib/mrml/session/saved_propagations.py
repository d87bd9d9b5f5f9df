"""`SavedPropagations`: propagations saved with the scene, so that corrections can continue from them.

A hidden text node per segment and volume holds the propagation and the voxels that it added. Which slices are prompted
is not stored again: the prompt nodes say it.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import slicer

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.sampling import mask_to_voxels
from SAMLiverTumorLib.inference.propagation.serialization import packed, unpacked
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.mask import Mask, union
from SAMLiverTumorLib.mrml.nodes.conversions import Grid, gridFromNode
from SAMLiverTumorLib.mrml.nodes.prompt_nodes import SEGMENT_ATTRIBUTE, SEGMENTATION_REFERENCE
from SAMLiverTumorLib.mrml.session.jobs.propagation_plan import plannedOn, propagatedKey
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.mrml.session.jobs.slice_plan import Plan
from SAMLiverTumorLib.mrml.session.open_object import OpenObject, SliceShare, VolumeKey, inBox
from SAMLiverTumorLib.mrml.session.prompted_segment import PromptedSegment

VOLUME_REFERENCE = "SAMLiverTumor.Volume"


@dataclass(frozen=True, eq=False)
class _Kept:
    """The content of a node: an object, and its propagation as text."""

    part: OpenObject
    text: str


class SavedPropagations:
    """Writes the scene's text nodes when a propagation has changed, and restores objects from loaded ones.

    :param scene: where the nodes are.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._kept: WeakKeyDictionary[PromptedSegment, dict[VolumeKey, _Kept]] = WeakKeyDictionary()

    def keep(self, target: PromptedSegment) -> None:
        """Update a segment's nodes from its objects; cheap if nothing has changed."""
        kept = self._kept.setdefault(target, {})
        for key in {*kept, *target.objects}:
            part, before = target.objectOn(key), kept.get(key)
            if part.propagation is None:
                if kept.pop(key, None) is not None:
                    self._remove(target, key)
            elif before is None or before.part is not part:
                isSame = before is not None and before.part.propagation is part.propagation
                text = before.text if isSame else base64.b64encode(packed(part.propagation)).decode()
                kept[key] = _Kept(part, text)
                self._write(target, key, kept[key])

    def forget(self, target: PromptedSegment) -> None:
        """Remove the nodes of a segment that is gone."""
        for key in self._kept.pop(target, {}):
            self._remove(target, key)

    def restored(self, target: PromptedSegment, source: VolumeSource, plan: Plan) -> OpenObject | None:
        """The object of a propagation saved in the scene; None if there is none that fits the prompts.

        :raises InputError: it is damaged.
        """
        node = self._node(target, source.key)
        if node is None:
            return None
        try:
            said = parse_json(node.GetText() or "")
            part = _objectOf(said, source, plan)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            raise InputError(f"The saved propagation '{node.GetName()}' cannot be read: {error!r}") from error
        if part is not None:
            self._kept.setdefault(target, {})[source.key] = _Kept(part, said["propagation"])
        return part

    def _write(self, target: PromptedSegment, key: VolumeKey, kept: _Kept) -> None:
        volumeNode = self._scene.GetNodeByID(key[0])
        if volumeNode is None or not target.exists:
            return
        node = self._node(target, key)
        if node is None:
            name = target.segmentationNode.GetSegmentation().GetSegment(target.segmentId).GetName()
            node = slicer.vtkMRMLTextNode()
            node.SetName(f"{name} run")
            node.SetHideFromEditors(True)
            # inside the scene file: a separate file could be left behind
            node.SetForceCreateStorageNode(node.CreateStorageNodeNever)
            node.SetAttribute(SEGMENT_ATTRIBUTE, target.segmentId)
            node = self._scene.AddNode(node)
            node.SetNodeReferenceID(SEGMENTATION_REFERENCE, target.segmentationNode.GetID())
            node.SetNodeReferenceID(VOLUME_REFERENCE, volumeNode.GetID())
        said = {
            "propagation": kept.text,
            "added": _ofMask(kept.part.added),
            "removed": _ofMask(kept.part.removed),
            "taken": {segmentId: _ofMask(mask) for segmentId, mask in kept.part.taken.items()},
            "provenance": kept.part.provenance,
        }
        node.SetText(json.dumps(said, separators=(",", ":")))

    def _remove(self, target: PromptedSegment, key: VolumeKey) -> None:
        node = self._node(target, key)
        if node is not None:
            self._scene.RemoveNode(node)

    def _node(self, target: PromptedSegment, key: VolumeKey) -> slicer.vtkMRMLTextNode | None:
        for n in range(self._scene.GetNumberOfNodesByClass("vtkMRMLTextNode")):
            node = self._scene.GetNthNodeByClass(n, "vtkMRMLTextNode")
            isOfSegment = (
                node.GetAttribute(SEGMENT_ATTRIBUTE) == target.segmentId
                and node.GetNodeReference(SEGMENTATION_REFERENCE) is target.segmentationNode
            )
            if isOfSegment and node.GetNodeReferenceID(VOLUME_REFERENCE) == key[0]:
                return node
        return None


def _objectOf(said: dict, source: VolumeSource, plan: Plan) -> OpenObject | None:
    """The saved object with the current prompts; None if one of its prompted slices no longer has any."""
    volume, grid = source.volume(), gridFromNode(source.node)
    propagation = unpacked(base64.b64decode(said["propagation"]), volume)
    planned = plannedOn(plan, propagation.stack)
    if any(anchor.prompts is not None and anchor.index not in planned for anchor in propagation.anchors):
        return None
    slices = {key: SliceShare(each.promptKey) for key, each in {**plan.slices, **plan.lone}.items()}
    slices.update({each.key: SliceShare(each.planned.promptKey) for each in planned.values()})
    for index, each in propagation.slices.items():
        mask = mask_to_voxels(each.slice_mask, propagation.stack.plane(index), volume)
        model = propagation.provenance["models_by_name"].get(each.result.model)
        model = None if model is None else {**model, "mode": "volume"}
        if index in planned:
            slices[planned[index].key] = SliceShare(planned[index].planned.promptKey, mask, model)
        else:
            slices[propagatedKey(propagation.stack, index)] = SliceShare(None, mask, model, isPropagated=True)
    added = _maskOf(said["added"], grid)
    # voxels added from slices of other views count as existing before
    ours = union([share.mask for share in slices.values() if share.mask is not None], volume)
    added = Mask.from_array(ours.array & inBox(added, ours.origin, ours.array.shape), grid, ours.origin)
    taken = {segmentId: _maskOf(mask, grid) for segmentId, mask in said["taken"].items()}
    removed = _maskOf(said.get("removed"), grid)
    return OpenObject(source.key, slices, added, removed, taken, said["provenance"], propagation)


def _ofMask(mask: Mask | None) -> dict | None:
    if mask is None:
        return None
    bits = base64.b64encode(zlib.compress(np.packbits(mask.array).tobytes(), 1)).decode()
    return {"origin": mask.origin, "shape": mask.array.shape, "bits": bits}


def _maskOf(said: dict | None, grid: Grid) -> Mask | None:
    """A mask on the volume's grid at its current position."""
    if said is None:
        return None
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(said["bits"])), np.uint8))
    shape = tuple(said["shape"])
    array = bits[: int(np.prod(shape))].reshape(shape).astype(bool)
    return Mask(array, tuple(said["origin"]), grid.dimensions, grid.ijk_to_ras)
