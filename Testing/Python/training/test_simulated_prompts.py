"""Prompts simulated from masks, and losses, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from training_case import disc

from SAMLiverTumorLib.training.optimization.losses import iou_losses, mask_losses, to_frame
from SAMLiverTumorLib.training.samples.simulated_prompts import (
    BOX,
    BOX_AND_POINT,
    POINT,
    box_around,
    corrections,
    first_prompts,
)
from SAMLiverTumorLib.training.samples.simulated_prompts import interior_point as interior


@pytest.fixture
def block():
    """Rows 10 to 19 and columns 20 to 39 of 64 x 64."""
    mask = np.zeros((64, 64), bool)
    mask[10:20, 20:40] = True
    return mask


def seeds(count):
    return (np.random.default_rng(seed) for seed in range(count))


def test_a_box_is_two_pixels_outside_the_lesion(block):
    # edges: the outermost pixels' own are half a pixel out, and two more
    assert box_around(block) == (17.5, 7.5, 41.5, 21.5)


def test_a_hand_drawn_box_misses_by_a_tenth_and_three_pixels_at_most(block):
    boxes = np.array([box_around(block, rng) for rng in seeds(300)])
    off = np.abs(boxes - (17.5, 7.5, 41.5, 21.5))
    assert (off <= (5.4, 4.4, 5.4, 4.4)).all()
    assert (off.max(axis=0) > (4, 3.3, 4, 3.3)).all() and (off.std(axis=0) > 0.5).all()


def test_a_box_around_one_pixel_never_inverts_and_one_at_the_border_stays_inside():
    speck = np.zeros((64, 64), bool)
    speck[0, 63] = True
    assert box_around(speck) == (60.5, -0.5, 63.5, 2.5)
    middle = np.zeros((64, 64), bool)
    middle[30, 30] = True
    for rng in seeds(200):
        u0, v0, u1, v1 = box_around(middle, rng)
        assert u0 <= 29 and u1 >= 31 and v0 <= 29 and v1 >= 31
    for rng in seeds(50):
        u0, v0, u1, v1 = box_around(speck, rng)
        assert -0.5 <= u0 < u1 <= 63.5 and -0.5 <= v0 < v1 <= 63.5


def test_the_deepest_point_is_the_middle_of_a_square():
    mask = np.zeros((64, 64), bool)
    mask[10:21, 30:41] = True
    assert interior(mask) == (35, 15)


def test_a_click_is_inside_even_where_the_middle_is_not():
    ring = disc(30, 30, 20, 64) & ~disc(30, 30, 10, 64)
    points = {interior(ring, rng) for rng in seeds(100)} | {interior(ring)}
    assert all(ring[v, u] for u, v in points) and len(points) > 50
    depths = [min(np.hypot(u - 30, v - 30) - 10, 20 - np.hypot(u - 30, v - 30)) for u, v in points]
    # of a ring ten wide the middle half is clicked more often than its edges
    assert np.mean(depths) > 2.5


def test_the_correction_is_in_the_largest_error(block):
    marked = block.copy()
    marked[:, 36:] = False  # 10 x 4 are missed
    marked[40:44, 40:44] = True  # 16 too many
    points, labels = corrections(block[None], marked[None])
    assert labels.tolist() == [1] and 37 <= points[0, 0] <= 38 and 11 <= points[0, 1] <= 18
    marked[40:48, 40:48] = True  # 64 too many
    points, labels = corrections(block[None], marked[None])
    assert labels.tolist() == [0] and points.tolist() == [[43, 43]]


def test_errors_of_both_kinds_side_by_side_count_apart(block):
    # one connected region of 40 + 30 wrong pixels; neither kind may borrow from the other
    marked = block.copy()
    marked[10:20, 36:40] = False
    marked[10:16, 40:45] = True
    other = np.zeros_like(block)
    other[50:57, 5:11] = True  # 42 missed of another part
    points, labels = corrections((block | other)[None], marked[None])
    assert labels.tolist() == [1] and 50 <= points[0, 1] < 57


def test_without_an_error_the_click_confirms_the_inside(block):
    points, labels = corrections(np.stack([block, block & False]), np.stack([block, block & False]))
    assert labels.tolist() == [1, 0] and block[int(points[0, 1]), int(points[0, 0])]


def test_each_kind_of_prompt_has_its_points_and_boxes(block):
    masks = np.stack([block, block.T])
    assert first_prompts(masks, POINT).boxes is None and first_prompts(masks, BOX).points is None
    both = first_prompts(masks, BOX_AND_POINT)
    assert both.points.shape == (2, 1, 2) and both.labels.tolist() == [[1], [1]] and both.boxes.shape == (2, 4)
    more = both.with_clicks(np.array([[1, 2], [3, 4]]), np.array([0, 1]))
    assert more.points.shape == (2, 2, 2) and more.labels.tolist() == [[1, 0], [1, 1]]
    assert more.points[:, 1].tolist() == [[1, 2], [3, 4]] and more.boxes is both.boxes


def test_prompts_go_to_the_networks_pixels_by_pixel_centers():
    prompts = first_prompts(np.ones((1, 3, 3), bool), BOX).with_clicks(np.array([[0, 511]]), np.array([1]))
    (points, labels), boxes = prompts.to_input(0.5, torch.device("cpu"))
    # frame pixel 0 covers a quarter to the left of the input's pixel 0's center, pixel 511 to the right of 255
    assert points.tolist() == [[[-0.25, 255.25]]] and labels.dtype == torch.int32
    assert boxes.tolist() == [[-0.5, -0.5, 1.0, 1.0]]


def test_mask_losses_are_dice_and_twenty_times_focal_loss():
    targets = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    undecided = torch.zeros(1, 1, 2, 2)
    # p = 1/2: Dice 1 - (2 * 1 + 1) / (2 + 2 + 1), focal (1/2)^2 ln 2 in each pixel
    assert mask_losses(undecided, targets).item() == pytest.approx(0.4 + 20 * 0.25 * math.log(2), abs=1e-5)
    sure = torch.tensor([[[[30.0, 30.0], [-30.0, -30.0]]]])
    losses = mask_losses(torch.cat([sure, -sure], dim=1), targets)
    assert losses.shape == (1, 2) and losses[0, 0] == pytest.approx(0, abs=1e-6) and losses[0, 1] > 100


def test_an_empty_target_wants_an_empty_mask_and_gives_a_gradient():
    nothing = torch.zeros(1, 4, 4)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    mask_losses(logits, nothing).sum().backward()
    assert (logits.grad > 0).all()
    assert mask_losses(torch.full((1, 1, 4, 4), -30.0), nothing).item() == pytest.approx(0, abs=1e-6)


def test_predicted_quality_is_compared_with_the_true_iou():
    logits = torch.tensor([[[[1.0, 1.0], [1.0, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]]]])
    targets = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    losses = iou_losses(torch.tensor([[0.25, 0.25]]), logits, targets)
    # IoU 2 / 3 and 0
    assert losses[0].tolist() == pytest.approx([(0.25 - 2 / 3) ** 2, 0.0625])
    empty = iou_losses(torch.tensor([[0.25]]), -logits[:, :1].abs(), targets * 0)
    assert empty.item() == pytest.approx(0.75**2)


def test_logits_grow_to_the_frame_with_pixel_centers_in_line():
    low = torch.arange(4.0)[None, None, None, :].expand(1, 1, 4, 4)
    # twice the pixels: centers at a quarter and three quarters between those of the coarse ones
    assert to_frame(low, 8)[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
