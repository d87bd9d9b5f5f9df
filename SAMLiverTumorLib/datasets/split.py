"""Which pictures are learned from and which only looked at: whole patients, or blocks of slices of a single one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.listed import listed

GAP_MM = 10.0
"""Slices this close to the block for validation are left out: neighbors show the same tumor."""


@dataclass(frozen=True)
class PatientSplit:
    """Names of patients.

    :param same_volume: there is one patient only; its slices are split, and what is measured does not generalize.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    same_volume: bool = False

    @property
    def note(self) -> str:
        """What has to be said with every figure."""
        if self.same_volume:
            return "validated on other slices of the same volume: the figures do not generalize to other patients"
        return f"split by patient: validation {listed(self.validation)}"


def split_patients(
    names: Sequence[str], validation: Sequence[str], test: Sequence[str], share: float, seed: int
) -> PatientSplit:
    """Split patients as asked, or by chance.

    :param validation: patients to validate on; empty to draw `share` of those that are left, at least one.
    :raises InputError: a patient that does not exist or is named twice, or nobody left to train on.
    """
    for asked in (validation, test):
        if unknown := [name for name in asked if name not in names]:
            raise InputError(f"There is no patient {listed(unknown)}; there are {listed(names)}.")
    if both := set(validation) & set(test):
        raise InputError(f"{listed(sorted(both))} cannot be for validation and for the test at once.")
    left = [name for name in names if name not in {*validation, *test}]
    if not validation:
        if len(left) == 1 and not test:
            return PatientSplit((left[0],), (left[0],), (), same_volume=True)
        if len(left) < 2:
            raise InputError("No patients are left for validation; name fewer for the test.")
        count = min(len(left) - 1, max(1, round(share * len(left))))
        drawn = np.random.default_rng(seed).permutation(len(left))[:count]
        validation = [left[n] for n in sorted(drawn)]
        left = [name for name in left if name not in validation]
    if not left:
        raise InputError("No patients are left to train on; name fewer for validation and test.")
    return PatientSplit(tuple(left), tuple(validation), tuple(test))


def split_slices(indices: Sequence[int], step_mm: float, share: float) -> tuple[list[int], list[int]]:
    """Slices of one volume: (to train on, to validate on), the latter one block with a gap around it.

    :param indices: slices with tumor, ascending.
    :param step_mm: from one slice to the next.
    :raises InputError: there are too few of them.
    """
    count = max(1, round(share * len(indices)))
    block = list(indices[-count:])
    far = [index for index in indices[:-count] if (block[0] - index) * step_mm >= GAP_MM]
    if not far:
        raise InputError(
            f"The tumors of the one patient are on {len(indices)} slices, too few to validate on others than those "
            "learned from; add a patient, or outline tumors on more slices."
        )
    return far, block
