"""`run_request`: what command line, batch, Python functions and demo all call to segment a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.errors import Cancelled, InputError, PromptError
from SAMLiverTumorLib.inference.model_choice import LIVER_TUMOR
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import Settings, SliceResult, segment
from SAMLiverTumorLib.inference.text_search import find
from SAMLiverTumorLib.mask import Mask
from SAMLiverTumorLib.prompts import Prompts
from SAMLiverTumorLib.versions import versions
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.propagation.stopping_rules import Stop
    from SAMLiverTumorLib.inference.uncertainty.next_best_slice import NextSlice
    from SAMLiverTumorLib.inference.uncertainty.orientation_passes import Ensemble
    from SAMLiverTumorLib.voxel_map import VoxelMap

SLICES, VOLUME, TEXT = MODES = ("slices", "volume", "text")

Progress = Callable[[int, "int | None"], None]
Cancel = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class SegmentationRequest:
    """What to segment in a volume, and how.

    :param mode: "slices" segments the prompted slices alone; "volume" propagates one tumor from its prompted slice
        through the others; "text" searches every axial slice for what `concept` names.
    :param prompts: in world RAS (mm); for modes "slices" and "volume".
    :param concept: for mode "text".
    :param liver: bool (k, j, i) on the volume's voxels that no tumor leaves; for modes "volume" and "text".
    :param start: slices outlined already, which stay as they are, for mode "volume" to start from.
    :param direction: "both", "up" (superior, anterior or right) or "down"; for mode "volume".
    :param settings: which network, and how it sees the volume.
    :param ensemble: passes along other axes to fuse with the first; for mode "volume".
    :raises InputError: an unknown mode, or something given that the mode has no use for.
    """

    mode: str = SLICES
    prompts: Prompts = field(default_factory=Prompts)
    concept: str = LIVER_TUMOR
    liver: np.ndarray | None = None
    start: Mask | None = None
    direction: str = "both"
    settings: Settings = field(default_factory=Settings)
    ensemble: Ensemble | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"Unknown mode '{self.mode}'; choose one of {', '.join(MODES)}.")
        given = {
            "prompts": bool(self.prompts.kinds),
            "liver": self.liver is not None,
            "start": self.start is not None,
            "direction": self.direction != "both",
            "ensemble": self.ensemble is not None,
            "orientation": self.settings.orientation != "axial",
        }
        useless = [name for name in _USELESS[self.mode] if given[name]]
        if useless:
            raise InputError(f"Mode '{self.mode}' has no use for '{useless[0]}'; leave it out, or choose another mode.")


_USELESS = {
    SLICES: ("liver", "start", "direction", "ensemble"),
    VOLUME: (),
    TEXT: ("prompts", "start", "direction", "ensemble", "orientation"),
}


@dataclass(frozen=True)
class SegmentedSlice:
    """What became of one slice.

    :param index: voxel index along the slices' normal.
    :param pixels: of its mask.
    :param predicted_iou, stability: the network's own scores of that mask, 0 to 1.
    :param source: "anchor" for a prompted slice, "up" or "down" whence it was reached, "between" two anchors; None in
        mode "slices".
    :param confidence: 0 to 1, and 1 for an anchor; None in mode "slices".
    """

    index: int
    model: str
    pixels: int
    predicted_iou: float
    stability: float
    source: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """A segmentation and how it came about.

    :param mask: the voxels.
    :param provenance: models with hashes and windows, prompts in RAS, ...: JSON-ready.
    :param slices: of modes "slices" and "volume", in order.
    :param slices_seen: how many slices the network saw, in every mode.
    :param notes: for the user to read.
    :param cancelled: whether Cancel cut it short, in modes "volume" and "text"; the mask is what was done until then.
    :param stops: where and why the propagation ended, of mode "volume"; as are the next four.
    :param passes: what was fused, the first pass included: JSON-ready.
    :param probability, uncertainty: of every voxel.
    :param next_best_slice: where one more prompt would help most; None where nothing is uncertain.
    :param lesions: number of separate pieces, of mode "text".
    """

    mask: Mask
    provenance: dict
    slices: tuple[SegmentedSlice, ...] = ()
    slices_seen: int = 0
    notes: tuple[str, ...] = ()
    cancelled: bool = False
    stops: tuple[Stop, ...] = ()
    passes: tuple[dict, ...] = ()
    probability: VoxelMap | None = None
    uncertainty: VoxelMap | None = None
    next_best_slice: NextSlice | None = None
    lesions: int | None = None


def run_request(
    volume: Volume,
    request: SegmentationRequest,
    pool: PredictorPool,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> SegmentationResult:
    """Segment a volume.

    :param progress: called with (slices done, slices in all or None where that is not known).
    :param cancel: asked between slices and within the network. Mode "slices" then raises `Cancelled`; the others return
        what is done, unless that is nothing.
    :return: its mask has voxels; only a search by text may find none.
    :raises SAMLiverTumorError: unusable prompts, liver, window or model, or a network that marked nothing.

    >>> request = SegmentationRequest("volume", Prompts(include=[[10, -20, 35]]))           # doctest: +SKIP
    >>> run_request(volume, request, pool).mask.volume_ml                                   # doctest: +SKIP
    """
    run = {SLICES: _slices, VOLUME: _volume, TEXT: _text}[request.mode]
    result = run(volume, request, pool, progress, cancel)
    if result.mask.count:
        return result
    if result.cancelled:
        raise Cancelled("Cancelled before anything was marked; nothing was changed.")
    if request.mode != TEXT:
        raise PromptError("The network marked no voxel; move the prompts or try another window. Nothing was changed.")
    return result


def _slices(
    volume: Volume,
    request: SegmentationRequest,
    pool: PredictorPool,
    progress: Progress | None,
    cancel: Cancel | None,
) -> SegmentationResult:
    found = segment(volume, request.prompts, pool, request.settings, progress, cancel)
    slices = tuple(_segmented(each.index, each) for each in found.slices)
    return SegmentationResult(found.mask, found.provenance, slices, len(slices), found.notes)


def _volume(
    volume: Volume,
    request: SegmentationRequest,
    pool: PredictorPool,
    progress: Progress | None,
    cancel: Cancel | None,
) -> SegmentationResult:
    # scipy comes with these, which the panel does without until it propagates
    from SAMLiverTumorLib.inference.propagation.plane_stack import PlaneStack
    from SAMLiverTumorLib.inference.propagation.segment_volume import limits_of, segment_volume
    from SAMLiverTumorLib.inference.uncertainty.fusion import fuse
    from SAMLiverTumorLib.inference.uncertainty.next_best_slice import next_best_slice

    stack, done = PlaneStack(volume, request.settings.orientation), 0

    def slice_done(_: int, total: int | None) -> None:
        # the passes count on from where the propagation ended
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    first = segment_volume(
        stack,
        request.prompts,
        pool,
        request.settings,
        direction=request.direction,
        liver=request.liver,
        start=request.start,
        progress=slice_done,
        cancel=cancel,
    )
    if not first.reached:
        return SegmentationResult(first.mask(), first.provenance, cancelled=first.cancelled)
    # without further passes this leaves the first one as it is
    fusion = fuse(
        first,
        pool,
        request.settings,
        request.ensemble,
        limits=limits_of(stack, request.prompts, request.liver),
        progress=slice_done,
        cancel=cancel,
    )
    slices = tuple(_segmented(s.index, s.result, s.source, s.confidence) for s in first.slices.values())
    return SegmentationResult(
        fusion.mask(),
        fusion.provenance,
        slices,
        len(slices),
        fusion.notes,
        fusion.cancelled,
        first.stops,
        fusion.passes,
        fusion.probability,
        fusion.uncertainty,
        next_best_slice(fusion),
    )


def _text(
    volume: Volume,
    request: SegmentationRequest,
    pool: PredictorPool,
    progress: Progress | None,
    cancel: Cancel | None,
) -> SegmentationResult:
    settings = request.settings
    found = find(
        volume,
        pool,
        request.concept,
        settings.model,
        settings.window,
        settings.channels,
        request.liver,
        further=settings.further,
        progress=progress,
        cancel=cancel,
    )
    return SegmentationResult(
        found.mask,
        {**found.provenance, "versions": versions()},
        slices_seen=found.slices,
        cancelled=found.cancelled,
        lesions=found.lesions,
    )


def _segmented(
    index: int, said: SliceResult, source: str | None = None, confidence: float | None = None
) -> SegmentedSlice:
    return SegmentedSlice(index, said.model, said.pixels, said.predicted_iou, said.stability, source, confidence)
