"""`Detection`: which lesions were found, as counts of lesions rather than voxels."""

from __future__ import annotations

from dataclasses import dataclass

DETECTION_RULE = (
    "Lesion detection: a lesion is found where any object counts to it by the matching above, however little they "
    "share. Recall is found / all lesions, precision found / (found + false positive objects), F1 their harmonic mean. "
    "No lesion and no false positive give 1; where only the denominator of one of them is 0, that one is 0."
)


@dataclass(frozen=True)
class Detection:
    """Counts of lesions; `DETECTION_RULE` says how they are counted.

    :param found: lesions found.
    :param missed: lesions missed.
    :param false_positives: predicted objects that count to no lesion.

    >>> Detection(found=3, missed=1, false_positives=2).precision
    0.6
    """

    found: int
    missed: int
    false_positives: int

    @property
    def recall(self) -> float:
        """Share of the lesions that were found."""
        return self._ratio(self.found, self.found + self.missed)

    @property
    def precision(self) -> float:
        """Share of lesions among what was predicted."""
        return self._ratio(self.found, self.found + self.false_positives)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return self._ratio(2 * self.found, 2 * self.found + self.missed + self.false_positives)

    def _ratio(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 0.0 if self.missed or self.false_positives else 1.0
