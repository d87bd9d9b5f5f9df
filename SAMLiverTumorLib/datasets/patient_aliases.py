"""What a file of weights calls the patients that it was made from: it is passed on, and names of files name people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Numbers in public data sets and in studies, by which comparisons find out whom a model has seen.
_NO_NAME = re.compile(
    r"(|p|c|s|case|patient|pat|scan|subject|liver|volume|lits|msd|chaos|totalseg|hepaticvessel|3dircadb(-?[0-9]+[.])?)"
    r"[-_]?[0-9]{0,4}",
    re.IGNORECASE,
)


def aliases(hashes: Mapping[str, str]) -> dict[str, str]:
    """Patient's name -> what stands for it: itself where it is a number only, else the beginning of its voxels' hash.

    :param hashes: patient's name -> SHA-256 of the scan's voxels.

    >>> aliases({"liver_7": "0f" * 32, "Doe_Jane": "ab" * 32})
    {'liver_7': 'liver_7', 'Doe_Jane': 'patient-abababababab'}
    """
    return {name: name if _NO_NAME.fullmatch(name) else f"patient-{digest[:12]}" for name, digest in hashes.items()}


def without_patients(value: Any, names: Mapping[str, str]) -> Any:
    """A copy of plain values in which each name is replaced, also within texts.

    :param names: as of `aliases`.

    >>> without_patients({"Doe": [0.5, "Doe and Roe"]}, {"Doe": "patient-ab", "Roe": "patient-cd"})
    {'patient-ab': [0.5, 'patient-ab and patient-cd']}
    """
    if isinstance(value, Mapping):
        return {without_patients(key, names): without_patients(each, names) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_patients(each, names) for each in value]
    if isinstance(value, str):
        for name in sorted(names, key=len, reverse=True):
            if names[name] != name:
                value = value.replace(name, names[name])
    return value
