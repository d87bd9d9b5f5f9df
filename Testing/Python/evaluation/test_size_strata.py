"""Results by lesion size, and lesion detection."""

import numpy as np
import pytest

from SAMLiverTumorLib.evaluation.metrics.detection import Detection
from SAMLiverTumorLib.evaluation.metrics.evaluate import evaluate
from SAMLiverTumorLib.evaluation.metrics.size_strata import STRATA, by_stratum, stratum_of


def test_each_limit_belongs_to_the_larger_stratum():
    cases = {0.0: 0, 0.999: 0, 1.0: 1, 9.99: 1, 10.0: 2, 99.9: 2, 100.0: 3, 1e4: 3}
    assert {ml: stratum_of(ml) for ml in cases} == {ml: STRATA[n][0] for ml, n in cases.items()}


def test_empty_strata_are_listed():
    groups = by_stratum([0.5, 200.0, 0.1], lambda ml: ml)
    assert list(groups.values()) == [[0.5, 0.1], [], [], [200.0]]


def test_means_of_a_stratum_count_missed_lesions_as_zero():
    reference, prediction = np.zeros((2, 8, 30, 30), bool)
    reference[0:4, 0:5, 0:5] = True  # 100 voxels of 0.05 ml: 5 ml
    reference[0:4, 10:15, 0:10] = True  # 200: 10 ml
    reference[0:2, 20:25, 0:4] = True  # 40: 2 ml
    reference[7, 29, 29] = True  # 0.05 ml
    prediction[0:2, 0:5, 0:5] = True  # half of the first: Dice 2/3
    prediction[0:4, 10:15, 0:10] = True
    evaluation = evaluate({"tumor": prediction}, reference, 0.05, spacing=(5.0, 2.0, 5.0))
    small, middle, large, giant = evaluation.strata
    assert (small.lesions, small.found, small.dice, small.dice_found, small.recall) == (1, 0, 0.0, None, 0.0)
    assert (middle.lesions, middle.found, middle.recall) == (2, 1, 0.5)
    assert (middle.dice, middle.dice_found) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    # two slices of 5 mm are missing: their distances are 5 and 10, and more than 5 % of the surface is at 10
    assert middle.hd95_mm == pytest.approx(10.0)
    assert (large.dice, large.hd95_mm) == (1.0, 0.0)
    assert (giant.lesions, giant.dice, giant.recall) == (0, None, None)
    assert "1 to 10 ml: 1 of 2 found, mean Dice 0.333, of those found 0.667, HD95 10.00 mm." in evaluation.as_table()


def test_lesions_found_missed_and_false_are_counted():
    reference, prediction = np.zeros((2, 4, 20, 20), bool)
    for row in (0, 4, 8, 12):
        reference[1, row : row + 2, 0:3] = True
    for row in (0, 4, 8):
        prediction[1, row, 0] = True
    prediction[3, 19, 19] = prediction[3, 0, 19] = True
    detection = evaluate({"tumor": prediction}, reference, 0.001).detection
    assert detection == Detection(found=3, missed=1, false_positives=2)
    assert (detection.recall, detection.precision, detection.f1) == pytest.approx((3 / 4, 3 / 5, 2 / 3))


def test_nothing_to_find_and_nothing_found_is_perfect_and_anything_else_is_not():
    assert [getattr(Detection(0, 0, 0), name) for name in ("recall", "precision", "f1")] == [1, 1, 1]
    assert [getattr(Detection(0, 2, 0), name) for name in ("recall", "precision", "f1")] == [0, 0, 0]
    assert [getattr(Detection(0, 0, 3), name) for name in ("recall", "precision", "f1")] == [0, 0, 0]
