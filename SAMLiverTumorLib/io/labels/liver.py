"""Which segments or values of a label file are the liver, where it holds more than that.

Whole-body segmentations hold a hundred organs. Taking all of them for the liver would let a tumor grow through every
one, so the segment that is the liver by its code or name is taken, or the user is asked.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.labels.label_file import LabelFile
from SAMLiverTumorLib.io.labels.lone_label import LEAST_LIVER_ML, is_named_liver, is_named_tumor, volume_ml
from SAMLiverTumorLib.io.labels.segment_details import SegmentDetails
from SAMLiverTumorLib.io.labels.terminology import LIVER, LIVER_CODE, LIVER_TUMOR
from SAMLiverTumorLib.listed import listed_labels

_NONE = SegmentDetails()

LIVER_OPTION = "--liver-label"

# Codes of the liver: SNOMED CT and what DICOM had before.
_LIVER_CODES = {LIVER_CODE.value, "T-62000"}
LIVER_NAMES = {
    *("liver", "leber", "foie", "fegato", "hígado", "higado", "fígado", "figado", "lever", "wątroba", "печень"),
    *("karaciğer", "肝", "肝脏", "肝臟", "肝臓", "간"),
}
"""What segments of the liver are called, in small letters."""

_TUMOR_WORDS = re.compile(r"肝?(脏|臟|臓)?(肿瘤|腫瘤|腫瘍|病灶|病变|转移瘤?|结节|囊肿)\d*")
_LITS = {"1", "2"}
_TOTALSEGMENTATOR = 50


def is_liver(labels: LabelFile, name: str) -> bool:
    """Whether a segment is the liver, by its code, else by its name, in several languages."""
    details = labels.details.get(name)
    if details is not None and details.terminology is not None:
        term = details.terminology
        return term.type.value in _LIVER_CODES
    plain = _plain(name)
    return plain in LIVER_NAMES or (details or _NONE).meaning(plain) == LIVER


def is_liver_tumor(labels: LabelFile, name: str) -> bool:
    """Whether a segment is a tumor or lesion of the liver, by its code, else by its name."""
    details = labels.details.get(name)
    plain = _plain(name)
    return bool(_TUMOR_WORDS.fullmatch(plain.replace(" ", ""))) or (details or _NONE).meaning(plain) == LIVER_TUMOR


def liver_of(
    labels: LabelFile, wanted: str | None = None, option: str = LIVER_OPTION
) -> tuple[LabelFile, tuple[str, ...]]:
    """A label file with only the liver, its tumors included.

    The liver is what is asked for; else the only segment; else the one that is named liver or has its code; else 1 and
    2, as in LiTS. Most label sets cut tumors out of the liver, so what is named a liver tumor beside it is part of it.

    :param wanted: a segment's name or a label's value, several with commas between them.
    :param option: what messages tell to choose it with.
    :return: (the labels, notes on what was taken, where that is not plain).
    :raises InputError: there is no such segment, it cannot be told which is the liver, or it has no voxel.
    """
    if not labels.entries:
        raise InputError(f"'{labels.name}' has no labeled voxel, so it holds no liver; name another file.")
    chosen = _wanted(labels, wanted, option) if wanted is not None else _by_itself(labels, option)
    tumors = [] if len(labels.entries) == 1 else _cut_out(labels, chosen)
    taken = [*chosen, *(name for name in tumors if name not in chosen)]
    liver = replace(labels, entries={name: labels.entries[name] for name in taken})
    if not any((labels.layers[layer] == value).any() for layer, value in liver.entries.values() if value):
        raise InputError(f"{listed_labels(taken)} of '{labels.name}' has no voxel; choose another with {option}.")
    return liver, _notes(labels, chosen, tumors)


def liver_alone(labels: LabelFile, wanted: str | None = None) -> LabelFile:
    """The liver with its tumors as the only segment of a label file, named "liver"; see `liver_of`.

    :raises InputError: see `liver_of`.
    """
    liver, notes = liver_of(labels, wanted)
    whole = np.zeros(labels.layers[0].shape, np.uint8)
    for mask in liver.segments.values():
        whole[mask] = 1
    return replace(labels, layers=(whole,), entries={"liver": (0, 1)}, details={}, notes=(*labels.notes, *notes))


def _wanted(labels: LabelFile, wanted: str, option: str) -> list[str]:
    names = segments_named(labels, wanted)
    for part in wanted.split(",") if not names else ():
        if not (found := segments_named(labels, part)):
            raise InputError(
                f"'{labels.name}' has no segment or label '{part.strip()}'; it has {listed_labels(labels.entries)}. "
                f"Choose the liver with {option}."
            )
        names += found
    return list(dict.fromkeys(names))


def segments_named(labels: LabelFile, wanted: str) -> list[str]:
    """The segment of that name, in any case of letters, or the one of that value; empty where there is none.

    :raises InputError: several have the value.
    """
    wanted = wanted.strip()
    if wanted in labels.entries:
        return [wanted]
    if same := [name for name in labels.entries if name.strip().lower() == wanted.lower()]:
        return same[:1]
    number = int(wanted) if re.fullmatch(r"[0-9]{1,9}", wanted) else 0
    found = [name for name, value in labels.label_values.items() if number and value == number]
    if len(found) > 1:
        shown = listed_labels(found)
        raise InputError(f"In '{labels.name}' segments {shown} have the value {number}; name one of them.")
    return found


def _by_itself(labels: LabelFile, option: str) -> list[str]:
    names = list(labels.entries)
    if len(names) == 1:
        if is_liver_tumor(labels, names[0]):
            raise InputError(
                f"'{labels.name}' holds no liver: its only segment is '{names[0]}'. Name another file, or say with "
                f"{option} that this is meant."
            )
        if _is_value(names[0]) and is_named_tumor(labels.name):
            raise InputError(
                f"'{labels.name}' is named as a tumor, so its only value {names[0]} is hardly the liver. Name another "
                f"file, or say with {option} {names[0]} that this is meant."
            )
        return names
    if livers := [name for name in names if is_liver(labels, name)]:
        return livers
    if set(names) == _LITS and not labels.from_slicer:
        return ["1"]
    hint = " (5 in label maps of TotalSegmentator)" if len(names) > _TOTALSEGMENTATOR and not labels.from_slicer else ""
    raise InputError(f"'{labels.name}' holds {listed_labels(names)}; say which is the liver with {option}{hint}.")


def _cut_out(labels: LabelFile, chosen: list[str]) -> list[str]:
    """Segments that are tumors of the chosen liver."""
    if set(labels.entries) == _LITS and not labels.from_slicer:
        return ["2"] if chosen == ["1"] else []
    if not any(is_liver(labels, name) for name in chosen):
        return []
    return [name for name in labels.entries if is_liver_tumor(labels, name)]


def _notes(labels: LabelFile, chosen: list[str], tumors: list[str]) -> tuple[str, ...]:
    names = list(labels.entries)
    if len(names) == 1:
        if is_liver(labels, names[0]) or (_is_value(names[0]) and is_named_liver(labels.name)):
            return ()
        if _is_value(names[0]):
            ml = volume_ml(labels)
            doubt = ", little for a liver: is it a tumor?" if ml < LEAST_LIVER_ML else "."
            return (f"The liver is taken to be {names[0]}, the only value of '{labels.name}' ({ml:.0f} ml){doubt}",)
        return (f"The liver is taken to be '{names[0]}', the only segment of '{labels.name}'.",)
    beside = f" with {listed_labels(tumors)}, cut out of it" if tumors else ""
    lits = ", as in LiTS" if set(names) == _LITS and not labels.from_slicer else ""
    left = len(names) - len({*chosen, *tumors})
    others = f"; {left} other segment{'s' if left > 1 else ''} left out" if left else ""
    return (f"The liver is {listed_labels(chosen)}{beside} of '{labels.name}'{lits}{others}.",)


def _is_value(name: str) -> bool:
    """Whether a segment has no name but its value in a label map."""
    return name.lstrip("-").isdigit()


def _plain(name: str) -> str:
    """A name in small letters without what makes it one of several."""
    return re.sub(r" \(\d+\)$", "", re.sub(r"[_\s]+", " ", name)).strip().lower()
