"""A whole lesion from its mask on one slice: crops in its scale, the network's answers, and what voxels they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SAMLiverTumorLib.errors import PromptError
from SAMLiverTumorLib.image.lesion_components import label_lesions
from SAMLiverTumorLib.image.mask_geometry import bounding_box
from SAMLiverTumorLib.image.sampling import mask_to_voxels, slice_mask_to_voxels
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.whole_tumor.channels import SliceMask, add_ball, slices_channel, stacked
from SAMLiverTumorLib.inference.whole_tumor.crop_grid import ACROSS_LESION, SIZE, CropGrid, grid_on_slice
from SAMLiverTumorLib.inference.whole_tumor.resampling import BlockSampler, resample
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.volume import Volume, apply_affine
from SAMLiverTumorLib.voxel_map import INSIDE, VoxelMap

Network = Callable[[np.ndarray], np.ndarray]
"""Channels (5, n, n, n), see `channels.stacked`, to logits (n, n, n)."""

# A lesion that leaves its crop is looked at in one this much wider at least, and so often: 10 mm become 20 cm in six.
_WIDER, _MOST_CROPS = 1.5, 8
# A crop around the answer is not worth another look if it were so similar: ratio of spacings, and voxels apart.
_SIMILAR, _NEAR = 1.2, 4.0
# Logit of what is not the lesion: pieces without connection to it, and what lies beyond the crop.
_NOT = -4.0


@dataclass(frozen=True, eq=False)
class WholeLesion:
    """What was found.

    :param mask: the lesion's voxels.
    :param probability: of each voxel in and around it; at least a half exactly in `mask`.
    :param crops: how many were looked at.
    :param cut: the lesion reaches the border of the last of them, so that there may be more of it.
    """

    mask: Mask
    probability: VoxelMap
    crops: int
    cut: bool = False


def segment_lesion(
    network: Network,
    volume: Volume,
    window: Window,
    slices: Sequence[SliceMask],
    include: np.ndarray | Sequence = (),
    exclude: np.ndarray | Sequence = (),
    previous: Mask | None = None,
    size: int = SIZE,
) -> WholeLesion:
    """Segment a lesion, or correct it.

    :param window: that shows what the wide window does.
    :param slices: masks of the lesion on slices; the first is the prompted one and not empty.
    :param include: (n, 3) clicks in the lesion, world RAS in mm.
    :param exclude: (n, 3) clicks beside it.
    :param previous: the lesion so far, if it is to be corrected.
    :raises PromptError: the first slice's mask is empty.

    >>> segment_lesion(network, ct, PRESETS["wide"], [SliceMask(plane, mask)]).mask.volume_ml  # doctest: +SKIP
    """
    if not slices or not slices[0].mask.any():
        raise PromptError("There is nothing on the slice that a lesion could be grown from; mark it there first.")
    clicks = [np.asarray(points, float).reshape(-1, 3) for points in (include, exclude)]
    question = _Question(network, volume, window, tuple(slices), clicks[0], clicks[1], previous)
    grid = grid_on_slice(slices[0].plane, slices[0].mask, size)
    correcting = previous is not None and previous.count > 0
    if correcting:
        grid = question.grid_around(previous, grid)
    settled, answer = correcting, _Answer(grid, np.full((size,) * 3, _NOT, np.float32), None, False)
    crops = 0
    while crops < _MOST_CROPS:
        answer, crops = question.ask(grid), crops + 1
        if answer.box is None:
            break
        following = question.placed(grid.around(*answer.box, ACROSS_LESION))
        if answer.cut:
            if following.spacing < _WIDER * grid.spacing:
                following = question.placed(replace(following, spacing=_WIDER * grid.spacing))
        elif settled or _similar(grid, following):
            break
        else:
            settled = True
        grid = following
    return _in_voxels(answer, question, crops)


@dataclass(frozen=True, eq=False)
class _Answer:
    """Logits (n, n, n) on a grid; the box (first, last crop index) of the lesion; whether it reaches the border."""

    grid: CropGrid
    logits: np.ndarray
    box: tuple[np.ndarray, np.ndarray] | None
    cut: bool


@dataclass(frozen=True, eq=False)
class _Question:
    network: Network
    volume: Volume
    window: Window
    slices: tuple[SliceMask, ...]
    include: np.ndarray
    exclude: np.ndarray
    previous: Mask | None

    def placed(self, grid: CropGrid) -> CropGrid:
        """The grid with the prompted slice in the middle of a layer."""
        return grid.with_layer_at(self.slices[0].plane.to_ras[:3, 3])

    def grid_around(self, mask: Mask, grid: CropGrid) -> CropGrid:
        """A grid like another one, around a mask and the clicks that include."""
        voxels = np.argwhere(mask.array)[:, ::-1] + mask.origin
        points = grid.from_ras(np.vstack([apply_affine(self.volume.ijk_to_ras, voxels), self.include]))
        margin = 0.5 * max(self.volume.spacing) / grid.spacing - 0.5
        return self.placed(grid.around(points.min(axis=0) - margin, points.max(axis=0) + margin, ACROSS_LESION))

    def ask(self, grid: CropGrid) -> _Answer:
        """The network's answer on a grid, without pieces that have no connection to what was marked."""
        to_array = grid.to_array(self.volume.ras_to_ijk)
        sampler = BlockSampler(self.volume.array.shape, to_array, grid.size)
        grey = sampler.sample(sampler.blocks(self.volume.array, self.window.to_uint8))[0]
        slices, balls = slices_channel(grid, self.slices), np.zeros((2, *grey.shape), np.float32)
        for channel, points in zip(balls, (self.include, self.exclude), strict=True):
            for place in grid.from_ras(points):
                add_ball(channel, place)
        logits = self.network(stacked(grey, self._before(grid), slices, *balls))
        marked = (logits > 0) & _inside(to_array, grid.size, self.volume.array.shape)
        kept = _connected(marked, (slices > 0) | (balls[0] > 0))
        logits = np.where(marked & ~kept, np.float32(_NOT), logits)
        box = bounding_box(kept)
        if box is None:
            return _Answer(grid, logits, None, False)
        low, high = np.array([s.start for s in box]), np.array([s.stop - 1 for s in box])
        return _Answer(grid, logits, (low, high), bool(low.min() == 0 or high.max() == grid.size - 1))

    def _before(self, grid: CropGrid) -> np.ndarray:
        """The mask so far, 0 or 1 (n, n, n)."""
        if self.previous is None or not self.previous.count:
            return np.zeros((grid.size,) * 3, np.float32)
        to_array = grid.to_array(self.volume.ras_to_ijk)
        to_array[:3, 3] -= self.previous.origin[::-1]
        sampler = BlockSampler(self.previous.array.shape, to_array, grid.size)
        return (sampler.sample(sampler.blocks(self.previous.array))[0] > 0.5).astype(np.float32)


