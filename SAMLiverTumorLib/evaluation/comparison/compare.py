"""`compare`: models on the same trials of the same cases, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.datasets.reference_prompts import evenly, slice_trials
from SAMLiverTumorLib.errors import Cancelled, InputError
from SAMLiverTumorLib.evaluation.comparison.contestants import (
    AUTOMATIC,
    Answer,
    Contestant,
    UnetContestant,
    shown_window,
)
from SAMLiverTumorLib.evaluation.metrics.detection import Detection
from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate
from SAMLiverTumorLib.evaluation.metrics.overlap import Overlap, overlap
from SAMLiverTumorLib.evaluation.metrics.surface_distance import SurfaceDistances, surface_distances
from SAMLiverTumorLib.image.mask_geometry import bounding_box
from SAMLiverTumorLib.image.sampling import sample_plane, voxels_to_picture
from SAMLiverTumorLib.io.ircadb.lits_cases import doubles
from SAMLiverTumorLib.plane import slice_plane

# Surroundings of a lesion in its picture (pixels), and pictures of a case.
_AROUND_PX, _PICTURES = 24, 2


@dataclass(frozen=True)
class Score:
    """One trial, one model, one way of prompting it.

    :param slice: voxel index along the volume's axial axis.
    :param trial: number of the component on its slice, from 0.
    :param lesion: 6-connected component of the case's reference that it belongs to, 1 the largest.
    :param lesion_ml: that component's volume.
    :param overlap: in pixels of the slice.
    :param surface: in millimeters within the slice.
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

    @property
    def key(self) -> tuple[str, int, int]:
        """Names the trial."""
        return self.case, self.slice, self.trial


@dataclass(frozen=True)
class SliceScore:
    """All that a model marked on one slice against all trials there together, false positives included."""

    case: str
    slice: int
    model: str
    way: str
    dice: float


@dataclass(frozen=True)
class VolumeScore:
    """An automatic model on a whole case, slices without tumor included."""

    case: str
    model: str
    overlap: Overlap
    surface: SurfaceDistances
    detection: Detection


