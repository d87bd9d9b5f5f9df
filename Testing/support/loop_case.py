"""A toy that learns two numbers, and what a training run reports of it: for tests of the loop."""

import numpy as np
import torch
from torch import nn

from SAMLiverTumorLib.training.settings import TrainSettings

SETTINGS = TrainSettings(epochs=2, steps=2, batch=2, average=0.5, patience=0, copies=0, learning_rate=1e-3, warm_up=0)


class Toy(nn.Module):
    """Two weights that learn numbers which each example draws from its own seed."""

    device = torch.device("cpu")

    def __init__(self, most=99, broken_at=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.most, self.broken_at, self.sizes = most, broken_at, []

    def forward(self, examples):
        self.sizes.append(len(examples))
        if len(examples) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        wanted = torch.tensor(np.array([np.random.default_rng(each.seed).normal(size=2) for each in examples]))
        if any(example.seed[1] == self.broken_at for example in examples):
            return (self.weight * float("nan")).sum()
        return (self.weight - wanted).square().mean()

    def learnable(self):
        return dict(self.named_parameters())


class Reports(list):
    """What a run reported."""

    def __call__(self, event, **values):
        self.append((event, values))

    def of(self, event):
        return [values for kind, values in self if kind == event]

    @property
    def losses(self):
        return [values["loss"] for values in self.of("step")]
