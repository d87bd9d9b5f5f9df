"""What a label map with one value holds that nothing describes: the liver, or a tumor alone.

In LiTS the value 1 is the liver, and patients without a tumor have no other; masks of tumors are 0 and 1, too. The
file's name and the volume say which, or the user is asked.
"""

from __future__ import annotations

import re

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.label_file import LabelFile

# Not what also names diseases of a whole set, such as HCC.
_TUMOR = re.compile(
    r"(?<![a-z])(tumou?rs?|lesions?|läsion(en)?|tumeurs?|lésions?|lesión|lesiones|metastas[ei]s)(?![a-z])"
)
_TUMOR_ELSEWHERE = re.compile(r"肿瘤|腫瘤|腫瘍|病灶|病变|病變|опухол")
_LIVER = re.compile(r"(?<![a-z])(liver|leber|foie|hígado|higado|fegato)(?![a-z0-9])(?![_\- ]*\d)|肝[脏臟臓]")

LEAST_LIVER_ML = 100.0
"""No liver of a person who is scanned for tumors is smaller."""

MOST_TUMOR_ML = 500.0
"""A mask that is larger and called a tumor may be a liver in a set of that name."""


def is_named_tumor(name: str) -> bool:
    """Whether a file's name says tumor.

    >>> is_named_tumor("p7_tumor.nii.gz"), is_named_tumor("LiverTumor_7.nii"), is_named_tumor("hcc_7.nii")
    (True, True, False)
    """
    plain = re.sub(r"(?<=[a-zäöü])(?=[A-Z])", "_", name).lower()
    return bool(_TUMOR.search(plain) or _TUMOR_ELSEWHERE.search(plain))


def is_named_liver(name: str) -> bool:
    """Whether a file's name says liver; a number behind it makes it the name of a patient, as in the Decathlon.

    >>> is_named_liver("p7_liver.nii.gz"), is_named_liver("liver_7.nii.gz"), is_named_liver("liver_tumor.nii")
    (True, False, False)
    """
    return not is_named_tumor(name) and _LIVER.search(name.lower()) is not None


def volume_ml(labels: LabelFile) -> float:
    """Volume of all segments of a file together, those that overlap counted once for each."""
    voxels = sum(int(np.count_nonzero(labels.segments[name])) for name in labels.entries)
    return voxels * labels.voxel_volume_ml


def is_lone_tumor(labels: LabelFile) -> bool:
    """Whether the only value of a label map is a tumor; else it is the liver.

    :raises InputError: it cannot be told.
    """
    (name,) = labels.entries
    ml = volume_ml(labels)
    tumor = is_named_tumor(labels.name)
    if (tumor and ml > MOST_TUMOR_ML) or (not tumor and not is_named_liver(labels.name) and ml < LEAST_LIVER_ML):
        size = "much for a tumor" if tumor else "little for a liver"
        raise InputError(
            f"'{labels.name}' holds the value {name} alone, {ml:.1f} ml, which is {size}: it cannot be told whether it "
            f"is the liver or a tumor. Say it with --label {name}=liver or --label {name}=tumor, or by a dataset.json."
        )
    return tumor
