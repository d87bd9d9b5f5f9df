"""Mean teacher: unlabeled pictures teach through what an average of earlier weights is sure of.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017. The teacher looks at a slice as it is and
the student at the same slice with other contrast, noise or sharpness; the student learns the teacher's answer to text
where the teacher is confident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from SAMLiverTumorLib.training.optimization.trainee import Exercise, Trainee
from SAMLiverTumorLib.training.optimization.weight_average import Average
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import TEXT
from SAMLiverTumorLib.training.settings import LIVER_TUMOR

# The share of the old average that stays in each step.
_DECAY = 0.99
_MOST_WEIGHT = 0.5
# Share of all steps in which the weight rises from nothing: before, the teacher knows nothing either.
_RAMP = 0.3


@dataclass(frozen=True)
class Twins:
    """The same slice twice, with the same geometry.

    :param plain: for the teacher.
    :param changed: for the student.
    """

    plain: Sample
    changed: Sample


class MeanTeacher:
    """The average of the student's weights, and what it makes of unlabeled slices.

    :param trainee: the student.
    :param twins: unlabeled slices.
    :param steps: of the whole training.
    :param seed: of what is drawn at random.
    :param weights: the average of a training that is resumed; empty to begin with the student's.
    """

    def __init__(
        self, trainee: Trainee, twins: Sequence[Twins], steps: int, seed: int, weights: dict[str, Tensor]
    ) -> None:
        self._trainee, self._twins, self._steps, self._seed = trainee, twins, steps, seed
        self.average = Average(trainee, _DECAY, weights)

    def exercise(self, step: int) -> Exercise:
        """One unlabeled slice with the teacher's answer as target."""
        rng = np.random.default_rng((self._seed, step, 7))
        twins = self._twins[int(rng.integers(len(self._twins)))]
        with torch.no_grad(), self.average.in_place():
            image = self._trainee.image_side(twins.plain)
            logits, _ = self._trainee.decode(image, None, None, LIVER_TUMOR, ambiguous=False)
            target = torch.sigmoid(logits.float())
        return Exercise(twins.changed, TEXT, LIVER_TUMOR, 1, (self._seed, step), target, self.weight(step))

    def weight(self, step: int) -> float:
        """Of the loss on unlabeled slices: rises as a half bell, as in the paper."""
        along = min(1.0, step / max(1.0, _RAMP * self._steps))
        return _MOST_WEIGHT * math.exp(-5.0 * (1.0 - along) ** 2)
