"""Intervals and tests: on numbers calculated by hand, and by their coverage and power on known distributions."""

import numpy as np
import pytest
from scipy import stats

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.statistics import bootstrap_interval, holm, paired_test


def test_interval_of_many_normal_values_is_that_of_the_central_limit_theorem():
    values = np.random.default_rng(1).normal(0.8, 0.1, 400)
    result = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert result.mean == pytest.approx(values.mean())
    assert (result.low, result.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)
    assert (result.count, result.clusters) == (400, 0)


def test_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(300):
        result = bootstrap_interval(rng.exponential(1.0, 60), draws=600, seed=seed, confidence=0.9)
        inside += result.low <= 1.0 <= result.high
    assert 0.82 < inside / 300 < 0.95


def test_interval_over_patients_is_as_wide_as_that_of_their_number_not_of_their_lesions():
    # 20 patients, 50 lesions each, all lesions of a patient alike: as good as 20 values
    level = np.random.default_rng(3).normal(0.7, 0.1, 20)
    values, patients = np.repeat(level, 50), np.repeat([f"p{n}" for n in range(20)], 50)
    by_patient, by_lesion = bootstrap_interval(values, list(patients)), bootstrap_interval(values)
    assert by_patient.high - by_patient.low == pytest.approx(2 * 1.96 * level.std() / np.sqrt(20), rel=0.1)
    assert (by_lesion.high - by_lesion.low) * 5 < by_patient.high - by_patient.low
    assert by_patient.clusters == 20


def test_patients_drawn_twice_bring_all_their_lesions():
    # two patients with 1 and 3 lesions: the draws are aa, ab, ba, bb, their means 0, 3/4, 3/4, 1
    result = bootstrap_interval([0, 1, 1, 1], ["a", "b", "b", "b"], confidence=0.98)
    assert (result.mean, result.low, result.high) == (0.75, 0.0, 1.0)
    middle = bootstrap_interval([0, 1, 1, 1], ["a", "b", "b", "b"], confidence=0.4)
    assert (middle.low, middle.high) == (0.75, 0.75)


def test_of_a_single_patient_lesions_are_drawn_and_of_none_there_is_no_interval():
    assert bootstrap_interval([0, 1] * 20, ["a"] * 40) == bootstrap_interval([0, 1] * 20)
    assert bootstrap_interval([]).mean is None


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = np.random.default_rng(4).random(30)
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="0 and 1"):
        bootstrap_interval([1.0], confidence=95)
    with pytest.raises(InputError, match="one for each value"):
        bootstrap_interval([1.0, 2.0], ["a"])
    with pytest.raises(InputError, match="same lesions twice"):
        paired_test([1.0], [1.0, 2.0])


def test_five_lesions_that_all_agree_have_the_least_p_that_five_allow():
    result = paired_test([0.9, 0.8, 0.7, 0.95, 0.85], [0.5, 0.45, 0.4, 0.6, 0.35])
    assert result.p_permutation == 2 / 32
    assert result.p_wilcoxon == 2 / 32
    assert result.difference == pytest.approx(0.38)


def test_permutation_over_patients_flips_their_signs_together():
    first, second = np.tile([0.9, 0.8], 30), np.zeros(60)
    patients = np.repeat(["a", "b", "c"], 20)
    assert paired_test(first, second, list(patients)).p_permutation == 2 / 8
    assert paired_test(first, second, list(patients)).clusters == 3
    assert paired_test(first, second).p_permutation < 0.001


def test_models_that_are_the_same_do_not_differ():
    result = paired_test([0.5] * 9, [0.5] * 9)
    assert (result.p_wilcoxon, result.p_permutation, result.difference) == (1.0, 1.0, 0.0)


def test_p_values_of_equal_models_are_uniform_and_a_shift_is_found():
    rng = np.random.default_rng(6)
    same, shifted = [], []
    for seed in range(200):
        a, noise = rng.normal(0, 1, 40), rng.normal(0, 1, 40)
        same.append(paired_test(a, a + noise, draws=400, seed=seed).p_permutation)
        shifted.append(paired_test(a + 0.6, a + noise, draws=400, seed=seed).p_permutation)
    assert stats.kstest(same, "uniform").pvalue > 0.01
    # the power of a t test with an effect of 0.6 and 40 pairs is 0.96
    assert np.mean(np.array(shifted) < 0.05) > 0.88


def test_permutation_agrees_with_scipys():
    rng = np.random.default_rng(8)
    a, b = rng.random(9), rng.random(9) - 0.2
    expected = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    )
    assert paired_test(a, b).p_permutation == pytest.approx(expected.pvalue)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.04, 0.001, 0.5]) == pytest.approx([0.08, 0.003, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
