"""`Detection`: lesions found and missed, counted by lesion rather than by voxel."""

from __future__ import annotations

from dataclasses import dataclass

DETECTION_RULE = (
    "Lesion detection: a lesion is found if any object is matched to it as above, however small their overlap. Recall "
    "is found / all lesions, precision found / (found + false positive objects), F1 their harmonic mean. Without "
    "lesions and false positives all are 1; if only one of them has a denominator of 0, that one is 0."
)


@dataclass(frozen=True)
class Detection:
    """Counts of lesions, by `DETECTION_RULE`.

    :param found: lesions found.
    :param missed: lesions missed.
    :param false_positives: predicted objects matched to no lesion.

    >>> Detection(found=3, missed=1, false_positives=2).precision
    0.6
    """

    found: int
    missed: int
    false_positives: int

    @property
    def recall(self) -> float:
        """Fraction of the lesions that were found."""
        return self._ratio(self.found, self.found + self.missed)

    @property
    def precision(self) -> float:
        """Found lesions over found lesions and false positive objects."""
        return self._ratio(self.found, self.found + self.false_positives)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return self._ratio(2 * self.found, 2 * self.found + self.missed + self.false_positives)

    def _ratio(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 0.0 if self.missed or self.false_positives else 1.0