def _similar(grid: CropGrid, other: CropGrid) -> bool:
    ratio = grid.spacing / other.spacing
    apart = np.linalg.norm(grid.center - other.center) / grid.spacing
    return 1 / _SIMILAR <= ratio <= _SIMILAR and bool(apart <= _NEAR)


def _inside(to_array: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Which of a crop's voxels lie in the volume, bool (n, n, n)."""
    index, inside = np.ogrid[:size, :size, :size], np.ones((size,) * 3, bool)
    for row, count in zip(to_array[:3], shape, strict=True):
        place = row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3]
        inside &= (place > -0.5) & (place < count - 0.5)
    return inside


def _connected(marked: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The pieces of a mask that hold some of the seeds; its largest one where none does."""
    labels, count = label_lesions(marked)
    if count <= 1:
        return marked
    kept = np.bincount(labels[seeds], minlength=count + 1) > 0
    kept[0] = False
    if not kept.any():
        kept[1 + int(np.bincount(labels.ravel())[1:].argmax())] = True
    return kept[labels]


def _in_voxels(answer: _Answer, question: _Question, crops: int) -> WholeLesion:
    """The answer in the volume's voxels: logits are interpolated, so that outlines are smooth."""
    volume = question.volume
    outlined = [_layer(each, volume) for each in question.slices if each.outlined]
    boxes = [Mask.from_array(layer == 2, volume, origin) for layer, origin in outlined]
    if answer.box is not None:
        boxes.append(_voxels_around(answer, volume))
    boxes = [mask for mask in boxes if mask.count]
    if not boxes:  # nothing was found: what was marked is all there is
        boxes = [mask_to_voxels(question.slices[0].mask, question.slices[0].plane, volume)]
        outlined.append(_layer(question.slices[0], volume))
    low = np.min([mask.origin for mask in boxes], axis=0)[::-1]
    high = np.max([np.add(mask.origin[::-1], mask.array.shape) if mask.count else low for mask in boxes], axis=0)
    box = tuple(slice(int(a), int(max(b, a + 1))) for a, b in zip(low, high, strict=True))
    shape = tuple(s.stop - s.start for s in box)
    to_crop = np.linalg.inv(answer.grid.to_array(volume.ras_to_ijk))
    to_crop[:3, 3] += to_crop[:3, :3] @ low
    logits = resample(answer.logits[None], to_crop, shape, _NOT)[0]
    mask = logits > 0
    for layer, origin in outlined:
        here = np.zeros(shape, layer.dtype)
        start = np.array(origin[::-1])
        first, last = np.maximum(start, low), np.minimum(start + layer.shape, high)
        if (last > first).all():
            into = tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))
            here[into] = layer[tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))]
        mask = np.where(here > 0, here == 2, mask)
    i, j, k = (int(x) for x in low[::-1])
    probability = VoxelMap.in_box(_probability(logits, mask), box, volume)
    return WholeLesion(Mask.from_array(mask, volume, (i, j, k)), probability, crops, answer.cut)


def _probability(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What `image.mask_geometry.stored` gives, in a fifth of the time: a large lesion's box has millions of voxels."""
    import torch

    values = torch.sigmoid(torch.from_numpy(logits)).mul_(255.0).round_().to(torch.uint8).numpy()
    return np.where(mask, np.maximum(values, INSIDE), np.minimum(values, INSIDE - 1))


def _layer(each: SliceMask, volume: Volume) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A slice's voxels, 2 in its mask and 1 beside it, and the first voxel (i, j, k) of the array."""
    return slice_mask_to_voxels(np.where(each.mask, np.uint8(2), np.uint8(1)), each.plane, volume)


def _voxels_around(answer: _Answer, volume: Volume) -> Mask:
    """All voxels of the box around an answer, a crop's voxel wider."""
    low, high = answer.box
    corners = np.array(
        [
            [a, b, c]
            for a in (low[0] - 1, high[0] + 1)
            for b in (low[1] - 1, high[1] + 1)
            for c in (low[2] - 1, high[2] + 1)
        ]
    )
    places = apply_affine(answer.grid.to_array(volume.ras_to_ijk), corners)
    last = np.array(volume.array.shape) - 1
    first = np.clip(np.floor(places.min(axis=0)), 0, last).astype(int)
    end = np.clip(np.ceil(places.max(axis=0)), 0, last).astype(int) + 1
    k, j, i = (int(x) for x in first)
    return Mask.from_array(np.ones(end - first, bool), volume, (i, j, k))
