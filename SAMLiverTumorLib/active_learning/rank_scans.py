"""Suggest what to outline next: scans and slices ranked by the uncertainty of the automatic mode.

    >>> suggestions = suggest(find_cases(folder, None), PredictorPool())                    # doctest: +SKIP
    >>> [(scan.name, scan.worst[0].index) for scan in suggestions.scans]                    # doctest: +SKIP

Memory holds one scan at a time, with the liver mask of each slice sampled and the images of one slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.active_learning.scan_uncertainty import (
    LIVER,
    SliceUncertainty,
    scan_uncertainty,
    slice_uncertainties,
    slices_in,
    worst_apart,
)
from SAMLiverTumorLib.cancel import raise_if_cancelled
from SAMLiverTumorLib.datasets.cases import CaseFiles, read_scan
from SAMLiverTumorLib.datasets.store.case_store import CaseStore
from SAMLiverTumorLib.errors import Cancelled, InputError, SAMLiverTumorError
from SAMLiverTumorLib.image.window import Window, check_window, parse_window
from SAMLiverTumorLib.inference.model_choice import AUTO, LIVER_TUMOR, check_concept
from SAMLiverTumorLib.inference.pool import PredictorPool
from SAMLiverTumorLib.inference.segment_slices import model_entry
from SAMLiverTumorLib.inference.text_search import text_model
from SAMLiverTumorLib.volume import Volume

if TYPE_CHECKING:
    from SAMLiverTumorLib.inference.predictor import Predictor

STEP_MM = 5.0
"""Approximate distance between the slices sampled."""


@dataclass(frozen=True)
class ScanUncertainty:
    """A scan and its slices by uncertainty.

    :param name: of the patient, as the scan's file is named.
    :param worst: its slices, most uncertain first, at least 10 mm apart.
    :param slice_count: number of slices that were sampled and have liver.
    :param uncertainty: of the scan, in cm; see `scan_uncertainty.scan_uncertainty`.
    """

    name: str
    worst: tuple[SliceUncertainty, ...]
    slice_count: int
    uncertainty: float


@dataclass(frozen=True)
class Suggestions:
    """Scans, and slices of them, to outline next.

    :param scans: most uncertain first; equal ones by name.
    :param kept: scans skipped because their outlines are in the store.
    :param notes: scans that could not be ranked, and why; what there is to know about the others.
    :param cancelled: whether it was cancelled; the scans finished until then are ranked.
    :param model: its id, SHA-256 and window.
    """

    scans: tuple[ScanUncertainty, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]
    cancelled: bool
    model: dict

    def slices(self, count: int) -> list[tuple[ScanUncertainty, SliceUncertainty]]:
        """The most uncertain slices of all scans together."""
        pairs = [(scan, each) for scan in self.scans for each in scan.worst]
        return sorted(pairs, key=lambda pair: (-pair[1].uncertainty, pair[0].name, pair[1].index))[:count]


def suggest(
    files: Sequence[CaseFiles],
    pool: PredictorPool,
    concept: str = LIVER_TUMOR,
    model: str = AUTO,
    window: Window | None = None,
    liver_of: Callable[[str, Volume], np.ndarray | None] | None = None,
    store: CaseStore | None = None,
    every: int | None = None,
    views: int = 2,
    progress: Callable[[str, int, int, int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Suggestions:
    """Rank scans and their slices.

    :param files: the scans; their labels, if any, are ignored.
    :param window: the model's own if not given.
    :param liver_of: returns the liver mask, bool (k, j, i), for a name and scan; None if there is none.
    :param store: scans in it are skipped; None skips none.
    :param every: sample every n-th slice; None for slices about 5 mm apart.
    :param views: see `slice_uncertainties`.
    :param progress: called with (scan, scans done, all scans, its slices done, all its slices).
    :raises PromptError: no model, or not this one, knows the concept.
    :raises InputError: no scan could be ranked; the text has the first reason.
    """
    predictor = pool.predictor(text_model(model))
    check_concept(concept, predictor.model.info)
    shown = window or parse_window(predictor.model.info.default_window)
    scans, kept, failed, notes, cancelled = [], [], [], [], False

    def note(name: str, text: str) -> None:
        notes.append(f"{name}: {text}")

    for number, each in enumerate(files):

        def slice_done(done: int, total: int, name: str = each.name, number: int = number) -> None:
            if progress is not None:
                progress(name, number, len(files), done, total)

        try:
            raise_if_cancelled(cancel)
            volume = read_scan(each.image, each.series or None, partial(note, each.name))
            if store is not None and store.holds(volume):
                kept.append(each.name)
                continue
            check_window(volume, shown)
            liver = liver_of(each.name, volume) if liver_of is not None else None
            scans.append(_scan(each.name, volume, predictor, concept, shown, liver, every, views, slice_done, cancel))
        except Cancelled:
            cancelled = True
            break
        except SAMLiverTumorError as error:
            failed.append(f"{each.name}: {error}")
    if failed and not scans and not kept and not cancelled:
        raise InputError(f"None of {len(files)} scans could be ranked. {failed[0]}")
    ranked = tuple(sorted(scans, key=lambda scan: (-scan.uncertainty, scan.name)))
    return Suggestions(ranked, tuple(kept), (*failed, *notes), cancelled, model_entry(predictor, shown))


def _scan(
    name: str,
    volume: Volume,
    predictor: Predictor,
    concept: str,
    window: Window,
    liver: np.ndarray | None,
    every: int | None,
    views: int,
    progress: Callable[[int, int], None],
    cancel: Callable[[], bool] | None,
) -> ScanUncertainty:
    step = every or slices_in(volume, STEP_MM)
    slices = list(slice_uncertainties(volume, predictor, concept, window, liver, step, views, progress, cancel))
    if not slices:
        raise InputError(f"no {LIVER} was found on any of its slices; give its outline, or choose another window.")
    return ScanUncertainty(name, tuple(worst_apart(slices)), len(slices), scan_uncertainty(slices))