@dataclass(frozen=True, eq=False)
class Overlay:
    """One trial to look at: grey uint8, the reference, and masks by (model, way); all of one part of the slice."""

    case: str
    slice: int
    trial: int
    grey: np.ndarray
    reference: np.ndarray
    masks: dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Entrant:
    """What tables say of a model.

    :param contaminated: compared cases that it was trained or chosen on.
    """

    name: str
    sha256: str
    note: str
    contaminated: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of a comparison.

    :param cases: name -> (slices, trials) that were compared.
    :param limit: at most so many slices of each case; None for all.
    :param notes: what has to be known of the cases' figures.
    """

    cases: dict[str, tuple[int, int]]
    entrants: tuple[Entrant, ...]
    scores: tuple[Score, ...]
    slices: tuple[SliceScore, ...]
    volumes: tuple[VolumeScore, ...]
    overlays: tuple[Overlay, ...]
    limit: int | None
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """(model, way) in the order of tables: as the models were named, each in the order of its ways."""
        return list(dict.fromkeys((score.model, score.way) for score in self.scores))


def compare(
    cases: Iterable[Case],
    contestants: Sequence[Contestant],
    limit: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Comparison:
    """Have each model answer for each trial.

    :param cases: read one by one, so that one volume is in memory at a time.
    :param limit: at most so many slices with trials of each case, evenly spread; automatic models are then not
        judged on whole volumes.
    :param progress: told of (slices done, None), a slice counting once for each model.
    :param cancel: asked before each slice, and within the encoders.
    :raises InputError: two models of one name, no model, or no trial in any case.
    :raises Cancelled: when `cancel` says so.
    """
    from SAMLiverTumorLib.datasets.cases import case_hash

    names = [each.name for each in contestants]
    if not names or len(set(names)) < len(names):
        raise InputError("Name at least one model, and each model once; rename a weight file where names are equal.")
    scores: list[Score] = []
    slices: list[SliceScore] = []
    volumes: list[VolumeScore] = []
    overlays: list[Overlay] = []
    notes: list[str] = []
    counts, contaminated, done = {}, {name: [] for name in names}, 0
    for case in cases:
        found = slice_trials(case.volume, case.tumor)
        chosen = evenly(list(found), limit)
        counts[case.name] = (len(chosen), sum(len(found[index]) for index in chosen))
        pictured = set(evenly(chosen, _PICTURES))
        lesions = _Lesions(case)
        notes += case.notes
        for each in contestants:
            # a passed on file may call patients otherwise than their scans are named
            same = case.name in each.seen or each.seen_hashes & {case.volume.voxel_hash, case_hash(case)}
            if same or any(case.name in pair for pair in doubles([case.name, *each.seen])):
                contaminated[each.name].append(case.name)
        for index in chosen:
            plane, trials = slice_plane(case.volume, "axial", index), found[index]
            where = [lesions.of(mask, plane) for mask in trials]
            answers = {}
            for each in contestants:
                if cancel is not None and cancel():
                    raise Cancelled("Cancelled; nothing was written.")
                answers[each.name] = each.answer(case, plane, trials, cancel)
                done += 1
                if progress is not None:
                    progress(done, None)
            for model, by_way in answers.items():
                for way, answer in by_way.items():
                    slices.append(_slice_score(case, index, model, way, answer, trials))
                    for number, mask in enumerate(trials):
                        scores.append(
                            Score(
                                case.name,
                                index,
                                number,
                                *where[number],
                                model,
                                way,
                                overlap(answer.trials[number], mask, case.volume.voxel_volume_ml),
                                surface_distances(answer.trials[number], mask, plane.spacing[1::-1]),
                            )
                        )
            if index in pictured:
                overlays.append(_overlay(case, plane, trials, answers))
        if limit is None:
            volumes += [_volume_score(case, each, cancel) for each in contestants if isinstance(each, UnetContestant)]
    if not scores:
        raise InputError("None of the cases has a tumor of 50 pixels on a slice; choose others.")
    order = {name: n for n, name in enumerate(names)}
    scores.sort(key=lambda score: order[score.model])
    entrants = [Entrant(c.name, c.sha256, c.note, tuple(contaminated[c.name])) for c in contestants]
    parts = tuple(entrants), tuple(scores), tuple(slices), tuple(volumes), tuple(overlays)
    return Comparison(counts, *parts, limit, tuple(notes))


class _Lesions:
    """The reference's components in three dimensions, by which trials are told apart by size."""

    def __init__(self, case: Case) -> None:
        labels, count = ndimage.label(case.tumor)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        self._labels = labels
        self._rank = np.zeros(count + 1, int)
        self._rank[np.argsort(-sizes, kind="stable") + 1] = np.arange(1, count + 1)
        self._ml = np.concatenate([[0.0], sizes * case.volume.voxel_volume_ml])

    def of(self, mask: np.ndarray, plane) -> tuple[int, float]:
        """Number and volume (ml) of the component that most of a trial's pixels belong to."""
        label = int(np.bincount(voxels_to_picture(self._labels, plane)[mask]).argmax())
        return int(self._rank[label]), float(self._ml[label])


def _slice_score(case: Case, index: int, model: str, way: str, answer: Answer, trials) -> SliceScore:
    dice = overlap(answer.marked, np.logical_or.reduce(trials), 1.0).dice
    return SliceScore(case.name, index, model, way, dice)


def _volume_score(case: Case, each: UnetContestant, cancel: Callable[[], bool] | None) -> VolumeScore:
    marked = each.volume(case, None, cancel)
    spacing = case.volume.spacing[::-1]
    result = evaluate({AUTOMATIC: marked}, case.tumor, case.volume.voxel_volume_ml, spacing=spacing, by_object=True)
    return VolumeScore(case.name, each.name, result.overall, result.surface, result.detection)


def _overlay(case: Case, plane, trials: Sequence[np.ndarray], answers: dict[str, dict[str, Answer]]) -> Overlay:
    """The slice's largest trial with its surroundings; chosen before anything of the results is known."""
    number = int(np.argmax([np.count_nonzero(mask) for mask in trials]))
    box = bounding_box(trials[number])
    part = tuple(
        slice(max(s.start - _AROUND_PX, 0), min(s.stop + _AROUND_PX, n))
        for s, n in zip(box, trials[number].shape, strict=True)
    )
    grey = shown_window(case.volume, "liver").to_uint8(sample_plane(case.volume, plane)[part])
    masks = {
        (model, way): np.array(answer.trials[number][part])
        for model, by_way in answers.items()
        for way, answer in by_way.items()
    }
    return Overlay(case.name, plane.index, number, grey, trials[number][part].copy(), masks)
