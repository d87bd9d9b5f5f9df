"""Results by lesion size, which a mean over all lesions hides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from SAMLiverTumorLib.evaluation.metrics.lesion_matching import Lesion

Item = TypeVar("Item")

STRATA = (("under 1 ml", 0.0), ("1 to 10 ml", 1.0), ("10 to 100 ml", 10.0), ("over 100 ml", 100.0))
"""Name and least volume (ml) of each stratum; a lesion of exactly 10 ml is in "10 to 100 ml"."""

STRATA_RULE = (
    "Size strata are by the lesion's volume in the reference, lower limit included: "
    + ", ".join(name for name, _ in STRATA)
    + ". Means of a stratum are unweighted over its lesions, missed ones with Dice 0."
)


@dataclass(frozen=True)
class StratumRow:
    """The lesions of one size stratum.

    :param name: of the stratum.
    :param lesions: number of lesions.
    :param found: number of them that were found.
    :param dice: mean over all lesions; None without any, likewise below.
    :param dice_found: mean over those found.
    :param hd95_mm: mean over those found whose surfaces were compared.
    """

    name: str
    lesions: int
    found: int
    dice: float | None
    dice_found: float | None
    hd95_mm: float | None

    @property
    def recall(self) -> float | None:
        """Fraction of the lesions that were found."""
        return self.found / self.lesions if self.lesions else None


def stratum_of(ml: float) -> str:
    """The stratum of a volume in milliliters.

    >>> stratum_of(0.99), stratum_of(1.0)
    ('under 1 ml', '1 to 10 ml')
    """
    return next(name for name, least in reversed(STRATA) if ml >= least)


def by_stratum(items: Iterable[Item], ml: Callable[[Item], float]) -> dict[str, list[Item]]:
    """Items by the stratum of their volume; all strata from small to large, empty ones included."""
    groups: dict[str, list[Item]] = {name: [] for name, _ in STRATA}
    for item in items:
        groups[stratum_of(ml(item))].append(item)
    return groups


def strata_rows(lesions: Sequence[Lesion]) -> tuple[StratumRow, ...]:
    """One row for each stratum, from small to large."""
    rows = []
    for name, group in by_stratum(lesions, lambda lesion: lesion.overlap.reference_ml).items():
        found = [lesion for lesion in group if lesion.found]
        distances = [lesion.surface.hd95_mm for lesion in found if lesion.surface is not None]
        rows.append(
            StratumRow(
                name,
                len(group),
                len(found),
                mean_or_none([lesion.overlap.dice for lesion in group]),
                mean_or_none([lesion.overlap.dice for lesion in found]),
                mean_or_none(distances),
            )
        )
    return tuple(rows)


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are defined; None if none is."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
