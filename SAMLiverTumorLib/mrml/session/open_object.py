"""`OpenObject`: the voxels that the current prompts have added to a segment, and can still remove.

It is the union of one mask per prompted slice, without the pieces that exclude points cut off. A changed slice replaces
its own share. Voxels that were in the segment before, such as those painted by hand, are removed only as such a piece,
and returned with the prompt. Voxels taken from other segments by the user's overwrite mode
are returned when the object releases them.
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
"""Key of the share found by text in the whole volume; it belongs to no slice and no prompt."""


@dataclass(frozen=True, eq=False)
class SliceShare:
    """What one slice adds to the object.

    :param promptKey: identifies the prompts that the slice was last settled for.
    :param mask: its voxels; None if it has none, such as on slices whose prompts came with a loaded scene.
    :param model: provenance of the model, or None.
    :param isPropagated: whether the slice has no prompts of its own and was reached by propagation.
    :param provenance: its origin, if it does not come from prompts.
    :param cut: what exclude points on the slice take away, whether the object has added it or not.
    """

    promptKey: Hashable
    mask: Mask | None = None
    model: dict | None = None
    isPropagated: bool = False
    provenance: dict | None = None
    cut: Mask | None = None


@dataclass(frozen=True, eq=False)
class OpenObject:
    """An immutable value, so that undo can keep and restore it.

    :param volumeKey: the volume whose grid the masks lie on, as (node ID, dimensions).
    :param slices: shares by slice.
    :param added: voxels of the segment that this object has added.
    :param removed: voxels that were in the segment before and that this object has removed.
    :param taken: voxels it has taken from other segments, by segment ID.
    :param provenance: its entry in the segment's provenance.
    :param propagation: the propagation through the volume, to continue from; None if there was none.
    """

    volumeKey: VolumeKey
    slices: Mapping[Hashable, SliceShare] = field(default_factory=dict)
    added: Mask | None = None
    removed: Mask | None = None
    taken: Mapping[str, Mask] = field(default_factory=dict)
    provenance: dict | None = None
    propagation: Propagation | None = None

    @property
    def hasVoxels(self) -> bool:
        """Whether the object added anything to the segment."""
        return self.added is not None and self.added.array.size > 0

    @property
    def hasChanges(self) -> bool:
        """Whether the object added anything to the segment or removed anything from it."""
        return self.hasVoxels or (self.removed is not None and self.removed.array.size > 0)

    def withShare(self, key: Hashable, share: SliceShare | None) -> OpenObject:
        """The object with one slice's share replaced (None removes it) and its voxels unchanged."""
        slices = {k: s for k, s in self.slices.items() if k != key}
        return replace(self, slices=slices if share is None else {**slices, key: share})


def setShare(
    writer: SegmentWriter, segmentId: str, target: OpenObject, key: Hashable, share: SliceShare | None
) -> OpenObject:
    """Replace one slice's share (None removes it) in the segment; only the box of what changes is written.

    :return: the changed object.
    :raises InputError: see `SegmentWriter.write`; the segment and `target` are unchanged.
    """
    old, changed = target.slices.get(key), target.withShare(key, share)
    box = unionBox(mask for part in (old, share) if part is not None for mask in (part.mask, part.cut))
    if box is None:
        return changed
    grid = writer.grid()
    origin, shape = box
    wanted, cut = np.zeros(shape, bool), np.zeros(shape, bool)
    for other in changed.slices.values():
        if other.mask is not None:
            wanted |= inBox(other.mask, origin, shape)
        if other.cut is not None:
            cut |= inBox(other.cut, origin, shape)
    wanted &= ~cut
    wasRemoved = inBox(target.removed, origin, shape)
    if (wasRemoved & ~cut).any():
        writer.put(segmentId, add=_mask(wasRemoved & ~cut, grid, origin))
    others = writer.overwritable(segmentId)
    before = {other: writer.readBox(other, origin, shape) for other in others}
    ours = inBox(target.added, origin, shape)
    written = writer.write(
        segmentId, _mask(wanted, grid, origin), previous=_mask(ours, grid, origin) if ours.any() else None
    )
    added = inBox(written, origin, shape)
    removed = wasRemoved & cut
    if cut.any():
        present = writer.readBox(segmentId, origin, shape) & cut
        removed |= present
        if present.any():
            writer.put(segmentId, remove=_mask(present, grid, origin))
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
        removed=_withBox(target.removed, removed, grid, origin) if removed.any() or target.removed else None,
        taken={other: mask for other, mask in taken.items() if mask.count},
    )


def restoreVoxels(writer: SegmentWriter, segmentId: str, present: OpenObject, wanted: OpenObject) -> None:
    """Replace the voxels that `present` added by those of `wanted`, for undo and redo.

    The user's masking and overwrite mode are ignored: the earlier state is restored exactly.

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
    writer.put(
        segmentId,
        add=_minus(present.removed, wanted.removed, grid),
        remove=_minus(wanted.removed, present.removed, grid),
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
    """Voxels of a mask that another lacks, on the volume's current grid; None if there are none."""
    if mask is None or not mask.array.size:
        return None
    left = mask.array & ~inBox(other, mask.origin, mask.array.shape)
    return _mask(left, grid, mask.origin) if left.any() else None
