"""Prompts on a volume in, one three-dimensional mask out: what panel, console and demo all call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.image.channels import FurtherChannel, check_further
from SAMLiverTumorLib.image.pending_channel import PendingChannel, prepare_channels
from SAMLiverTumorLib.image.rgb import plane_to_rgb
from SAMLiverTumorLib.image.sampling import mask_to_voxels, within
from SAMLiverTumorLib.image.window import Window, check_window, parse_window
from SAMLiverTumorLib.inference.model_choice import AUTO, check_prompts, choose_model, shown_channels
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.mask import Mask, union
from SAMLiverTumorLib.models.registry import ModelInfo, load_registry
from SAMLiverTumorLib.plane import Plane, slice_plane
from SAMLiverTumorLib.prompts import (
    PlanePrompts,
    Prompts,
    fit_to_volume,
    prompts_by_slice,
)
from SAMLiverTumorLib.versions import versions
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor


QUALITIES = ("full", "best")


@dataclass(frozen=True)
class Settings:
    """How a volume is shown to the network, and to which.

    :param model: registry id, checkpoint file, or "auto" for, on each slice, the one trained for the
        prompts there: a click corrects its own slice and leaves the others to the model for boxes.
    :param orientation: "axial", "coronal" or "sagittal": the slices that prompts apply to.
    :param window: intensity window; None takes the one the model does best with.
    :param channels: see `image.window.plane_to_rgb`.
    :param quality: "full"; "best" to look at each slice's mirror image as well, in twice the time, see `mirrored.py`.
    :param further: one or two further phases or modalities that the network sees besides the volume, on its voxels; see
        `image.channels.further_channel`.
    """

    model: str = AUTO
    orientation: str = "axial"
    window: Window | None = None
    channels: str = "single"
    quality: str = "full"
    further: tuple[FurtherChannel | PendingChannel, ...] = ()

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise InputError(f"Unknown quality '{self.quality}'; choose one of {', '.join(QUALITIES)}.")


_DEFAULTS = Settings()


@dataclass(frozen=True)
class SliceResult:
    """One slice's share of a result: voxel index along the normal (None if oblique), model, scores, pixels."""

    index: int | None
    model: str
    predicted_iou: float
    stability: float
    pixels: int


@dataclass(frozen=True, eq=False)
class Result:
    """A segmentation and how it came about.

    :param mask: the voxels.
    :param slices: one entry for each slice the network saw, in order.
    :param notes: what was changed in the prompts, for the user to read.
    :param provenance: model id and hash, prompts in RAS, window, versions: JSON-ready.
    """

    mask: Mask
    slices: tuple[SliceResult, ...]
    notes: tuple[str, ...]
    provenance: dict = field(default_factory=dict)


