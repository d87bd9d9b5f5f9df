"""Examples and learning rate of each step, drawn from seed and step number alone, so that a run resumes exactly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from SAMLiverTumorLib.training.optimization.trainable_model import TrainingExample
from SAMLiverTumorLib.training.samples.embedded_samples import Sample
from SAMLiverTumorLib.training.samples.simulated_prompts import BOX, BOX_AND_POINT, POINT, TEXT
from SAMLiverTumorLib.training.settings import LIVER, LIVER_TUMOR, TrainSettings

# Share of text prompts that name the liver: it needs fewer examples than tumors.
_LIVER_SHARE = 0.25


class Schedule:
    """Training examples and learning rate by step.

    A patient is drawn in proportion to the square root of the number of its slice images. So a patient with many slices
    does not dominate, and one with few is not repeated until the network overfits to it.
    """

    def __init__(self, settings: TrainSettings, samples: Sequence[Sample]) -> None:
        # a slice image without lesions teaches text prompts only: that nothing is there
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

    def examples(self, step: int) -> list[TrainingExample]:
        """The examples of a step, over all processes."""
        settings = self._settings
        rng = np.random.default_rng((settings.seed, step))
        chosen = rng.choice(len(self._samples), settings.batch, p=self._weights)
        return [self._example(self._samples[n], rng, (settings.seed, step, place)) for place, n in enumerate(chosen)]

    def rate(self, step: int) -> float:
        """Learning rate: a linear rise, then half a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
        rise = max(1, round(self._settings.warm_up * self.steps))
        if step < rise:
            return self._settings.learning_rate * (step + 1) / rise
        along = (step - rise) / max(1, self.steps - rise)
        return self._settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * along))

    def _example(self, sample: Sample, rng: np.random.Generator, seed: tuple[int, ...]) -> TrainingExample:
        settings = self._settings
        kind = self._kinds[rng.choice(len(self._kinds), p=self._shares)]
        if not sample.numbers:
            kind = TEXT
        concept = LIVER_TUMOR
        if kind == TEXT and LIVER in settings.concepts and rng.random() < _LIVER_SHARE:
            concept = LIVER
        rounds = 1 if kind == TEXT else 1 + int(rng.integers(settings.corrections + 1))
        return TrainingExample(sample, kind, concept, rounds, seed)
