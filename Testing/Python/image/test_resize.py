"""Images shrink by area means and grow by linear interpolation, axis by axis."""

import numpy as np
import pytest
import torch

from SAMLiverTumorLib.models.preprocessing.resize import resize_image


def image(rows, columns, channels=3):
    return np.random.default_rng(rows * columns).uniform(0, 255, (1, channels, rows, columns)).astype(np.float32)


def resized(values, rows, columns):
    return resize_image(torch.from_numpy(values), (rows, columns)).numpy()


def area_means(values, rows, columns):
    """Mean over each target pixel's rectangle, by counting the parts that whole pixels are cut into."""
    source_rows, source_columns = values.shape[-2:]
    # every source pixel cut into `rows` x `columns` equal parts: then each target pixel holds whole parts
    fine = values.astype(float).repeat(rows, axis=-2).repeat(columns, axis=-1)
    blocks = fine.reshape(*values.shape[:-2], rows, source_rows, columns, source_columns)
    return blocks.mean(axis=(-3, -1))


def linear(values, target):
    """Linear interpolation of the last axis between pixel centers, flat beyond the outermost ones."""
    size = values.shape[-1]
    centers = (np.arange(target) + 0.5) * size / target - 0.5
    return np.apply_along_axis(lambda line: np.interp(centers, np.arange(size), line), -1, values.astype(float))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_whole_factors_are_block_means(factor):
    values = image(12 * factor, 10 * factor)
    expected = values.reshape(1, 3, 12, factor, 10, factor).mean(axis=(3, 5))
    assert resized(values, 12, 10) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("shape", "target"), [((31, 27), (20, 13)), ((50, 40), (49, 39)), ((17, 17), (1, 5))])
def test_other_factors_average_the_area_each_pixel_covers(shape, target):
    values = image(*shape)
    assert resized(values, *target) == pytest.approx(area_means(values, *target), abs=1e-3)


@pytest.mark.parametrize(("shape", "target"), [((12, 10), (31, 24)), ((12, 10), (12, 40)), ((9, 7), (18, 7))])
def test_growing_axes_are_interpolated_between_pixel_centers(shape, target):
    values = image(*shape)
    expected = linear(linear(values, target[1]).swapaxes(-1, -2), target[0]).swapaxes(-1, -2)
    assert resized(values, *target) == pytest.approx(expected, abs=1e-3)


def test_an_axis_grows_while_the_other_shrinks():
    values = image(20, 11)
    expected = area_means(linear(values, 23), 7, 23)
    assert resized(values, 7, 23) == pytest.approx(expected, abs=1e-3)
    turned = np.ascontiguousarray(values.swapaxes(-1, -2))
    assert resized(turned, 23, 7) == pytest.approx(expected.swapaxes(-1, -2), abs=1e-3)


def test_the_same_size_is_the_same_slice_image():
    values = image(20, 11)
    assert (resized(values, 20, 11) == values).all()


@pytest.mark.parametrize("target", [(256, 256), (100, 300), (37, 41)])
def test_a_constant_image_stays_constant(target):
    values = np.full((1, 3, 211, 173), 200.0, np.float32)
    assert resized(values, *target) == pytest.approx(np.full((1, 3, *target), 200.0), abs=1e-3)
