"""Segment slices from prompts on a volume to one three-dimensional mask: what panel, console and demo call."""

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
    from SAMLiverTumorLib.inference.prediction import Embedding
    from SAMLiverTumorLib.inference.predictor import Predictor


QUALITIES = ("full", "best")


@dataclass(frozen=True)
class Settings:
    """Which model segments, and what it sees of a volume.

    :param model: registry id, checkpoint file, or "auto". "auto" chooses for each slice a model trained for the prompts
        there, so that a click changes the model on its own slice only.
    :param orientation: "axial", "coronal" or "sagittal": the slices that prompts apply to.
    :param window: intensity window; None for the model's own.
    :param channels: see `image.rgb.plane_to_rgb`.
    :param quality: "full"; "best" also segments each slice's mirror image and takes twice the time, see
        `mirror_averaging.py`.
    :param further: one or two further phases or modalities on the volume's voxels, as further channels; see
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
    """Figures of one slice: voxel index along the normal (None if oblique), model, scores, pixels of the mask."""

    index: int | None
    model: str
    predicted_iou: float
    stability: float
    pixels: int


@dataclass(frozen=True, eq=False)
class Result:
    """A segmentation and its provenance.

    :param mask: the voxels.
    :param slices: one entry for each slice segmented, in order.
    :param notes: changes made to the prompts; shown to the user.
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
    """Segment every slice of one orientation that has an include point or a section of the box.

    A box prompts each slice it crosses with its section there; points apply on their own slices. The mask is clipped to
    the box, because a three-dimensional box tells where the tumor ends.

    :param progress: called with (slices done, all slices).
    :param cancel: called between slices.
    :raises SAMLiverTumorError: unusable prompts, window or model; `Cancelled` when `cancel` returns true.
    """
    prompts, notes = fit_to_volume(prompts, volume)
    by_slice = prompts_by_slice(prompts, volume, settings.orientation)
    planes = [slice_plane(volume, settings.orientation, index) for index in by_slice]
    return _segment_planes(volume, planes, list(by_slice.values()), prompts, notes, pool, settings, progress, cancel)


def _segment_planes(
    volume: Volume,
    planes: list[Plane],
    prompts_by_plane: list[PlanePrompts],
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
    models = [choose_model(settings.model, plane_prompts.kinds) for plane_prompts in prompts_by_plane]
    prepare_channels(settings.further, cancel)
    predictors = _load(volume, models, prompts_by_plane, pool, settings)
    masks, slices = [], []
    for done, (plane, plane_prompts, model) in enumerate(zip(planes, prompts_by_plane, models, strict=True)):
        stop_if_cancelled()
        if progress is not None:
            progress(done, len(planes))
        mask, result = _predict(volume, plane, plane_prompts, model, predictors[model], settings, cancel)
        masks.append(mask)
        slices.append(result)
    if progress is not None:
        progress(len(planes), len(planes))
    # Cancel during the last slice counts, too
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
    """One plane's voxels, their figures, and the provenance of the model (id, sha256, window; JSON-ready)."""

    mask: Mask
    result: SliceResult
    model: dict


def segment_slice(
    volume: Volume,
    plane: Plane,
    plane_prompts: PlanePrompts,
    pool: PredictorPool,
    settings: Settings = _DEFAULTS,
    cancel: Callable[[], bool] | None = None,
) -> SliceMask:
    """Segment a single slice, with exactly the same result as in `segment`: for interactive sessions.

    :param plane_prompts: the prompts on the plane.
    :param cancel: called before every layer of the encoder.
    :raises SAMLiverTumorError: unusable prompts, window or model; `Cancelled` when `cancel` returns true.
    """
    model = choose_model(settings.model, plane_prompts.kinds)
    prepare_channels(settings.further, cancel)
    predictor = _load(volume, [model], [plane_prompts], pool, settings)[model]
    mask, result = _predict(volume, plane, plane_prompts, model, predictor, settings, cancel)
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

    :param kinds: kinds of prompts expected, from which "auto" chooses the model.
    """
    prepare_channels(settings.further, cancel)
    predictor = pool.predictor(choose_model(settings.model, kinds))
    _embed(volume, plane, predictor, settings, cancel)


def _embed(
    volume: Volume, plane: Plane, predictor: Predictor, settings: Settings, cancel: Callable[[], bool] | None
) -> Embedding:
    rgb, best = slice_image(volume, plane, predictor, settings), settings.quality == "best"
    return predictor.embed(rgb, plane.spacing[1::-1], cancel, mirrored=best)


def slice_image(volume: Volume, plane: Plane, predictor: Predictor, settings: Settings) -> np.ndarray:
    """What the network sees of a plane: uint8, (rows, columns, 3)."""
    info = predictor.model.info
    channels = settings.channels if settings.further else shown_channels(settings.channels, info)
    return plane_to_rgb(volume, plane, window_for(settings, info), channels, settings.further)


def _predict(
    volume: Volume,
    plane: Plane,
    plane_prompts: PlanePrompts,
    model: str,
    predictor: Predictor,
    settings: Settings,
    cancel: Callable[[], bool] | None,
) -> tuple[Mask, SliceResult]:
    prediction = predictor.predict(_embed(volume, plane, predictor, settings, cancel), plane_prompts)
    slice_mask = prediction.mask
    if plane_prompts.box is not None:
        slice_mask = slice_mask & within(plane_prompts.box, slice_mask.shape)
    pixels = int(np.count_nonzero(slice_mask))
    result = SliceResult(plane.index, model, prediction.predicted_iou, prediction.stability, pixels)
    return mask_to_voxels(slice_mask, plane, volume), result


def _model_entry(predictor: Predictor, settings: Settings) -> dict:
    return model_entry(predictor, window_for(settings, predictor.model.info))


def further_entry(settings: Settings) -> dict:
    """Provenance of the further volumes; empty if there are none."""
    return {"further": [channel.as_dict() for channel in settings.further]} if settings.further else {}


def model_entry(predictor: Predictor, window: Window) -> dict:
    """Provenance of a model, JSON-ready."""
    return {"id": predictor.model.info.id, "sha256": predictor.model.sha256, "window": [window.low, window.high]}


def _load(
    volume: Volume, models: list[str], prompts_by_plane: list[PlanePrompts], pool: PredictorPool, settings: Settings
) -> dict[str, Predictor]:
    """The predictors by model; unusable prompts and windows are refused before weights are downloaded and loaded."""
    check_further(volume, settings.further, settings.channels)
    registry = load_registry()
    for model, plane_prompts in zip(models, prompts_by_plane, strict=True):
        check_prompts(plane_prompts, registry.get(model))
        if model in registry:
            check_window(volume, window_for(settings, registry[model]))
    return {model: pool.predictor(model) for model in dict.fromkeys(models)}


def window_for(settings: Settings, info: ModelInfo) -> Window:
    """The settings' window, or else the model's own."""
    return settings.window or parse_window(info.default_window)
