"""Which predicted object stands for which lesion of the reference.

Everything works on bounding boxes: a CT of 512x512x300 voxels with 70 lesions costs one connected
component labeling of the boxed reference and of each boxed segment, then only the lesions' own boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.overlap import Overlap, from_counts
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SurfaceDistances, surface_distances
from SAMLiverTumorLib.image.mask_geometry import Box, bounding_box

CONNECTIVITY_RULE = (
    "Lesions are the connected components of the reference, objects those of each predicted segment (6-connectivity: "
    "voxels that share a face), lesion 1 being the largest."
)

OBJECT_RULE = (
    "Each object counts to the lesion it shares most voxels with, and to that one alone; objects that touch no lesion "
    "are false positives. Each lesion is compared with the union of what counts to it; one without any is missed "
    "(Dice 0)."
)

MATCHING_RULE = (
    "Each object counts to the lesion it shares most voxels with, and to that one alone. Where a segment's objects "
    "touch a single lesion, the whole segment counts to it; otherwise objects that touch no lesion are false "
    "positives. Each lesion is compared with the union of what counts to it; one without any is missed (Dice 0)."
)


@dataclass(frozen=True)
class Lesion:
    """A lesion of the reference and what was predicted for it.

    :param number: 1 for the largest.
    :param segments: names of the predicted segments with an object that counts to it; none: missed.
    :param overlap: that prediction against this lesion alone, over the whole volume.
    :param surface: likewise of their surfaces; None where they were not asked for.
    """

    number: int
    segments: tuple[str, ...]
    overlap: Overlap
    surface: SurfaceDistances | None = None

    @property
    def found(self) -> bool:
        """Whether any predicted object counts to the lesion."""
        return bool(self.segments)


@dataclass(frozen=True)
class FalsePositive:
    """A predicted object that counts to no lesion.

    :param segment: name of its segment.
    :param voxels: its size.
    :param ml: its volume in milliliters.
    """

    segment: str
    voxels: int
    ml: float


@dataclass(frozen=True)
class Matching:
    """Lesions from the largest to the smallest, false positives likewise, and what the size limit left out.

    :param small_lesions: components of the reference below the size limit.
    :param small_objects: predicted objects that touch only such components: neither found nor false.
    """

    lesions: tuple[Lesion, ...]
    false_positives: tuple[FalsePositive, ...]
    small_lesions: int
    small_objects: int


def match_lesions(
    segments: Mapping[str, np.ndarray],
    reference: np.ndarray,
    voxel_volume_ml: float,
    min_ml: float = 0.0,
    progress: Callable[[int, int | None], None] | None = None,
    spacing: Sequence[float] | None = None,
    by_object: bool = False,
) -> Matching:
    """Match the objects of predicted segments with the lesions of a reference and compare them.

    :param segments: name -> bool array of shape (k, j, i); segments may overlap.
    :param reference: bool array of the same shape.
    :param voxel_volume_ml: volume of one voxel in milliliters.
    :param min_ml: components of the reference smaller than this are no lesions; an object that touches
        only such components is left out of the count.
    :param progress: called with (done, total) after each segment and each lesion.
    :param spacing: millimeters along (k, j, i), to compare surfaces as well.
    :param by_object: objects that touch no lesion are false positives in any case, also in a segment that touches a
        single lesion: for automatic results, which are no answer to a prompt.
    :raises InputError: the shapes differ.
    """
    numbers, sizes, reference_box = connected_components(reference)
    listed = int(np.count_nonzero(sizes * voxel_volume_ml >= min_ml))
    assigned, false_positives, small_objects = [], [], 0
    total = len(segments) + listed
    for done, (name, mask) in enumerate(segments.items(), start=1):
        if mask.shape != reference.shape:
            raise InputError(
                f"Segment '{name}' has {mask.shape} voxels (k, j, i) and the reference {reference.shape}; "
                "bring both onto the same grid before comparing them."
            )
        objects, object_sizes, box = connected_components(mask)
        lesion_of, small = _assign(objects, box, len(object_sizes), numbers, reference_box, listed, by_object)
        false = np.flatnonzero((lesion_of == 0) & ~small)
        small_objects += int(np.count_nonzero(small))
        false_positives += [
            FalsePositive(name, int(object_sizes[i]), float(object_sizes[i] * voxel_volume_ml)) for i in false
        ]
        owners = np.concatenate([[0], lesion_of]).astype(np.int32)[objects]
        assigned.append((name, owners, box, ndimage.find_objects(owners) if owners.size else []))
        if progress:
            progress(done, total)
    lesions = []
    boxes = ndimage.find_objects(numbers, max_label=listed) if listed else []
    for number, box in enumerate(boxes, start=1):
        box = _moved(box, reference_box)
        names, union, extent = _predicted_for(number, assigned, box)
        lesion = np.zeros(union.shape, bool)
        lesion[_moved(box, extent, -1)] = numbers[_moved(box, reference_box, -1)] == number
        shared, predicted = np.count_nonzero(lesion & union), np.count_nonzero(union)
        counts = from_counts(int(shared), int(predicted), int(sizes[number - 1]), reference.size, voxel_volume_ml)
        surface = None if spacing is None else surface_distances(union, lesion, spacing)
        lesions.append(Lesion(number, names, counts, surface))
        if progress:
            progress(len(segments) + number, total)
    false_positives.sort(key=lambda item: -item.voxels)
    return Matching(tuple(lesions), tuple(false_positives), len(sizes) - listed, small_objects)


def connected_components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, Box]:
    """Components of a mask (k, j, i): (numbers in its bounding box, 1 the largest; their sizes in voxels; the box)."""
    mask = np.asarray(mask).astype(bool, copy=False)
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0,) * mask.ndim, np.int32), np.zeros(0, int), (slice(0, 0),) * mask.ndim
    labels, count = ndimage.label(mask[box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    rank = np.zeros(count + 1, labels.dtype)
    rank[order + 1] = np.arange(1, count + 1)
    return rank[labels], sizes[order], box


def _assign(
    objects: np.ndarray, box: Box, count: int, numbers: np.ndarray, reference_box: Box, listed: int, by_object: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lesion number of each object of a segment (0 none), and which touch only lesions below the limit."""
    lesion_of = np.zeros(count, int)
    common = _intersection(box, reference_box)
    a, b = objects[_moved(common, box, -1)].ravel(), numbers[_moved(common, reference_box, -1)].ravel()
    both = (a > 0) & (b > 0)
    a, b = a[both].astype(np.int64) - 1, b[both]
    touches = np.zeros(count, bool)
    touches[a] = True
    a, b = a[b <= listed], b[b <= listed]
    pairs, shared = np.unique(a * (listed + 1) + b, return_counts=True)
    # Written from the least to the most shared, so that the most shared stays; of equals the larger lesion.
    for pair in pairs[np.lexsort((-pairs, shared))]:
        lesion_of[pair // (listed + 1)] = pair % (listed + 1)
    matched = np.unique(lesion_of[lesion_of > 0])
    if len(matched) == 1 and not by_object:
        lesion_of[:] = matched[0]
    return lesion_of, touches & (lesion_of == 0)


def _predicted_for(number: int, assigned: list, box: Box) -> tuple[tuple[str, ...], np.ndarray, Box]:
    """What counts to a lesion: names of the segments, their union as bool, and the union's place in the volume.

    :param box: the lesion's own, which the place holds as well.
    """
    parts = []
    for name, owners, segment_box, found in assigned:
        if number <= len(found) and found[number - 1] is not None:
            part = found[number - 1]
            parts.append((name, owners[part] == number, _moved(part, segment_box)))
    extent = _union([box, *(where for _, _, where in parts)])
    union = np.zeros([s.stop - s.start for s in extent], bool)
    for _, mask, where in parts:
        union[_moved(where, extent, -1)] |= mask
    return tuple(name for name, _, _ in parts), union, extent


def _moved(box: Box, by: Box, sign: int = 1) -> Box:
    """A box moved by the start of another: +1 from its own array to the volume, -1 back."""
    return tuple(slice(b.start + sign * o.start, b.stop + sign * o.start) for b, o in zip(box, by, strict=True))


def _intersection(a: Box, b: Box) -> Box:
    """Voxels in both boxes; where they are apart, an empty box at the later start."""
    starts = [max(x.start, y.start) for x, y in zip(a, b, strict=True)]
    stops = [max(min(x.stop, y.stop), start) for x, y, start in zip(a, b, starts, strict=True)]
    return tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))


def _union(boxes: list[Box]) -> Box:
    """Smallest box around several."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
