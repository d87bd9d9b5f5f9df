"""Slices of one scan by how uncertain the automatic mode is of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.active_learning.outline_uncertainty import OutlineDoubt, narrower, outline_doubt
from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_picture
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.model_choice import check_concept
from SAMLiverTumorLib.plane import Plane, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.prediction import Embedding
    from SAMLiverTumorLib.inference.predictor import Predictor

LIVER = "liver"
"""The concept that says where to look, where the model knows it and no outline of the liver is given."""

APART_MM = 10.0
"""Slices that are suggested together are at least so far apart: neighbors show, and teach, the same."""

# Tumors at its border make bays in the liver that a model marks.
_BAYS_MM = 5.0

# The share of a scan's slices that its own uncertainty is the mean of.
_WORST = 0.25


@dataclass(frozen=True)
class SliceDoubt:
    """How uncertain the automatic mode is of a slice.

    :param index: voxel index along the axial normal.
    :param position_mm: of the slice's middle, superior in world RAS, as Slicer's axial slider shows it.
    :param doubt: of its outline.
    """

    index: int
    position_mm: float
    doubt: OutlineDoubt

    @property
    def uncertainty(self) -> float:
        """See `OutlineDoubt.uncertainty`."""
        return self.doubt.uncertainty


def scan_doubts(
    volume: Volume,
    predictor: Predictor,
    concept: str,
    window: Window,
    liver: np.ndarray | None = None,
    every: int = 1,
    views: int = 2,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[SliceDoubt]:
    """Look through a scan, one axial slice after the other; embeddings go through the predictor's cache.

    :param liver: bool (k, j, i); slices without it are passed over. Where there is none and the model can name the
        liver, what it marks as such takes its place, see `marked_liver`.
    :param every: only each so-many-th slice of those.
    :param views: 2 looks at each slice once more with more contrast; 1 takes half the time, and ranks less well.
    :param progress: told of (looks done, of how many).
    :raises PromptError: the model does not know the concept.
    :raises Cancelled: `cancel` answered true.
    """
    concept = check_concept(concept, predictor.model.info)
    asked = list(_slices(volume, liver))[::every]
    marks = liver is None and LIVER in predictor.model.info.concepts
    steps, done = len(asked) * (2 if marks else 1), 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    def embed(plane: Plane, shown: Window) -> Embedding:
        raise_if_cancelled(cancel)
        rgb = plane_to_rgb(volume, plane, shown, predictor.model.info.channels)
        return predictor.embed(rgb, plane.spacing[1::-1], cancel)

    planes = [slice_plane(volume, "axial", index) for index in asked]
    regions: list[np.ndarray | None] = [None] * len(asked)
    if liver is not None:
        regions = [voxels_to_picture(liver, plane) for plane in planes]
    elif marks:
        marked = []
        for plane in planes:
            marked.append(predictor.predict_text(embed(plane, window), LIVER).mask)
            step()
        regions = marked_liver(marked, [plane.spacing[:2] for plane in planes])
    for index, plane, region in zip(asked, planes, regions, strict=True):
        if region is None or region.any():
            first = predictor.predict_text(embed(plane, window), concept).logits
            second = predictor.predict_text(embed(plane, narrower(window)), concept).logits if views > 1 else None
            middle = plane.to_ras @ [(plane.shape[1] - 1) / 2.0, (plane.shape[0] - 1) / 2.0, 0.0, 1.0]
            pixel_mm2 = plane.spacing[0] * plane.spacing[1]
            yield SliceDoubt(index, float(middle[2]), outline_doubt(first, second, region, pixel_mm2))
        step()


def worst_apart(doubts: Sequence[SliceDoubt], apart_mm: float = APART_MM) -> list[SliceDoubt]:
    """Slices by uncertainty, without those that are close to a more uncertain one."""
    kept: list[SliceDoubt] = []
    for each in sorted(doubts, key=lambda each: (-each.uncertainty, each.index)):
        if all(abs(each.position_mm - other.position_mm) >= apart_mm for other in kept):
            kept.append(each)
    return kept


def of_scan(doubts: Sequence[SliceDoubt]) -> float:
    """A scan's uncertainty: the mean of its most uncertain quarter of slices, rounded up; 0 without any.

    The mean over all would make a scan with one small tumor look certain, the greatest alone would hang on one slice.
    """
    values = sorted((each.uncertainty for each in doubts), reverse=True)
    return float(np.mean(values[: max(1, int(np.ceil(_WORST * len(values))))])) if values else 0.0


def every_mm(volume: Volume, step_mm: float) -> int:
    """How many slices lie in a step of so many mm; at least 1."""
    return max(1, round(step_mm / slice_plane(volume, "axial", 0).spacing[2]))


def _slices(volume: Volume, liver: np.ndarray | None) -> Iterator[int]:
    for index in range(slice_count(volume, "axial")):
        if liver is None or voxels_to_picture(liver, slice_plane(volume, "axial", index)).any():
            yield index


def marked_liver(marked: Sequence[np.ndarray], spacings: Sequence[tuple[float, float]]) -> list[np.ndarray]:
    """The liver out of what a model marks as such slice by slice: the largest piece, holes and narrow bays filled.

    On slices of chest and pelvis a model that was trained on slices of the liver marks something as well.

    :param marked: bool (rows, columns) of the slices in order.
    :param spacings: mm a pixel along (u, v).
    """
    from scipy import ndimage

    if not any(each.any() for each in marked):
        return list(marked)
    # a quarter of the pixels along each axis tells pieces apart as well
    numbers, count = ndimage.label(np.stack([each[::4, ::4] for each in marked]), np.ones((3, 3, 3)))
    if not count:
        return list(marked)
    largest = numbers == 1 + np.argmax(np.bincount(numbers.ravel())[1:])
    regions = []
    for each, part, spacing in zip(marked, largest, spacings, strict=True):
        pieces, _ = ndimage.label(each, np.ones((3, 3)))
        liver = np.isin(pieces, np.setdiff1d(pieces[::4, ::4][part], 0))
        if liver.any():
            reach = max(1, round(_BAYS_MM / min(spacing)))
            # a border of the picture is no border of the liver
            closed = ndimage.binary_closing(np.pad(liver, reach), iterations=reach)[reach:-reach, reach:-reach]
            liver = ndimage.binary_fill_holes(closed | liver)
        regions.append(liver)
    return regions
