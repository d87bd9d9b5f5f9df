"""Slices of one scan by how uncertain the automatic mode is of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.feedback.outline_doubt import OutlineDoubt, narrower, outline_doubt
from SAMLiverTumorLib.image.sampling import voxels_to_picture
from SAMLiverTumorLib.image.window import Window, plane_to_rgb
from SAMLiverTumorLib.inference.pool import check_concept
from SAMLiverTumorLib.models.background import raise_if_cancelled
from SAMLiverTumorLib.plane import Plane, slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Embedding, Predictor

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
        liver, what it marks as such takes its place.
    :param every: only each so-many-th slice of those.
    :param views: 2 looks at each slice once more with more contrast; 1 takes half the time, and ranks less well.
    :param progress: told of (slices done, of how many).
    :raises PromptError: the model does not know the concept.
    :raises Cancelled: `cancel` answered true.
    """
    concept = check_concept(concept, predictor.model.info)
    asked = list(_slices(volume, liver))[::every]
    for done, index in enumerate(asked, 1):
        raise_if_cancelled(cancel)
        plane = slice_plane(volume, "axial", index)

        def embed(shown: Window, plane: Plane = plane) -> Embedding:
            return predictor.embed(plane_to_rgb(volume, plane, shown), plane.spacing[1::-1], cancel)

        embedding = embed(window)
        region = voxels_to_picture(liver, plane) if liver is not None else _marked_liver(predictor, embedding, plane)
        if region is None or region.any():
            first = predictor.predict_text(embedding, concept).logits
            second = predictor.predict_text(embed(narrower(window)), concept).logits if views > 1 else None
            pixel_mm2 = plane.spacing[0] * plane.spacing[1]
            middle = plane.to_ras @ [(plane.shape[1] - 1) / 2.0, (plane.shape[0] - 1) / 2.0, 0.0, 1.0]
            yield SliceDoubt(index, float(middle[2]), outline_doubt(first, second, region, pixel_mm2))
        if progress is not None:
            progress(done, len(asked))


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


def _marked_liver(predictor: Predictor, embedding: Embedding, plane: Plane) -> np.ndarray | None:
    """What the model marks as liver, holes and narrow bays filled; None where it cannot name it."""
    if LIVER not in predictor.model.info.concepts:
        return None
    from scipy import ndimage

    marked = predictor.predict_text(embedding, LIVER).mask
    if not marked.any():
        return marked
    reach = max(1, round(_BAYS_MM / min(plane.spacing[:2])))
    # a border of the picture is no border of the liver
    wide = np.pad(marked, reach)
    closed = ndimage.binary_closing(wide, iterations=reach)[reach:-reach, reach:-reach]
    return ndimage.binary_fill_holes(closed | marked)
