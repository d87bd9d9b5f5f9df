"""`Phases`: further phases of a volume as channels for a session, and their registration."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from SAMLiverTumorLib.errors import InputError, SAMLiverTumorError
from SAMLiverTumorLib.image.channels import FurtherChannel, further_channel
from SAMLiverTumorLib.image.pending_channel import PendingChannel
from SAMLiverTumorLib.mrml.nodes.conversions import gridFromNode, nodeToWorldMatrix
from SAMLiverTumorLib.mrml.session.jobs.slice_jobs import VolumeSource
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.image.registration import Registration

REGISTRATION_ATTRIBUTE = "SAMLiverTumor.Registration"
"""Marks transforms made by `moveOnto`, and records the registration."""

CUSTOM = "custom"

Phase = tuple[slicer.vtkMRMLScalarVolumeNode, str]
"""A volume node and the window that the network sees it with; see `image.channels.further_channel`."""


class Phases:
    """Channels of further phases, recomputed only if a volume, its position or its window has changed."""

    def __init__(self) -> None:
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._phases: tuple[Phase, ...] = ()
        self._known: list[tuple[tuple, PendingChannel]] = []
        #: The last request, as MRML modification times.
        self._asked: tuple = ()

    def choose(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None, phases: Sequence[Phase]) -> None:
        """Set the further phases of a volume, at most two."""
        self._volumeNode, self._phases = volumeNode, tuple(phases)

    def channels(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> tuple[PendingChannel, ...]:
        """The channels of a volume for its current phases; the same objects as long as nothing changes.

        Nothing is computed here; an unusable phase is reported when it is needed.
        """
        if volumeNode is None or volumeNode is not self._volumeNode:
            # they hold voxels of nodes that may be gone
            self._known, self._asked = [], ()
            return ()
        phases = [phase for phase in self._phases if phase[0].GetScene() is not None]
        # called a dozen times per panel update, and each numpy call waits for the worker's
        asked = (_changes(volumeNode), *((_changes(node), window) for node, window in phases))
        if asked == self._asked:
            return tuple(channel for _, channel in self._known)
        self._asked = asked
        keys = [_key(volumeNode, phase) for phase in phases]
        known = dict(self._known)
        self._known = [
            (key, known.get(key) or _pending(volumeNode, *phase)) for key, phase in zip(keys, phases, strict=True)
        ]
        return tuple(channel for _, channel in self._known)


def chosenPhases(parameters: Any) -> tuple[Phase, ...]:
    """The phases that a parameter node names."""
    phases = []
    for node, window, low, high in (
        (parameters.phase1, parameters.phase1Window, parameters.phase1Low, parameters.phase1High),
        (parameters.phase2, parameters.phase2Window, parameters.phase2Low, parameters.phase2High),
    ):
        if node is not None:
            phases.append((node, f"{low:g},{high:g}" if window == CUSTOM else window))
    return tuple(phases)


def heldVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Callable[[], Volume]:
    """A function that returns the node's voxels as a `Volume`, in any thread, without accessing the node again.

    The check of all voxels for NaN is left to that thread.

    :raises InputError: no image in the node, or a non-linear parent transform.
    """
    grid, array = gridFromNode(volumeNode), slicer.util.arrayFromVolume(volumeNode)
    return lambda: Volume(array, grid.ijk_to_ras, grid.name)


def moveOnto(
    phaseNode: slicer.vtkMRMLScalarVolumeNode, registration: Registration, volumeName: str
) -> slicer.vtkMRMLLinearTransformNode:
    """Move a phase by a registration: under a transform of its own, replacing any that it had.

    Its voxels are unchanged; without the transform it returns to its old position.

    :param registration: computed for the phase at its current position.
    :param volumeName: the volume that it is moved onto.
    :return: the transform; an earlier one of ours that moves nothing else is reused.
    """
    scene = phaseNode.GetScene()
    matrix = np.linalg.inv(registration.matrix) @ nodeToWorldMatrix(phaseNode)
    transformNode = phaseNode.GetParentTransformNode()
    if not _isOurs(transformNode) or _isShared(transformNode, phaseNode):
        transformNode = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"{phaseNode.GetName()} to {volumeName}")
    record = {"registration": registration.as_dict(), "matrix": matrix.tolist()}
    transformNode.SetAttribute(REGISTRATION_ATTRIBUTE, json.dumps(record))
    transformNode.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    phaseNode.SetAndObserveTransformNodeID(transformNode.GetID())
    return transformNode


def registrationRecord(phaseNode: slicer.vtkMRMLScalarVolumeNode) -> dict | None:
    """The registration applied by `moveOnto`; None if the phase has been moved since, or by other means."""
    transformNode = phaseNode.GetParentTransformNode()
    if not _isOurs(transformNode):
        return None
    try:
        record = json.loads(transformNode.GetAttribute(REGISTRATION_ATTRIBUTE))
        matrix = np.array(record["matrix"], float).reshape(4, 4)
        isStill = np.allclose(nodeToWorldMatrix(phaseNode), matrix, atol=1e-6)
        return record["registration"] if isStill else None
    except (SAMLiverTumorError, KeyError, TypeError, ValueError):
        return None


def _changes(node: slicer.vtkMRMLScalarVolumeNode) -> tuple:
    """Changes whenever the node, its voxels or its position change, and sometimes without a change."""
    image, transformNode = node.GetImageData(), node.GetParentTransformNode()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    place = (transformNode.GetID(), transformNode.GetTransformToWorldMTime()) if transformNode is not None else ()
    voxels = (scalars.__this__, scalars.GetMTime()) if scalars is not None else ()
    return (node.GetID(), node.GetMTime(), voxels, place)


def _key(volumeNode: slicer.vtkMRMLScalarVolumeNode, phase: Phase) -> tuple:
    node, window = phase
    try:
        states = VolumeSource(volumeNode).state(), VolumeSource(node).state()
    except SAMLiverTumorError as error:
        states = (str(error),)
    return (volumeNode.GetID(), node.GetID(), node.GetName(), window, states)


def _pending(volumeNode: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode, window: str):
    name = node.GetName()
    try:
        if node is volumeNode:
            raise InputError(f"'{name}' is the volume itself; choose another phase or modality beside it.")
        first, other, record = heldVolume(volumeNode), heldVolume(node), registrationRecord(node)
    except InputError as error:
        refused = PendingChannel(name, lambda cancel, progress: ((), ()))
        refused.error = str(error)
        return refused

    def make(cancel, progress) -> tuple[FurtherChannel, tuple[str, ...]]:
        channel, notes = further_channel(first(), other(), window, cancel=cancel, progress=progress)
        if record is not None:
            from SAMLiverTumorLib.image.registration import Registration

            channel = replace(channel, registration=Registration.from_dict(record))
        # for the provenance, which is written in the thread that owns the scene
        _ = channel.volume.voxel_hash
        return channel, notes

    return PendingChannel(name, make)


def _isOurs(transformNode: slicer.vtkMRMLTransformNode | None) -> bool:
    return transformNode is not None and bool(transformNode.GetAttribute(REGISTRATION_ATTRIBUTE))


def _isShared(transformNode: slicer.vtkMRMLTransformNode, phaseNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the transform also moves other nodes, or has a parent transform itself."""
    if transformNode.GetParentTransformNode() is not None:
        return True
    scene = phaseNode.GetScene()
    nodes = scene.GetNodesByClass("vtkMRMLTransformableNode")
    nodes.UnRegister(None)
    return any(
        node is not phaseNode and node.GetParentTransformNode() is transformNode
        for node in (nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems()))
    )
