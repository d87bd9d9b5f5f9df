"""Volume nodes of other phases or modalities as further channels of the network."""

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
    """Bring other phases or modalities onto a volume's voxels, for `segmentNodes(..., further=...)`.

    Each lies where the scene shows it, parent transforms included: what was registered in Slicer needs nothing more.
    The nodes are only read.

    :param furtherNodes: one or two volume nodes.
    :param windows: for each a preset's name, "LOW,HIGH", "percentile" or a `Window`; "auto" where there is none.
    :param register: move each onto the volume, rigidly; the scene keeps it where it is.
    :param note: told how each lies, and how far it was moved.
    :raises InputError: too many, without an image, without overlap, or a registration that failed.

    >>> further = furtherChannels(portalNode, [arterialNode])                               # doctest: +SKIP
    >>> segmentNodes(portalNode, roiNode=roiNode, further=further)                          # doctest: +SKIP
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
