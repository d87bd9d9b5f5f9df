"""`OpenObject`: what the present prompts have put into a segment, and can still take back.

It is the union of one mask per prompted slice. A changed slice replaces its own share; voxels that were in
the segment before, painted by hand for instance, are never among those taken back. Voxels taken from other
segments by the user's overwrite mode are given back when the object lets go of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from SAMLiverTumorLib.inference.propagation.result import Propagation
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.mrml.nodes.conversions import Grid
from SAMLiverTumorLib.mrml.segments.segment_writer import SegmentWriter

VolumeKey = tuple[str, tuple[int, int, int]]
FOUND = ("found", 0)
"""Key of the one share that text found in the whole volume; no prompt on any slice speaks for it."""


@dataclass(frozen=True, eq=False)
class SliceShare:
    """What one slice adds to the object.

    :param promptKey: names the prompts that the slice was last settled for.
    :param mask: its voxels; None where it has none, such as on slices whose prompts came with a loaded scene.
    :param model: provenance of the model, or None.
    :param isFollowed: whether the slice has no prompts of its own: the tumor was followed to it.
    :param provenance: how it came about, where prompts do not say it.
    """

    promptKey: Hashable
    mask: Mask | None = None
    model: dict | None = None
    isFollowed: bool = False
    provenance: dict | None = None


@dataclass(frozen=True, eq=False)
class OpenObject:
    """An immutable value, so that undo can keep and restore it.

    :param volumeKey: the volume on whose grid the masks are, as (node ID, dimensions).
    :param slices: shares by slice.
    :param added: voxels of the segment that are there because of this object.
    :param taken: what it has taken from other segments, by segment ID.
    :param provenance: the entry that the segment's provenance has for it.
    :param propagation: how the tumor was followed through the volume, to go on from; None if it was not.
    """

    volumeKey: VolumeKey
    slices: Mapping[Hashable, SliceShare] = field(default_factory=dict)
    added: Mask | None = None
    taken: Mapping[str, Mask] = field(default_factory=dict)
    provenance: dict | None = None
    propagation: Propagation | None = None

    @property
    def hasVoxels(self) -> bool:
        """Whether the object put anything into the segment."""
        return self.added is not None and self.added.array.size > 0

    def withShare(self, key: Hashable, share: SliceShare | None) -> OpenObject:
        """The object with one slice's share noted otherwise (None: without it), its voxels left as they are."""
        slices = {k: s for k, s in self.slices.items() if k != key}
        return replace(self, slices=slices if share is None else {**slices, key: share})


def setShare(
    writer: SegmentWriter, segmentId: str, target: OpenObject, key: Hashable, share: SliceShare | None
) -> OpenObject:
    """Replace one slice's share (None takes it away) in the segment; only the box of what changes is written.

    :return: the object as it is then.
    :raises InputError: see `SegmentWriter.write`; the segment and `target` are as they were.
    """
    old, changed = target.slices.get(key), target.withShare(key, share)
    box = unionBox(part.mask for part in (old, share) if part is not None)
    if box is None:
        return changed
    grid = writer.grid()
    origin, shape = box
    wanted = np.zeros(shape, bool)
    for other in changed.slices.values():
        if other.mask is not None:
            wanted |= inBox(other.mask, origin, shape)
    others = writer.overwritable(segmentId)
    before = {other: writer.readBox(other, origin, shape) for other in others}
    ours = inBox(target.added, origin, shape)
    written = writer.write(
        segmentId, _mask(wanted, grid, origin), previous=_mask(ours, grid, origin) if ours.any() else None
    )
    added = inBox(written, origin, shape)
    taken = dict(target.taken)
    for other in {*others, *taken}:
        was = inBox(taken.get(other), origin, shape)
        kept = was & added
        if other in before:
            kept |= before[other] & ~writer.readBox(other, origin, shape)
        if other in taken and writer.hasSegment(other):
            writer.put(other, add=_mask(was & ~added, grid, origin))
        taken[other] = _withBox(taken.get(other), kept, grid, origin)
    return replace(
        changed,
        added=_withBox(target.added, added, grid, origin),
        taken={other: mask for other, mask in taken.items() if mask.count},
    )


def restoreVoxels(writer: SegmentWriter, segmentId: str, present: OpenObject, wanted: OpenObject) -> None:
    """Turn the voxels that `present` put into the segments into those of `wanted`; for undo and redo.

    Nothing is asked of the user's masking and overwrite mode: what was there is there again.

    :raises InputError: the segmentation is no longer on the volume's grid.
    """
    grid = writer.grid()
    for other in {*present.taken, *wanted.taken}:
        if writer.hasSegment(other):
            writer.put(other, remove=_minus(wanted.taken.get(other), present.taken.get(other), grid))
    writer.put(
        segmentId,
        add=_minus(wanted.added, present.added, grid),
        remove=_minus(present.added, wanted.added, grid),
    )
    for other in {*present.taken, *wanted.taken}:
        if writer.hasSegment(other):
            writer.put(other, add=_minus(present.taken.get(other), wanted.taken.get(other), grid))


def unionBox(masks: Iterable[Mask | None]) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """First voxel (i, j, k) and shape (k, j, i) of the box around all masks; None where all are empty."""
    filled = [mask for mask in masks if mask is not None and mask.array.size]
    if not filled:
        return None
    low = np.min([mask.origin for mask in filled], axis=0)
    high = np.max([np.add(mask.origin, mask.array.shape[::-1]) for mask in filled], axis=0)
    return tuple(int(x) for x in low), tuple(int(x) for x in (high - low)[::-1])


def inBox(mask: Mask | None, origin: tuple[int, int, int], shape: tuple[int, int, int]) -> np.ndarray:
    """The part of a mask that lies in a box, bool (k, j, i)."""
    box = np.zeros(shape, bool)
    if mask is None or not mask.array.size:
        return box
    low = np.maximum(origin, mask.origin)
    high = np.minimum(np.add(origin, shape[::-1]), np.add(mask.origin, mask.array.shape[::-1]))
    if (low < high).all():
        to, of = (
            tuple(slice(int(a - o), int(b - o)) for a, b, o in zip(low, high, first, strict=True))[::-1]
            for first in (origin, mask.origin)
        )
        box[to] = mask.array[of]
    return box


def _mask(array: np.ndarray, grid: Grid, origin: tuple[int, int, int]) -> Mask:
    return Mask.from_array(array, grid, origin)


def _withBox(mask: Mask | None, part: np.ndarray, grid: Grid, origin: tuple[int, int, int]) -> Mask:
    """The mask with the contents of a box replaced."""
    around = unionBox([mask, Mask(part, origin, grid.dimensions, grid.ijk_to_ras)])
    first, shape = around
    whole = inBox(mask, first, shape)
    start = [o - f for o, f in zip(origin, first, strict=True)][::-1]
    whole[tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))] = part
    return _mask(whole, grid, first)


def _minus(mask: Mask | None, other: Mask | None, grid: Grid) -> Mask | None:
    """Voxels of a mask that another lacks, on the volume's present grid; None where there are none."""
    if mask is None or not mask.array.size:
        return None
    left = mask.array & ~inBox(other, mask.origin, mask.array.shape)
    return _mask(left, grid, mask.origin) if left.any() else None
