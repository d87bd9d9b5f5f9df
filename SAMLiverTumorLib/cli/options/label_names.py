"""The option --label VALUE=WHAT: what a label value means."""

from __future__ import annotations

from collections.abc import Sequence

from SAMLiverTumorLib.datasets.label_meanings import IGNORE, LIVER, TUMOR
from SAMLiverTumorLib.errors import InputError


def parse_label_names(given: Sequence[str], liver: str | None = None) -> dict[str, str]:
    """Label value or segment name -> "tumor", "liver" or "ignore".

    :param given: the options; "*" stands for all values and segments that are not named.
    :param liver: what --liver-label says: the segment or value that is the liver; several with commas between them.

    >>> parse_label_names(["5=tumor", "*=ignore"], "Liver")
    {'5': 'tumor', '*': 'ignore', 'Liver': 'liver'}

    :raises InputError: an option is not of the form VALUE=WHAT.
    """
    names = {}
    for text in given:
        value, _, what = text.rpartition("=")
        if not value or what not in (TUMOR, LIVER, IGNORE):
            raise InputError(f"--label {text} is not of the form VALUE=tumor, VALUE=liver or VALUE=ignore.")
        names[value] = what
    return names | {name.strip(): LIVER for name in (liver or "").split(",") if name.strip()}
