"""`compare`: run models on the same trials of the same cases, and score them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.datasets.reference_prompts import evenly, slice_trials
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.evaluation.comparison.contestants import (
    AUTOMATIC,
    Contestant,
    SamContestant,
    TrialMasks,
    UnetContestant,
    shown_window,
)
from SAMLiverTumorLib.evaluation.metrics.detection import Detection
from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate
from SAMLiverTumorLib.evaluation.metrics.outline import outline_ratio
from SAMLiverTumorLib.evaluation.metrics.overlap import Overlap, overlap
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SurfaceDistances, surface_distances
from SAMLiverTumorLib.image.lesion_components import label_lesions
from SAMLiverTumorLib.image.mask_geometry import bounding_box
from SAMLiverTumorLib.image.sampling import sample_plane, voxels_to_slice_mask
from SAMLiverTumorLib.io.ircadb.lits_cases import doubles
from SAMLiverTumorLib.plane import slice_plane

# Margin around a lesion in its overlay (pixels), and number of overlays per case.
_AROUND_PX, _OVERLAYS = 24, 2


@dataclass(frozen=True)
class Score:
    """Score of one trial for one model and one way of prompting.

    :param slice: voxel index along the volume's axial axis.
    :param trial: number of the component on its slice, from 0.
    :param lesion: number of the 26-connected component of the case's reference, 1 for the largest.
    :param lesion_ml: volume of that component.
    :param overlap: in pixels of the slice.
    :param surface: in millimeters within the slice.
    :param outline: length of the outline by that of the reference's, see `OUTLINE_RULE`; None where undefined.
    """

    case: str
    slice: int
    trial: int
    lesion: int
    lesion_ml: float
    model: str
    way: str
    overlap: Overlap
    surface: SurfaceDistances
    outline: float | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """Identifies the trial: case, slice, number."""
        return self.case, self.slice, self.trial


@dataclass(frozen=True)
class SliceScore:
    """A model's whole mask of one slice against all trials there, false positives included."""

    case: str
    slice: int
    model: str
    way: str
    dice: float


@dataclass(frozen=True)
class VolumeScore:
    """Score of an automatic model on a whole case, slices without tumor included."""

    case: str
    model: str
    overlap: Overlap
    surface: SurfaceDistances
    detection: Detection


@dataclass(frozen=True)
class LiverScore:
    """Score of a model's liver, found by text in a whole case."""

    case: str
    model: str
    overlap: Overlap


