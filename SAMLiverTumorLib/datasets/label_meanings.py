"""What the segments of a label file are to a training run: tumor, liver, or neither."""

from __future__ import annotations

from collections.abc import Mapping

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.liver import is_liver, is_liver_tumor
from SAMLiverTumorLib.listed import listed

TUMOR, LIVER, IGNORE = "tumor", "liver", "ignore"
OTHERS = "*"
"""Stands for all values and segments that are not named themselves."""


def meanings_of(labels: LabelFile, names: Mapping[str, str], case: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """What each segment is.

    What `names` says holds; segments that it leaves out are what their own name or code says, liver or a tumor of it.

    :param names: label value or segment name, or `OTHERS`, to "tumor", "liver" or "ignore".
    :param case: what messages call the case.
    :return: (segment name to meaning, notes on what was taken by its own name).
    :raises InputError: a segment of unknown meaning; two that are the same voxels with different meanings.
    """
    found: dict[str, str] = {}
    by_name: dict[str, list[str]] = {LIVER: [], TUMOR: []}
    for name in labels.entries:
        if name in names:
            found[name] = names[name]
        elif labels.from_slicer and is_liver(labels, name):
            by_name[LIVER].append(name)
        elif labels.from_slicer and is_liver_tumor(labels, name):
            by_name[TUMOR].append(name)
        elif OTHERS in names:
            found[name] = names[OTHERS]
    found |= {name: what for what, each in by_name.items() for name in each}
    unknown = [name for name in labels.entries if name not in found]
    if unknown:
        others = f'; --label "{OTHERS}=ignore" ignores all that are not named' if len(unknown) > 1 else ""
        raise InputError(
            f"The label of '{case}' has the value{'s' if len(unknown) > 1 else ''} "
            f"{listed(unknown)}, whose meaning is not known (known: "
            f"{listed(f'{v} {n}' for v, n in names.items())}); name it with --label {unknown[0]}=tumor, "
            f"--label {unknown[0]}=liver or --label {unknown[0]}=ignore{others}."
        )
    _refuse_contradiction(labels, found, case)
    told = ", ".join(f"{what} {listed(each, quoted=True)}" for what, each in by_name.items() if each)
    return found, (f"Taken by their names in '{case}': {told}.",) * bool(told)


def _refuse_contradiction(labels: LabelFile, meanings: Mapping[str, str], case: str) -> None:
    """Refuse voxels that are tumor by one segment and all of the liver by another, as they are the same ones."""
    tumors = {labels.entries[name]: name for name, what in meanings.items() if what == TUMOR}
    for name, what in meanings.items():
        if what == LIVER and labels.entries[name] in tumors:
            raise InputError(
                f"In the label of '{case}' the segments '{name}' and '{tumors[labels.entries[name]]}' are the same "
                "voxels, so it cannot be told which is the tumor; give each a value of its own and save it again."
            )
