"""Which cases of LiTS, and so of the Medical Segmentation Decathlon, are patients of 3D-IRCADb.

Neither data set says so itself. Users compared the scans (assassint2017/MICCAI-LITS2017, issues 21 and 33): LiTS 28 to
44 and 46 to 48 are patients 1 to 20 in this order; 27 and 45, which are often named as well, are not. That is one
user's comparison by eye, not checked here: the two sets as a whole overlap for certain, single pairs very probably.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from SAMLiverTumorLib.listed import listed

LITS_NUMBERS = (*range(28, 45), 46, 47, 48)

HOW_SURE = "by users' comparison of the scans, not confirmed by either data set"


def patient_number(name: str) -> int | None:
    """1 to 20 for a patient of 3D-IRCADb-01, however the case is spelled; None for others.

    >>> patient_number("3Dircadb1.18"), patient_number("3Dircadb1_2"), patient_number("3Dircadb2.1")
    (18, 2, None)
    """
    match = re.fullmatch(r"3d-?ircadb-?0?1[._\- ](\d{1,2})(\.zip)?", name.strip().lower())
    number = int(match[1]) if match else 0
    return number if 1 <= number <= len(LITS_NUMBERS) else None


def lits_number(name: str) -> int | None:
    """The number of a case of LiTS or the Decathlon as its files or patients are named; None for others.

    >>> lits_number("liver_46"), lits_number("volume-28.nii"), lits_number("28"), lits_number("3Dircadb1.1")
    (46, 28, 28, None)
    """
    stem = re.sub(r"\.(nii(\.gz)?|nrrd|mha)$", "", name.strip().lower())
    match = re.fullmatch(r"(?:liver|lits|volume|segmentation)?[._\- ]?(\d{1,3})(?:[._\-].*)?", stem)
    return int(match[1]) if match else None


def same_in_lits(name: str) -> int | None:
    """The LiTS case that a patient of 3D-IRCADb very probably is; None where `name` is no such patient.

    >>> same_in_lits("3Dircadb1.17"), same_in_lits("3Dircadb1.18"), same_in_lits("liver_28")
    (44, 46, None)
    """
    number = patient_number(name)
    return None if number is None else LITS_NUMBERS[number - 1]


def overlap_note(names: Iterable[str]) -> str:
    """What has to be known before figures on patients of 3D-IRCADb are believed; empty where there are none.

    >>> overlap_note(["3Dircadb1.1", "p3"]).split(" (")[0]
    '3Dircadb1.1: very probably 28 of LiTS and MSD Task03'
    """
    found = {name: same for name in names if (same := same_in_lits(name)) is not None}
    if not found:
        return ""
    numbers = listed(found.values(), 20)
    return (
        f"{listed(found, 20)}: very probably {numbers} of LiTS and MSD Task03 ({HOW_SURE}); a model trained on those "
        "has seen them."
    )


def doubles(names: Iterable[str]) -> list[tuple[str, str]]:
    """(name in 3D-IRCADb, name in LiTS) of patients that are very probably there under both names.

    >>> doubles(["3Dircadb1_1", "liver_28", "liver_27"])
    [('3Dircadb1_1', 'liver_28')]
    """
    names = list(names)
    by_number = {lits_number(name): name for name in names if patient_number(name) is None}
    return [(name, by_number[same]) for name in names if (same := same_in_lits(name)) in by_number and same is not None]
