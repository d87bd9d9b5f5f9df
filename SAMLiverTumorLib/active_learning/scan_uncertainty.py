"""Uncertainty of the automatic mode on the slices of one scan, and on the scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.active_learning.outline_uncertainty import OutlineUncertainty, narrower, outline_uncertainty
from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window
from SAMLiverTumorLib.inference.model_choice import check_concept
from SAMLiverTumorLib.inference.text_search import axial_slices
from SAMLiverTumorLib.plane import Plane, slice_plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.prediction import Embedding
    from SAMLiverTumorLib.inference.predictor import Predictor

LIVER = "liver"
"""The concept that a model segments first if no liver mask is given."""

APART_MM = 10.0
"""Least distance between slices suggested together: close neighbors show, and teach, the same."""

# Width of the bays that are filled in a model's liver mask: tumors at the border are often left out of it.
_BAYS_MM = 5.0

# Fraction of a scan's slices, the most uncertain ones, whose mean is the scan's uncertainty.
_WORST = 0.25


@dataclass(frozen=True)
class SliceUncertainty:
    """Uncertainty of the automatic mode on a slice.

    :param index: voxel index along the axial normal.
    :param position_mm: S coordinate of the slice's center in world RAS, as on Slicer's axial slider.
    :param outline: uncertainty of its outline.
    """

    index: int
    position_mm: float
    outline: OutlineUncertainty

    @property
    def uncertainty(self) -> float:
        """See `OutlineUncertainty.uncertainty`."""
        return self.outline.uncertainty


def slice_uncertainties(
    volume: Volume,
    predictor: Predictor,
    concept: str,
    window: Window,
    liver: np.ndarray | None = None,
    every: int = 1,
    views: int = 2,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[SliceUncertainty]:
    """Uncertainty of axial slices of a scan, one after the other; embeddings go through the predictor's cache.

    :param liver: bool (k, j, i); slices without liver are skipped. If it is None and the model knows the concept
        "liver", its own liver mask is used, see `liver_from_slices`.
    :param every: sample only every n-th slice.
    :param views: 2 segments each slice a second time with more contrast; 1 takes half the time, but ranks less well.
    :param progress: called with (steps done, all steps).
    :raises PromptError: the model does not know the concept.
    :raises Cancelled: `cancel` returned true.
    """
    concept = check_concept(concept, predictor.model.info)
    indices = axial_slices(volume, liver)[::every]
    finds_liver = liver is None and LIVER in predictor.model.info.concepts
    steps, done = len(indices) * (2 if finds_liver else 1), 0

    def step_done() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    def embed(plane: Plane, shown: Window) -> Embedding:
        raise_if_cancelled(cancel)
        rgb = plane_to_rgb(volume, plane, shown, predictor.model.info.channels)
        return predictor.embed(rgb, plane.spacing[1::-1], cancel)

    planes = [slice_plane(volume, "axial", index) for index in indices]
    regions: list[np.ndarray | None] = [None] * len(indices)
    if liver is not None:
        regions = [voxels_to_slice_mask(liver, plane) for plane in planes]
    elif finds_liver:
        livers = []
        for plane in planes:
            livers.append(predictor.predict_text(embed(plane, window), LIVER).mask)
            step_done()
        regions = liver_from_slices(livers, [plane.spacing[:2] for plane in planes])
    for index, plane, region in zip(indices, planes, regions, strict=True):
        if region is None or region.any():
            first = predictor.predict_text(embed(plane, window), concept).logits
            second = predictor.predict_text(embed(plane, narrower(window)), concept).logits if views > 1 else None
            center = plane.to_ras @ [(plane.shape[1] - 1) / 2.0, (plane.shape[0] - 1) / 2.0, 0.0, 1.0]
            pixel_mm2 = plane.spacing[0] * plane.spacing[1]
            yield SliceUncertainty(index, float(center[2]), outline_uncertainty(first, second, region, pixel_mm2))
        step_done()


def worst_apart(slices: Sequence[SliceUncertainty], apart_mm: float = APART_MM) -> list[SliceUncertainty]:
    """Slices, most uncertain first, without those closer than `apart_mm` to a more uncertain one."""
    kept: list[SliceUncertainty] = []
    for each in sorted(slices, key=lambda each: (-each.uncertainty, each.index)):
        if all(abs(each.position_mm - other.position_mm) >= apart_mm for other in kept):
            kept.append(each)
    return kept


def scan_uncertainty(slices: Sequence[SliceUncertainty]) -> float:
    """A scan's uncertainty: the mean over its most uncertain quarter of slices, rounded up; 0 without any.

    With the mean over all slices, a scan with one small tumor would seem certain. The maximum would depend on a single
    slice.
    """
    values = sorted((each.uncertainty for each in slices), reverse=True)
    return float(np.mean(values[: max(1, int(np.ceil(_WORST * len(values))))])) if values else 0.0


def slices_in(volume: Volume, step_mm: float) -> int:
    """Number of axial slices in a step of so many mm; at least 1."""
    return max(1, round(step_mm / slice_plane(volume, "axial", 0).spacing[2]))


def liver_from_slices(masks: Sequence[np.ndarray], spacings: Sequence[tuple[float, float]]) -> list[np.ndarray]:
    """The liver from a model's mask of each slice: the largest component, with holes and narrow bays filled.

    Models trained on slices of the liver also segment something on slices of chest and pelvis.

    :param masks: bool (rows, columns) of the slices in order.
    :param spacings: millimeters per pixel along (u, v).
    """
    from scipy import ndimage

    if not any(each.any() for each in masks):
        return list(masks)
    # every fourth pixel along each axis is enough to separate components
    numbers, count = ndimage.label(np.stack([each[::4, ::4] for each in masks]), np.ones((3, 3, 3)))
    if not count:
        return list(masks)
    largest = numbers == 1 + np.argmax(np.bincount(numbers.ravel())[1:])
    regions = []
    for each, part, spacing in zip(masks, largest, spacings, strict=True):
        components, _ = ndimage.label(each, np.ones((3, 3)))
        liver = np.isin(components, np.setdiff1d(components[::4, ::4][part], 0))
        if liver.any():
            reach = max(1, round(_BAYS_MM / min(spacing)))
            # padded, because the image's border is not the liver's
            closed = ndimage.binary_closing(np.pad(liver, reach), iterations=reach)[reach:-reach, reach:-reach]
            liver = ndimage.binary_fill_holes(closed | liver)
        regions.append(liver)
    return regions
