"""What to outline next: scans and slices ranked by how uncertain the automatic mode is of them.

    >>> suggestions = suggest(find_cases(folder, None), PredictorPool())                    # doctest: +SKIP
    >>> [(scan.name, scan.worst[0].index) for scan in suggestions.scans]                    # doctest: +SKIP

One scan is in memory at a time, and beside it one slice's pictures and a mask of the liver on each slice looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMLiverTumorLib.active_learning.scan_uncertainty import (
    LIVER,
    SliceDoubt,
    every_mm,
    of_scan,
    scan_doubts,
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
"""About so far apart are the slices that are looked at."""


@dataclass(frozen=True)
class ScanDoubt:
    """A scan and its slices by uncertainty.

    :param name: of the patient, as the scan's file is named.
    :param worst: its slices, most uncertain first, at least 10 mm apart.
    :param looked_at: number of slices that were looked at and have liver.
    :param uncertainty: of the scan, in cm; see `scan_doubt.of_scan`.
    """

    name: str
    worst: tuple[SliceDoubt, ...]
    looked_at: int
    uncertainty: float


@dataclass(frozen=True)
class Suggestions:
    """Which scans, and which slices of them, to outline next.

    :param scans: most uncertain first; equal ones by name.
    :param kept: scans passed over, as their outlines are in the store.
    :param notes: scans that could not be looked at, and why.
    :param cancelled: cut short; the scans looked at whole until then are ranked.
    :param model: its id, SHA-256 and window.
    """

    scans: tuple[ScanDoubt, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]
    cancelled: bool
    model: dict

    def slices(self, count: int) -> list[tuple[ScanDoubt, SliceDoubt]]:
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

    :param files: the scans; labels that they may have are not looked at.
    :param window: the model's own if not given.
    :param liver_of: gives the outline of the liver, bool (k, j, i), by name and scan; None where there is none.
    :param store: scans that are kept in it are passed over; None passes over none.
    :param every: look at each so-many-th slice; None for slices about 5 mm apart.
    :param views: see `scan_doubts`.
    :param progress: told of (scan, scans done, of how many, its slices done, of how many).
    :raises PromptError: no model, or not this one, knows the concept.
    :raises InputError: none of the scans could be looked at; the text has the first reason.
    """
    predictor = pool.predictor(text_model(model))
    check_concept(concept, predictor.model.info)
    shown = window or parse_window(predictor.model.info.default_window)
    scans, kept, notes, cancelled = [], [], [], False
    for number, each in enumerate(files):

        def told(done: int, total: int, name: str = each.name, number: int = number) -> None:
            if progress is not None:
                progress(name, number, len(files), done, total)

        try:
            raise_if_cancelled(cancel)
            volume = read_scan(each.image)
            if store is not None and store.holds(volume):
                kept.append(each.name)
                continue
            check_window(volume, shown)
            liver = liver_of(each.name, volume) if liver_of is not None else None
            scans.append(_scan(each.name, volume, predictor, concept, shown, liver, every, views, told, cancel))
        except Cancelled:
            cancelled = True
            break
        except SAMLiverTumorError as error:
            notes.append(f"{each.name}: {error}")
    if notes and not scans and not kept and not cancelled:
        raise InputError(f"None of {len(files)} scans could be looked at. {notes[0]}")
    ranked = tuple(sorted(scans, key=lambda scan: (-scan.uncertainty, scan.name)))
    return Suggestions(ranked, tuple(kept), tuple(notes), cancelled, model_entry(predictor, shown))


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
) -> ScanDoubt:
    step = every or every_mm(volume, STEP_MM)
    doubts = list(scan_doubts(volume, predictor, concept, window, liver, step, views, progress, cancel))
    if not doubts:
        raise InputError(f"no {LIVER} was found on any of its slices; name its outline, or another window.")
    return ScanDoubt(name, tuple(worst_apart(doubts)), len(doubts), of_scan(doubts))
