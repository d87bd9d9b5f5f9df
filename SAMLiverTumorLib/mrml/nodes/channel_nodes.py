"""Volume nodes of other phases or modalities as further network channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import slicer

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.channels import MOST_FURTHER, FurtherChannel, further_channel
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.mrml.nodes.conversions import volumeFromNode


def furtherChannels(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    furtherNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
    windows: Sequence[str | Window] = (),
    register: bool = False,
    note: Callable[[str], None] = print,
) -> tuple[FurtherChannel, ...]:
    """Bring other phases or modalities onto a volume's voxels, for `Settings(further=...)`.

    Each is used at its position in the scene, parent transforms included: a phase registered in Slicer needs no further
    step. The nodes are only read.

    :param furtherNodes: one or two volume nodes.
    :param windows: for each, a preset's name, "LOW,HIGH", "percentile" or a `Window`; "auto" if missing.
    :param register: register each to the volume, rigidly; its node in the scene is not moved.
    :param note: called with lines about the position of each and how far it was moved.
    :raises InputError: too many, without an image, without overlap, or a registration that failed.

    >>> further = furtherChannels(portalNode, [arterialNode])                               # doctest: +SKIP
    >>> segmentNodes(portalNode, roiNode=roiNode, settings=Settings(further=further))       # doctest: +SKIP
    """
    if len(furtherNodes) > MOST_FURTHER:
        raise InputError(f"{len(furtherNodes)} further volumes are too many; the network has room for {MOST_FURTHER}.")
    first, channels = volumeFromNode(volumeNode), []
    for n, furtherNode in enumerate(furtherNodes):
        window = windows[n] if n < len(windows) else "auto"
        channel, notes = further_channel(first, volumeFromNode(furtherNode), window, register)
        channels.append(channel)
        for line in notes:
            note(line)
    return tuple(channels)
