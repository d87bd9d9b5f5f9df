"""Match predicted objects with the lesions of the reference.

Everything is computed in bounding boxes: for a CT of 512x512x300 voxels with 70 lesions, connected components are
labeled once in the box around the reference and in the box around each segment, then only in the lesions' own boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.overlap import Overlap, from_counts
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SurfaceDistances, surface_distances
from SAMLiverTumorLib.image.lesion_components import CONNECTIVITY, label_lesions
from SAMLiverTumorLib.image.mask_geometry import Box, bounding_box

CONNECTIVITY_RULE = (
    "Lesions are the connected components of the reference, objects those of each predicted segment "
    f"({CONNECTIVITY}), lesion 1 being the largest."
)

OBJECT_RULE = (
    "Each object is matched to the one lesion with which it has most voxels in common; objects that touch no lesion "
    "are false positives. Each lesion is compared with the union of its objects; one without any is missed (Dice 0)."
)

MATCHING_RULE = (
    "Each object is matched to the one lesion with which it has most voxels in common. If a segment's objects touch a "
    "single lesion, the whole segment is matched to it; otherwise objects that touch no lesion are false positives. "
    "Each lesion is compared with the union of its objects; one without any is missed (Dice 0)."
)


@dataclass(frozen=True)
class Lesion:
    """A lesion of the reference and what was predicted for it.

    :param number: 1 for the largest.
    :param segments: names of the predicted segments with an object matched to it; () if it was missed.
    :param overlap: of those objects with this lesion alone, over the whole volume.
    :param surface: likewise of their surfaces; None if they were not requested.
    """

    number: int
    segments: tuple[str, ...]
    overlap: Overlap
    surface: SurfaceDistances | None = None

    @property
    def found(self) -> bool:
        """Whether any predicted object is matched to the lesion."""
        return bool(self.segments)


@dataclass(frozen=True)
class FalsePositive:
    """A predicted object matched to no lesion.

    :param segment: name of its segment.
    :param voxels: number of voxels.
    :param ml: volume in milliliters.
    """

    segment: str
    voxels: int
    ml: float


@dataclass(frozen=True)
class Matching:
    """Lesions and false positives, the largest first, and the numbers left out by the size limit.

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
    :param min_ml: smaller components of the reference do not count as lesions; objects that touch only such components
        are not counted.
    :param progress: called with (done, total) after each segment and each lesion.
    :param spacing: millimeters along (k, j, i), to compare surfaces too.
    :param by_object: whether objects that touch no lesion are always false positives, even if their segment touches a
        single lesion: for automatic results, which were not prompted for one lesion.
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
    """Components of a mask (k, j, i).

    :return: component numbers in the mask's bounding box, 1 for the largest; their sizes in voxels; the box.
    """
    mask = np.asarray(mask).astype(bool, copy=False)
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0,) * mask.ndim, np.int32), np.zeros(0, int), (slice(0, 0),) * mask.ndim
    labels, count = label_lesions(mask[box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    rank = np.zeros(count + 1, labels.dtype)
    rank[order + 1] = np.arange(1, count + 1)
    return rank[labels], sizes[order], box


def _assign(
    objects: np.ndarray, box: Box, count: int, numbers: np.ndarray, reference_box: Box, listed: int, by_object: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lesion number of each object of a segment (0 for none), and whether it touches only lesions below the limit."""
    lesion_of = np.zeros(count, int)
    common = _intersection(box, reference_box)
    a, b = objects[_moved(common, box, -1)].ravel(), numbers[_moved(common, reference_box, -1)].ravel()
    both = (a > 0) & (b > 0)
    a, b = a[both].astype(np.int64) - 1, b[both]
    touches = np.zeros(count, bool)
    touches[a] = True
    a, b = a[b <= listed], b[b <= listed]
    pairs, shared = np.unique(a * (listed + 1) + b, return_counts=True)
    # Assigned in ascending order of common voxels, so that the most common lesion stays; the larger one of equals.
    for pair in pairs[np.lexsort((-pairs, shared))]:
        lesion_of[pair // (listed + 1)] = pair % (listed + 1)
    matched = np.unique(lesion_of[lesion_of > 0])
    if len(matched) == 1 and not by_object:
        lesion_of[:] = matched[0]
    return lesion_of, touches & (lesion_of == 0)


def _predicted_for(number: int, assigned: list, box: Box) -> tuple[tuple[str, ...], np.ndarray, Box]:
    """Objects matched to a lesion: names of their segments, their union as bool, and the union's box in the volume.

    :param box: the lesion's own, which the union's box includes.
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
    """A box moved by the start of another: +1 from an array's to the volume's voxels, -1 back."""
    return tuple(slice(b.start + sign * o.start, b.stop + sign * o.start) for b, o in zip(box, by, strict=True))


def _intersection(a: Box, b: Box) -> Box:
    """Intersection of two boxes; if they are apart, an empty box at the later start."""
    starts = [max(x.start, y.start) for x, y in zip(a, b, strict=True)]
    stops = [max(min(x.stop, y.stop), start) for x, y, start in zip(a, b, starts, strict=True)]
    return tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))


def _union(boxes: list[Box]) -> Box:
    """Smallest box around several boxes."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
