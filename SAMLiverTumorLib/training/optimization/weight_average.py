"""A running average of the weights that learn: steadier than the last step's, and as good a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from SAMLiverTumorLib.training.optimization.trainee import Trainee


class Average:
    """An exponential average, as in Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017.

    :param trainee: whose weights are averaged.
    :param decay: share of the old average that stays in each step.
    :param weights: the average of a training that is resumed; empty to begin with the present weights.
    """

    def __init__(self, trainee: Trainee, decay: float, weights: dict[str, Tensor]) -> None:
        self._trainee, self._decay = trainee, decay
        learning = trainee.learning()
        start = weights or {name: weight.detach() for name, weight in learning.items()}
        self.weights = {name: start[name].to(weight.device).clone() for name, weight in learning.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take the new weights in; in the first steps it forgets faster."""
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, weight in self._trainee.learning().items():
            self.weights[name].lerp_(weight, 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the trainee has the average's weights."""
        learning = self._trainee.learning()
        own = {name: weight.data for name, weight in learning.items()}
        try:
            for name, weight in learning.items():
                weight.data = self.weights[name]
            yield
        finally:
            for name, weight in learning.items():
                weight.data = own[name]
