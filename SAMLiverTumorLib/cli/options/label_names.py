"""The option --label VALUE=WHAT: what a label value means."""

from __future__ import annotations

from collections.abc import Sequence

from SAMLiverTumorLib.datasets.cases import IGNORE, LIVER, TUMOR
from SAMLiverTumorLib.errors import InputError


def parse_label_names(given: Sequence[str]) -> dict[str, str]:
    """Label value or segment name -> "tumor", "liver" or "ignore".

    >>> parse_label_names(["5=tumor", "Spleen=ignore"])
    {'5': 'tumor', 'Spleen': 'ignore'}

    :raises InputError: an option is not of the form VALUE=WHAT.
    """
    names = {}
    for text in given:
        value, _, what = text.rpartition("=")
        if not value or what not in (TUMOR, LIVER, IGNORE):
            raise InputError(f"--label {text} is not of the form VALUE=tumor, VALUE=liver or VALUE=ignore.")
        names[value] = what
    return names
