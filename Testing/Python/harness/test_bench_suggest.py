"""The benchmark of `suggest`: its figures on slices whose order is known."""

import numpy as np
import pytest
from bench.suggest import Row, auroc, summary


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    values, positive = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    # of the four pairs only (0.35, 0.4) is in the wrong order
    assert auroc(values, positive) == pytest.approx(0.75)
    assert np.isnan(auroc(values, np.ones(4, bool)))


def test_a_case_and_the_mean_have_a_line_for_each_measure():
    errors, wrong = [0.1, 0.2, 0.5, 0.9], [4.0, 3.0, 2.0, 1.0]
    rows = [
        Row("a", n, error, cm2, U=error, D=1 - error, W=cm2)
        for n, (error, cm2) in enumerate(zip(errors, wrong, strict=True))
    ]
    lines = [line.split() for line in summary(rows)[1:]]
    assert lines == [
        ["a", "4", "2", "U", "1.00", "-1.00", "1.00"],
        ["a", "4", "2", "D", "-1.00", "1.00", "0.00"],
        ["a", "4", "2", "W", "-1.00", "1.00", "0.00"],
        *[
            ["mean", *line]
            for line in (["4", "2", "U", "1.00", "-1.00", "1.00"], ["4", "2", "D", "-1.00", "1.00", "0.00"])
        ],
        ["mean", "4", "2", "W", "-1.00", "1.00", "0.00"],
    ]