def segment(
    volume: Volume,
    prompts: Prompts,
    pool: PredictorPool,
    settings: Settings = _DEFAULTS,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Result:
    """Segment on every slice of one orientation that the prompts name something on.

    A box prompts each slice it crosses with its section there; points apply on their own slices. Within a
    box's slices the mask is kept to the box's section: a three-dimensional box says where the tumor ends.

    :param progress: told of (slices done, slices in all).
    :param cancel: asked between slices.
    :raises SAMLiverTumorError: unusable prompts, window, model; `Cancelled` when `cancel` says so.
    """
    prompts, notes = fit_to_volume(prompts, volume)
    by_slice = prompts_by_slice(prompts, volume, settings.orientation)
    planes = [slice_plane(volume, settings.orientation, index) for index in by_slice]
    return _segment_planes(volume, planes, list(by_slice.values()), prompts, notes, pool, settings, progress, cancel)


def _segment_planes(
    volume: Volume,
    planes: list[Plane],
    seen: list[PlanePrompts],
    prompts: Prompts,
    notes: tuple[str, ...],
    pool: PredictorPool,
    settings: Settings,
    progress: Callable[[int, int | None], None] | None,
    cancel: Callable[[], bool] | None,
) -> Result:
    def stop_if_cancelled() -> None:
        if cancel is not None and cancel():
            raise Cancelled("Cancelled; nothing was changed.")

    stop_if_cancelled()
    models = [choose_model(settings.model, plane_prompts.kinds) for plane_prompts in seen]
    prepare_channels(settings.further, cancel)
    predictors = _load(volume, models, seen, pool, settings)
    masks, slices = [], []
    for done, (plane, plane_prompts, model) in enumerate(zip(planes, seen, models, strict=True)):
        stop_if_cancelled()
        if progress is not None:
            progress(done, len(planes))
        mask, result = _predict(volume, plane, plane_prompts, model, predictors[model], settings, cancel)
        masks.append(mask)
        slices.append(result)
    if progress is not None:
        progress(len(planes), len(planes))
    # a click on Cancel during the last slice counts as well
    stop_if_cancelled()
    provenance = {
        "models": [_model_entry(predictor, settings) for predictor in predictors.values()],
        "prompts": prompts.as_dict(),
        "orientation": planes[0].name,
        "channels": settings.channels,
        "quality": settings.quality,
        **further_entry(settings),
        "versions": versions(),
    }
    return Result(union(masks, volume), tuple(slices), notes, provenance)


@dataclass(frozen=True, eq=False)
class SliceMask:
    """One plane's voxels, what the network says of them, and the model (id, sha256, window; JSON-ready)."""

    mask: Mask
    result: SliceResult
    model: dict


def segment_slice(
    volume: Volume,
    plane: Plane,
    seen: PlanePrompts,
    pool: PredictorPool,
    settings: Settings = _DEFAULTS,
    cancel: Callable[[], bool] | None = None,
) -> SliceMask:
    """One slice of what `segment` does, bit by bit the same: for sessions that add slice to slice.

    :param seen: what the plane sees of the prompts.
    :param cancel: asked before every layer of the encoder.
    :raises SAMLiverTumorError: unusable prompts, window, model; `Cancelled` when `cancel` says so.
    """
    model = choose_model(settings.model, seen.kinds)
    prepare_channels(settings.further, cancel)
    predictor = _load(volume, [model], [seen], pool, settings)[model]
    mask, result = _predict(volume, plane, seen, model, predictor, settings, cancel)
    return SliceMask(mask, result, _model_entry(predictor, settings))


def embed_slice(
    volume: Volume,
    plane: Plane,
    kinds: frozenset[str],
    pool: PredictorPool,
    settings: Settings = _DEFAULTS,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Encode a plane ahead of its prompts, so that `segment_slice` finds it in the cache.

    :param kinds: the kinds of prompts expected, by which "auto" chooses the model.
    """
    prepare_channels(settings.further, cancel)
    predictor = pool.predictor(choose_model(settings.model, kinds))
    rgb, best = _rgb(volume, plane, predictor, settings), settings.quality == "best"
    predictor.embed(rgb, plane.spacing[1::-1], cancel, mirrored=best)


def _rgb(volume: Volume, plane: Plane, predictor: Predictor, settings: Settings) -> np.ndarray:
    info = predictor.model.info
    channels = settings.channels if settings.further else shown_channels(settings.channels, info)
    return plane_to_rgb(volume, plane, _window(settings, info), channels, settings.further)


def _predict(
    volume: Volume,
    plane: Plane,
    seen: PlanePrompts,
    model: str,
    predictor: Predictor,
    settings: Settings,
    cancel: Callable[[], bool] | None,
) -> tuple[Mask, SliceResult]:
    rgb, spacing = _rgb(volume, plane, predictor, settings), plane.spacing[1::-1]
    embedding = predictor.embed(rgb, spacing, cancel, mirrored=settings.quality == "best")
    prediction = predictor.predict(embedding, seen)
    picture = prediction.mask
    if seen.box is not None:
        picture = picture & within(seen.box, picture.shape)
    pixels = int(np.count_nonzero(picture))
    result = SliceResult(plane.index, model, prediction.predicted_iou, prediction.stability, pixels)
    return mask_to_voxels(picture, plane, volume), result


def _model_entry(predictor: Predictor, settings: Settings) -> dict:
    return model_entry(predictor, _window(settings, predictor.model.info))


def further_entry(settings: Settings) -> dict:
    """What provenance says of the further volumes; nothing where there are none."""
    return {"further": [channel.as_dict() for channel in settings.further]} if settings.further else {}


def model_entry(predictor: Predictor, window: Window) -> dict:
    """What provenance says of a model, JSON-ready."""
    return {"id": predictor.model.info.id, "sha256": predictor.model.sha256, "window": [window.low, window.high]}


def _load(
    volume: Volume, models: list[str], seen: list[PlanePrompts], pool: PredictorPool, settings: Settings
) -> dict[str, Predictor]:
    """The predictors by model, refusing what cannot work before weights are fetched and loaded."""
    check_further(volume, settings.further, settings.channels)
    registry = load_registry()
    for model, plane_prompts in zip(models, seen, strict=True):
        check_prompts(plane_prompts, registry.get(model))
        if model in registry:
            check_window(volume, _window(settings, registry[model]))
    return {model: pool.predictor(model) for model in dict.fromkeys(models)}


def _window(settings: Settings, info: ModelInfo) -> Window:
    return settings.window or parse_window(info.default_window)
