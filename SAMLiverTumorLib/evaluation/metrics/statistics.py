"""Bootstrap intervals of means, and paired tests of the difference between two models, with fixed seeds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError

CONFIDENCE = 0.95
DRAWS = 10_000

_CHUNK = 2_000_000

INTERVAL_RULE = (
    f"Intervals are {CONFIDENCE:.0%} percentile bootstrap intervals of the mean over all trials ({DRAWS:,} draws, seed "
    "0). By patient: patients are drawn with all their lesions, because lesions and slices of one patient resemble "
    "each other; with fewer than about ten patients this is a rough guide and too narrow, with one (-) impossible. By "
    "trial: single trials are drawn, which gives the precision of the mean for these patients only."
)

TEST_RULE = (
    "Paired tests compare two models on the same lesions, two-sided. Wilcoxon: signed-rank test over lesions, which "
    "assumes that they are independent. Permutation: the signs of all differences of a patient are flipped together "
    f"(every combination, or {DRAWS:,} random ones with seed 0), so that the smallest p with n patients is 2 / 2^n; "
    "with a single patient, signs are flipped by lesion. Holm's correction is over the comparisons of one table."
)


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval.

    :param mean: of the values; None without any, likewise both limits.
    :param low: lower limit.
    :param high: upper limit.
    :param count: number of values.
    :param clusters: number of patients that were drawn; 0 if single values were drawn.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int
    clusters: int = 0


@dataclass(frozen=True)
class PairedTest:
    """Test of the difference between two models on the same lesions.

    :param difference: mean of first minus second.
    :param p_wilcoxon: two-sided, over lesions.
    :param p_permutation: two-sided, of the mean difference; by patient if patients were given.
    :param count: number of pairs.
    :param clusters: number of patients whose signs were flipped; 0 if single pairs were flipped.
    """

    difference: float
    p_wilcoxon: float
    p_permutation: float
    count: int
    clusters: int = 0


def bootstrap_interval(
    values: Sequence[float],
    patients: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a mean (Efron and Tibshirani, 1993).

    :param values: one for each lesion.
    :param patients: the patient of each lesion. Patients are then drawn, not lesions (cluster bootstrap; Davison and
        Hinkley, 1997), unless there is only one.
    :param confidence: between 0 and 1.
    :raises InputError: the lists differ in length, or the confidence is not between 0 and 1.

    >>> bootstrap_interval([0.5, 0.5, 0.5]).low
    0.5
    """
    values = np.asarray(values, float)
    if not 0 < confidence < 1:
        raise InputError(f"The confidence is {confidence:g}; give one between 0 and 1, such as 0.95.")
    sums, counts, clusters = _clustered(values, patients)
    if not len(values):
        return Interval(None, None, None, 0)
    rng = np.random.default_rng(seed)
    size = len(sums)
    means = []
    for start in range(0, draws, step := max(1, _CHUNK // size)):
        drawn = rng.integers(0, size, (min(step, draws - start), size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high), len(values), clusters)


def paired_test(
    first: Sequence[float],
    second: Sequence[float],
    patients: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedTest:
    """Wilcoxon's signed-rank test and a sign-flip permutation test of the mean difference.

    :param first: one value for each lesion.
    :param second: of the other model, for the same lesions in the same order.
    :param patients: the patient of each lesion. The signs of a patient's differences are then flipped together.
    :raises InputError: the lists differ in length, or are empty.
    """
    from scipy.stats import wilcoxon

    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or not len(first):
        raise InputError(
            f"A paired test needs the same lesions twice; there are {len(first)} and {len(second)} values."
        )
    differences = first - second
    sums, _, clusters = _clustered(differences, patients)
    # wilcoxon is undefined if all differences are 0
    p_wilcoxon = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return PairedTest(float(differences.mean()), p_wilcoxon, _sign_flips(sums, draws, seed), len(differences), clusters)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for multiple comparisons (Holm, 1979), in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, n in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[n]))
        corrected[n] = highest
    return corrected


def _sign_flips(sums: np.ndarray, draws: int, seed: int) -> float:
    """Two-sided p of a sum, under random signs of its terms.

    Exact if there are no more combinations than draws. Otherwise the observed signs count as one of the draws, so that
    p is never 0 (Phipson and Smyth, 2010).
    """
    size, observed = len(sums), abs(sums.sum())
    # tolerance, because rounding depends on the order of the terms
    least = observed - 1e-9 * max(np.abs(sums).sum(), 1e-300)
    if size < 31 and 2**size <= draws:
        bits = np.arange(2**size)[:, None] >> np.arange(size) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= least))
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, draws, step := max(1, _CHUNK // size)):
        signs = rng.integers(0, 2, (min(step, draws - start), size)) * 2 - 1
        extreme += int(np.count_nonzero(np.abs(signs @ sums) >= least))
    return (extreme + 1) / (draws + 1)


def _clustered(values: np.ndarray, patients: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Sum and count of each unit that is drawn, and the number of patients (0 if units are single values)."""
    if patients is not None and len(patients) != len(values):
        raise InputError(f"There are {len(values)} values and {len(patients)} patients; give one for each value.")
    numbers = {patient: n for n, patient in enumerate(dict.fromkeys(patients or ()))}
    if len(numbers) < 2:
        return values, np.ones(len(values)), 0
    patient_of = np.array([numbers[patient] for patient in patients])
    return np.bincount(patient_of, values), np.bincount(patient_of).astype(float), len(numbers)
