"""What happens in which step, drawn from the seed and the step's number alone: a resumed run goes on exactly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from SAMLiverTumorLib.training.optimization.trainee import Exercise
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import BOX, BOX_AND_POINT, POINT, TEXT
from SAMLiverTumorLib.training.settings import LIVER, LIVER_TUMOR, TrainSettings

# The liver is learned from few pictures, its tumors from many.
_LIVER_SHARE = 0.25


class Schedule:
    """Exercises and learning rate by step.

    A patient is drawn in proportion to the square root of the number of its pictures: neither does one with many slices
    drown the others, nor is one with few repeated until it is known by heart.
    """

    def __init__(self, settings: TrainSettings, samples: Sequence[Sample]) -> None:
        # without a lesion text alone has something to say, namely that there is none
        samples = [sample for sample in samples if sample.numbers or settings.concepts]
        self._settings, self._samples = settings, samples
        counts = Counter(sample.case for sample in samples)
        weights = np.array([counts[sample.case] ** -0.5 for sample in samples])
        self._weights = weights / weights.sum()
        self.steps = settings.epochs * settings.steps
        kinds = {POINT: settings.point, BOX: settings.box, BOX_AND_POINT: settings.box_and_point}
        if settings.concepts:
            kinds[TEXT] = settings.text
        self._kinds = [kind for kind, weight in kinds.items() if weight > 0]
        total = sum(kinds.values())
        self._shares = [kinds[kind] / total for kind in self._kinds]

    def exercises(self, step: int) -> list[Exercise]:
        """All exercises of a step, over all processes."""
        settings = self._settings
        rng = np.random.default_rng((settings.seed, step))
        chosen = rng.choice(len(self._samples), settings.batch, p=self._weights)
        return [self._exercise(self._samples[n], rng, (settings.seed, step, place)) for place, n in enumerate(chosen)]

    def rate(self, step: int) -> float:
        """Learning rate: a linear rise, then half a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
        rise = max(1, round(self._settings.warm_up * self.steps))
        if step < rise:
            return self._settings.learning_rate * (step + 1) / rise
        along = (step - rise) / max(1, self.steps - rise)
        return self._settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * along))

    def _exercise(self, sample: Sample, rng: np.random.Generator, seed: tuple[int, ...]) -> Exercise:
        settings = self._settings
        kind = self._kinds[rng.choice(len(self._kinds), p=self._shares)]
        if not sample.numbers:
            kind = TEXT
        concept = LIVER_TUMOR
        if kind == TEXT and LIVER in settings.concepts and rng.random() < _LIVER_SHARE:
            concept = LIVER
        rounds = 1 if kind == TEXT else 1 + int(rng.integers(settings.corrections + 1))
        return Exercise(sample, kind, concept, rounds, seed)
