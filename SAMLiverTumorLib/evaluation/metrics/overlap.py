"""`Overlap`: the confusion matrix of two masks, and the metrics computed from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError

EMPTY_RULE = (
    "Empty masks: prediction and reference both empty give Dice, IoU, sensitivity and precision 1; only one of them "
    "empty gives 0. Specificity is 1 if the reference covers the whole volume. The volume error in percent is 0 if "
    "both are empty and undefined (-) if only the reference is."
)

ACCURACY_RULE = (
    "Accuracy and specificity count every voxel of the volume, background included: they are close to 1 for any small "
    "lesion, even a missed one."
)


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a prediction compared with a reference, over a whole volume.

    :param tp: voxels in both.
    :param fp: voxels in the prediction only.
    :param fn: voxels in the reference only.
    :param tn: voxels in neither.
    :param voxel_volume_ml: volume of one voxel in milliliters.

    Ratios whose denominator is 0 follow `EMPTY_RULE`.

    >>> result = Overlap(tp=6, fp=2, fn=4, tn=988, voxel_volume_ml=0.5)
    >>> round(result.dice, 4), round(result.iou, 4), result.predicted_ml, result.reference_ml
    (0.6667, 0.5, 4.0, 5.0)
    """

    tp: int
    fp: int
    fn: int
    tn: int
    voxel_volume_ml: float

    @property
    def dice(self) -> float:
        """Twice the voxels in both over the sum of both masks' voxels (also called F1)."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Voxels in both over the voxels of the union (Jaccard)."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def sensitivity(self) -> float:
        """Fraction of the reference that was predicted (recall)."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """Fraction of the prediction that lies in the reference (positive predictive value)."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def specificity(self) -> float:
        """Fraction of the voxels outside the reference that are outside the prediction."""
        negatives = self.tn + self.fp
        return self.tn / negatives if negatives else 1.0

    @property
    def accuracy(self) -> float:
        """Fraction of all voxels of the volume on which both agree."""
        total = self.tp + self.fp + self.fn + self.tn
        return (self.tp + self.tn) / total if total else 1.0

    @property
    def predicted_ml(self) -> float:
        """Volume of the prediction in milliliters."""
        return (self.tp + self.fp) * self.voxel_volume_ml

    @property
    def reference_ml(self) -> float:
        """Volume of the reference in milliliters."""
        return (self.tp + self.fn) * self.voxel_volume_ml

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus reference volume in milliliters; positive if too much was predicted."""
        return (self.fp - self.fn) * self.voxel_volume_ml

    @property
    def volume_error_percent(self) -> float | None:
        """Volume error relative to the reference in percent; None if only the reference is empty."""
        reference = self.tp + self.fn
        if reference:
            return 100.0 * (self.fp - self.fn) / reference
        return None if self.fp else 0.0

    def _ratio(self, part: int, whole: int) -> float:
        """`part / whole`; for a `whole` of 0, 1 if both masks are empty and 0 otherwise."""
        if whole:
            return part / whole
        return 0.0 if self.fp or self.fn else 1.0


def overlap(prediction: np.ndarray, reference: np.ndarray, voxel_volume_ml: float) -> Overlap:
    """Compare two masks voxel by voxel.

    :param prediction: bool (or nonzero inside), shape (k, j, i).
    :param reference: the same shape.
    :param voxel_volume_ml: volume of one voxel in milliliters.
    :raises InputError: the shapes differ.

    >>> overlap(np.array([[[1, 1, 0]]]), np.array([[[1, 0, 0]]]), 1.0).dice
    0.6666666666666666
    """
    prediction = np.asarray(prediction).astype(bool, copy=False)
    reference = np.asarray(reference).astype(bool, copy=False)
    if prediction.shape != reference.shape:
        raise InputError(
            f"The prediction has {prediction.shape} voxels (k, j, i) and the reference {reference.shape}; "
            "bring both onto the same grid before comparing them."
        )
    return from_counts(
        int(np.count_nonzero(prediction & reference)),
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(reference)),
        reference.size,
        voxel_volume_ml,
    )


def from_counts(shared: int, predicted: int, referenced: int, total: int, voxel_volume_ml: float) -> Overlap:
    """`Overlap` from the numbers of voxels in both, in the prediction, in the reference and in the whole volume."""
    union = predicted + referenced - shared
    return Overlap(shared, predicted - shared, referenced - shared, total - union, voxel_volume_ml)
