"""A running average of the weights, steadier than those of the last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from SAMLiverTumorLib.training.optimization.trainable_model import TrainableModel


class WeightAverage:
    """An exponential average, as in Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017.

    :param trainable: the model whose weights are averaged.
    :param decay: share of the old average that stays in each step.
    :param weights: the average to resume from; empty to start from the current weights.
    """

    def __init__(self, trainable: TrainableModel, decay: float, weights: dict[str, Tensor]) -> None:
        self._trainable, self._decay = trainable, decay
        learnable = trainable.learnable()
        start = weights or {name: weight.detach() for name, weight in learnable.items()}
        self.weights = {name: start[name].to(weight.device).clone() for name, weight in learnable.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights of a step; in the first steps the decay is lower."""
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, weight in self._trainable.learnable().items():
            self.weights[name].lerp_(weight, 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged weights within the block."""
        learnable = self._trainable.learnable()
        own = {name: weight.data for name, weight in learnable.items()}
        try:
            for name, weight in learnable.items():
                weight.data = self.weights[name]
            yield
        finally:
            for name, weight in learnable.items():
                weight.data = own[name]
