"""Automatic mode: segment every slice by a text prompt alone, and join the masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.image.channels import FurtherChannel
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import mask_to_voxels, voxels_to_slice_mask
from SAMLiverTumorLib.image.window import Window, parse_window
from SAMLiverTumorLib.inference.model_choice import check_concept, choose_model, shown_channels
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import model_entry
from SAMLiverTumorLib.mask import Mask, union
from SAMLiverTumorLib.plane import slice_count, slice_plane
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor

SMALLEST_ML = 0.03
"""Smaller lesions are left out: this is a ball of 4 mm, below which radiologists do not report lesions either."""

ORGAN = "liver"
"""The concept that names the organ, which is one piece, not lesions."""


@dataclass(frozen=True, eq=False)
class Found:
    """Result of a text search.

    :param mask: all lesions found.
    :param lesions: number of connected components.
    :param slices: number of slices searched.
    :param cancelled: whether it was cancelled; the mask has what was found until then.
    :param provenance: model, window, concept and limits: JSON-ready.
    """

    mask: Mask
    lesions: int
    slices: int
    cancelled: bool
    provenance: dict


def text_model(model: str) -> str:
    """The model for text: `model` itself, or for "auto" the one that the registry prefers.

    :raises PromptError: there is none.
    """
    return choose_model(model, {"text"})


def find(
    volume: Volume,
    pool: PredictorPool,
    concept: str,
    model: str = "auto",
    window: Window | None = None,
    channels: str = "single",
    liver: np.ndarray | None = None,
    smallest_ml: float = SMALLEST_ML,
    further: tuple[FurtherChannel, ...] = (),
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Found:
    """Segment everything that a concept names in a volume, slice by slice on axial planes; of the liver, one piece.

    :param liver: bool (k, j, i); slices without liver are skipped, and masks are clipped to it.
    :param smallest_ml: smaller connected components are left out.
    :param further: see `inference.segment_slices.Settings`.
    :param progress: called with (slices done, all slices).
    :raises PromptError: the model does not support this text.
    :raises InputError: the liver is empty or of another shape.
    """
    if liver is not None and (liver.shape != volume.array.shape or not liver.any()):
        raise InputError(f"The liver of '{volume.name}' is empty, or lies on other voxels; choose another segment.")
    predictor = pool.predictor(text_model(model))
    info = predictor.model.info
    concept = check_concept(concept, info)
    window = window or parse_window(info.default_window)
    shown = channels if further else shown_channels(channels, info)
    wanted = axial_slices(volume, liver)
    mask, done = search_slices(volume, predictor, concept, wanted, window, shown, further, liver, progress, cancel)
    if concept == ORGAN and liver is None:
        mask = as_organ(mask, volume)
    mask, lesions = _without_small(mask, volume, smallest_ml)
    provenance = {
        "models": [model_entry(predictor, window)],
        "prompts": {"text": concept},
        "channels": channels,
        **({"further": [channel.as_dict() for channel in further]} if further else {}),
        "within": None if liver is None else "liver",
        "smallest_ml": smallest_ml,
        "cancelled": done < len(wanted),
    }
    return Found(mask, lesions, done, done < len(wanted), provenance)


def search_slices(
    volume: Volume,
    predictor: Predictor,
    concept: str,
    indices: Sequence[int],
    window: Window,
    shown: str,
    further: tuple[FurtherChannel, ...] = (),
    liver: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> tuple[Mask, int]:
    """What a concept names on axial slices, and the number of slices searched until `cancel` answered true.

    :param indices: of the slices.
    :param shown: what the image's channels show, see `plane_to_rgb`.
    """
    masks: list[Mask] = []
    for done, index in enumerate(indices):
        if cancel is not None and cancel():
            return union(masks, volume), done
        plane = slice_plane(volume, "axial", index)
        rgb = plane_to_rgb(volume, plane, window, shown, further)
        marked = predictor.predict_text(predictor.embed(rgb, plane.spacing[1::-1], cancel), concept).mask
        if liver is not None:
            marked = marked & voxels_to_slice_mask(liver, plane).astype(bool)
        if marked.any():
            masks.append(mask_to_voxels(marked, plane, volume))
        if progress is not None:
            progress(done + 1, len(indices))
    return union(masks, volume), len(indices)


def as_organ(mask: Mask, volume: Volume) -> Mask:
    """The largest piece of a mask, its holes on each slice and in between filled; an organ is one piece.

    Models that learned from slices with a liver mark something on those of chest and pelvis, too.
    """
    from scipy import ndimage

    from SAMLiverTumorLib.image.lesion_components import label_lesions

    if not mask.count:
        return mask
    numbered, _ = label_lesions(mask.array)
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    whole = numbered == sizes.argmax()
    for each in whole:
        each[...] = ndimage.binary_fill_holes(each)
    return Mask.from_array(ndimage.binary_fill_holes(whole), volume, mask.origin)


def axial_slices(volume: Volume, liver: np.ndarray | None) -> list[int]:
    """Indices of the axial slices that show any of the liver, bool (k, j, i); of all slices without one."""
    indices = range(slice_count(volume, "axial"))
    if liver is None:
        return list(indices)
    return [index for index in indices if voxels_to_slice_mask(liver, slice_plane(volume, "axial", index)).any()]


def _without_small(mask: Mask, volume: Volume, smallest_ml: float) -> tuple[Mask, int]:
    """The mask without its small connected components, and the number of those left."""
    from SAMLiverTumorLib.image.lesion_components import label_lesions

    if not mask.count:
        return mask, 0
    numbered, _ = label_lesions(mask.array)
    sizes = np.bincount(numbered.ravel()) * volume.voxel_volume_ml
    sizes[0] = 0.0
    kept = sizes >= smallest_ml
    return Mask.from_array(kept[numbered], volume, mask.origin), int(kept.sum())
