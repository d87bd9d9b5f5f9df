"""The running average of the weights, and the loss in which foreground and background weigh half each."""

import math

import pytest
import torch
from torch import nn

from SAMLiverTumorLib.training.optimization.losses import balanced_cross_entropy
from SAMLiverTumorLib.training.optimization.weight_average import WeightAverage


class Toy(nn.Module):
    """One weight that learns."""

    def __init__(self, value=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))

    def learnable(self):
        return {"weight": self.weight}


def test_the_average_changes_fast_at_first_and_slowly_later():
    toy = Toy()
    average = WeightAverage(toy, 0.9, {})
    with torch.no_grad():
        toy.weight.fill_(1.0)
    average.update(0)  # decay 1 / 10
    assert average.weights["weight"].item() == pytest.approx(0.9)
    average.update(1)  # decay 2 / 11
    assert average.weights["weight"].item() == pytest.approx(0.9 * 2 / 11 + 9 / 11)
    average.update(1000)  # decay 0.9 at most
    assert average.weights["weight"].item() == pytest.approx(0.9 * (0.9 * 2 / 11 + 9 / 11) + 0.1)


def test_the_averaged_weights_are_in_place_only_within_the_block_even_after_an_error():
    toy = Toy(3.0)
    average = WeightAverage(toy, 0.9, {"weight": torch.tensor([7.0])})
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert toy.weight.item() == 7.0
        1 / 0  # noqa: B018
    assert toy.weight.item() == 3.0 and average.weights["weight"].item() == 7.0


def test_foreground_and_background_weigh_half_each_however_small_the_foreground():
    logits, targets = torch.zeros(100), torch.zeros(100)
    targets[0], logits[0] = 1.0, -2.0
    # one pixel at -2: ln(1 + e^2); 99 at 0: ln 2
    expected = (math.log(1 + math.exp(2)) + math.log(2)) / 2
    assert balanced_cross_entropy(logits, targets).item() == pytest.approx(expected, abs=1e-6)
    assert balanced_cross_entropy(logits[1:], targets[1:]).item() == pytest.approx(math.log(2), abs=1e-6)