@dataclass(frozen=True, eq=False)
class Overlay:
    """Image of one trial: grey uint8, reference, and masks by (model, way), all cropped to one part of the slice."""

    case: str
    slice: int
    trial: int
    grey: np.ndarray
    reference: np.ndarray
    masks: dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class ComparedModel:
    """A model in the tables.

    :param contaminated: compared cases on which it was trained or chosen.
    """

    name: str
    sha256: str
    note: str
    contaminated: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of a comparison.

    :param cases: name -> number of (slices, trials) compared.
    :param limit: greatest number of slices of each case; None for all.
    :param notes: on the cases.
    """

    cases: dict[str, tuple[int, int]]
    models: tuple[ComparedModel, ...]
    scores: tuple[Score, ...]
    slices: tuple[SliceScore, ...]
    volumes: tuple[VolumeScore, ...]
    overlays: tuple[Overlay, ...]
    livers: tuple[LiverScore, ...]
    limit: int | None
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """(model, way) in the order of the tables: by model as given, then by way of prompting."""
        return list(dict.fromkeys((score.model, score.way) for score in self.scores))


def compare(
    cases: Iterable[Case],
    contestants: Sequence[Contestant],
    limit: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Comparison:
    """Segment each trial with each model, and score the masks.

    :param cases: read one by one, so that one volume is in memory at a time.
    :param limit: greatest number of slices with trials of each case, evenly spread; automatic models are then not
        evaluated on whole volumes, nor is the liver searched in them.
    :param progress: called with (slices done, None); each slice counts once per model.
    :param cancel: called before each slice, and within the encoders.
    :raises InputError: there is no model, two have the same name, or no case has a trial.
    :raises Cancelled: when `cancel` returns true.
    """
    from SAMLiverTumorLib.datasets.cases import case_hash

    names = [each.name for each in contestants]
    if not names or len(set(names)) < len(names):
        raise InputError("Name at least one model, and each model once; rename a weight file if names are equal.")
    scores: list[Score] = []
    slices: list[SliceScore] = []
    volumes: list[VolumeScore] = []
    livers: list[LiverScore] = []
    overlays: list[Overlay] = []
    notes: list[str] = []
    counts, contaminated, done = {}, {name: [] for name in names}, 0
    for case in cases:
        found = slice_trials(case.volume, case.tumor)
        chosen = evenly(list(found), limit)
        counts[case.name] = (len(chosen), sum(len(found[index]) for index in chosen))
        with_overlay = set(evenly(chosen, _OVERLAYS))
        lesions = _Lesions(case)
        notes += case.notes
        for each in contestants:
            # a weight file from elsewhere may have other names for the same patients
            same = case.name in each.seen or each.seen_hashes & {case.volume.voxel_hash, case_hash(case)}
            if same or any(case.name in pair for pair in doubles([case.name, *each.seen])):
                contaminated[each.name].append(case.name)
        for index in chosen:
            plane, trials = slice_plane(case.volume, "axial", index), found[index]
            lesion_of = [lesions.of(mask, plane) for mask in trials]
            masks_by_model = {}
            for each in contestants:
                if cancel is not None and cancel():
                    raise Cancelled("Cancelled; nothing was written.")
                masks_by_model[each.name] = each.segment_trials(case, plane, trials, cancel)
                done += 1
                if progress is not None:
                    progress(done, None)
            for model, by_way in masks_by_model.items():
                for way, masks in by_way.items():
                    slices.append(_slice_score(case, index, model, way, masks, trials))
                    for number, mask in enumerate(trials):
                        scores.append(
                            Score(
                                case.name,
                                index,
                                number,
                                *lesion_of[number],
                                model,
                                way,
                                overlap(masks.trials[number], mask, case.volume.voxel_volume_ml),
                                surface_distances(masks.trials[number], mask, plane.spacing[1::-1]),
                                outline_ratio(masks.trials[number], mask),
                            )
                        )
            if index in with_overlay:
                overlays.append(_overlay(case, plane, trials, masks_by_model))
        if limit is None:
            volumes += [_volume_score(case, each, cancel) for each in contestants if isinstance(each, UnetContestant)]
            livers += [score for each in contestants if (score := _liver_score(case, each, cancel)) is not None]
    if not scores:
        raise InputError("None of the cases has a slice with a tumor of at least 50 pixels; choose others.")
    order = {name: n for n, name in enumerate(names)}
    scores.sort(key=lambda score: order[score.model])
    models = [ComparedModel(c.name, c.sha256, c.note, tuple(contaminated[c.name])) for c in contestants]
    parts = tuple(models), tuple(scores), tuple(slices), tuple(volumes), tuple(overlays), tuple(livers)
    return Comparison(counts, *parts, limit, tuple(dict.fromkeys(notes)))


class _Lesions:
    """The reference's components in three dimensions, which give the size of each trial's lesion."""

    def __init__(self, case: Case) -> None:
        labels, count = label_lesions(case.tumor)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        self._labels = labels
        self._rank = np.zeros(count + 1, int)
        self._rank[np.argsort(-sizes, kind="stable") + 1] = np.arange(1, count + 1)
        self._ml = np.concatenate([[0.0], sizes * case.volume.voxel_volume_ml])

    def of(self, mask: np.ndarray, plane) -> tuple[int, float]:
        """Number and volume (ml) of the component with most of a trial's pixels."""
        label = int(np.bincount(voxels_to_slice_mask(self._labels, plane)[mask]).argmax())
        return int(self._rank[label]), float(self._ml[label])


def _slice_score(case: Case, index: int, model: str, way: str, masks: TrialMasks, trials) -> SliceScore:
    dice = overlap(masks.whole, np.logical_or.reduce(trials), 1.0).dice
    return SliceScore(case.name, index, model, way, dice)


def _volume_score(case: Case, each: UnetContestant, cancel: Callable[[], bool] | None) -> VolumeScore:
    mask = each.volume(case, None, cancel)
    spacing = case.volume.spacing[::-1]
    result = evaluate({AUTOMATIC: mask}, case.tumor, case.volume.voxel_volume_ml, spacing=spacing, by_object=True)
    return VolumeScore(case.name, each.name, result.overall, result.surface, result.detection)


def _liver_score(case: Case, each: Contestant, cancel: Callable[[], bool] | None) -> LiverScore | None:
    """None of cases without a liver, and of models that know no text for it."""
    found = None if case.liver is None or not isinstance(each, SamContestant) else each.liver(case, cancel)
    if found is None or case.liver is None:
        return None
    # tumors are part of the organ
    reference = case.liver | case.tumor
    return LiverScore(case.name, each.name, overlap(found, reference, case.volume.voxel_volume_ml))


def _overlay(
    case: Case, plane, trials: Sequence[np.ndarray], masks_by_model: dict[str, dict[str, TrialMasks]]
) -> Overlay:
    """The slice's largest trial with its surroundings, chosen independently of the results."""
    number = int(np.argmax([np.count_nonzero(mask) for mask in trials]))
    box = bounding_box(trials[number])
    part = tuple(
        slice(max(s.start - _AROUND_PX, 0), min(s.stop + _AROUND_PX, n))
        for s, n in zip(box, trials[number].shape, strict=True)
    )
    grey = shown_window(case.volume, "liver").to_uint8(sample_plane(case.volume, plane)[part])
    masks = {
        (model, way): np.array(each.trials[number][part])
        for model, by_way in masks_by_model.items()
        for way, each in by_way.items()
    }
    return Overlay(case.name, plane.index, number, grey, trials[number][part].copy(), masks)
