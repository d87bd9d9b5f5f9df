"""Overlap metrics: calculated by hand on a few voxels, and equal to SimpleITK's on random masks."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.evaluation.metrics.overlap import Overlap, overlap


def test_every_figure_of_twelve_voxels_worked_out_by_hand():
    # prediction x x x . | x . . . | . . . .   reference . x x x | x x . . | . . . .
    prediction = np.array([[[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]], bool)
    reference = np.array([[[0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]], bool)
    result = overlap(prediction, reference, voxel_volume_ml=0.5)
    assert (result.tp, result.fp, result.fn, result.tn) == (3, 1, 2, 6)
    assert result.dice == pytest.approx(2 / 3)
    assert result.iou == pytest.approx(0.5)
    assert result.accuracy == pytest.approx(0.75)
    assert result.sensitivity == pytest.approx(0.6)
    assert result.specificity == pytest.approx(6 / 7)
    assert result.precision == pytest.approx(0.75)
    assert (result.predicted_ml, result.reference_ml, result.volume_error_ml) == (2.0, 2.5, -0.5)
    assert result.volume_error_percent == pytest.approx(-20.0)


def test_both_masks_empty_is_a_perfect_result():
    empty = np.zeros((2, 3, 4), bool)
    result = overlap(empty, empty, 1.0)
    assert (result.dice, result.iou, result.sensitivity, result.precision) == (1, 1, 1, 1)
    assert (result.accuracy, result.specificity, result.volume_error_percent) == (1, 1, 0)


def test_empty_prediction_of_a_lesion_scores_zero():
    reference = np.zeros((1, 2, 4), bool)
    reference[0, 0, :2] = True
    result = overlap(np.zeros_like(reference), reference, 1.0)
    assert (result.dice, result.iou, result.sensitivity, result.precision) == (0, 0, 0, 0)
    assert (result.accuracy, result.specificity) == (0.75, 1.0)
    assert result.volume_error_percent == -100


def test_prediction_where_the_reference_is_empty_scores_zero_and_has_no_relative_volume_error():
    prediction = np.zeros((1, 2, 4), bool)
    prediction[0, 0, :2] = True
    result = overlap(prediction, np.zeros_like(prediction), 1.0)
    assert (result.dice, result.iou, result.sensitivity, result.precision) == (0, 0, 0, 0)
    assert (result.accuracy, result.specificity) == (0.75, 0.75)
    assert result.volume_error_ml == 2.0
    assert result.volume_error_percent is None


def test_reference_that_fills_the_volume_has_specificity_one():
    full = np.ones((1, 2, 2), bool)
    assert overlap(full, full, 1.0).specificity == 1.0
    assert overlap(~full, full, 1.0).specificity == 1.0


def test_masks_of_different_shape_are_refused():
    # (1, 2, 3) against (2, 3) would broadcast and count nonsense
    with pytest.raises(InputError, match="same grid"):
        overlap(np.ones((1, 2, 3), bool), np.ones((2, 3), bool), 1.0)


def test_label_values_count_as_inside_like_true():
    labels = np.array([[[0, 2, 2]]], np.uint8)
    assert overlap(labels, labels.astype(bool), 1.0) == Overlap(2, 0, 0, 1, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_equal_to_simpleitk_on_random_masks(seed, predicted_share, referenced_share):
    rng = np.random.default_rng(seed)
    prediction, reference = rng.random((2, 5, 6, 7)) < np.array([predicted_share, referenced_share]).reshape(2, 1, 1, 1)
    prediction[0, 0, 0] = reference[4, 5, 6] = True
    spacing = (0.7, 0.8, 2.5)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, reference)]
    for image in images:
        image.SetSpacing(spacing)
    result = overlap(prediction, reference, 0.7 * 0.8 * 2.5 / 1000)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(images[1], images[0])  # source is the reference, target the prediction
    assert result.dice == pytest.approx(measures.GetDiceCoefficient(1))
    assert result.iou == pytest.approx(measures.GetJaccardCoefficient(1))
    shared, total = prediction & reference, prediction.size
    assert result.sensitivity == pytest.approx(shared.sum() / reference.sum())
    assert result.precision == pytest.approx(shared.sum() / prediction.sum())
    assert result.accuracy == pytest.approx((prediction == reference).sum() / total)
    for image, milliliters in zip(images, (result.predicted_ml, result.reference_ml), strict=True):
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(image)
        assert milliliters == pytest.approx(shape.GetPhysicalSize(1) / 1000)
