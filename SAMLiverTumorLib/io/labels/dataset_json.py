"""What `dataset.json` says that label values mean: nnU-Net (both versions, regions too) and the Medical Decathlon.

Values alone say nothing: 1 is the liver in LiTS, a vessel in the Decathlon's Task08, and the tumor in a set of tumors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.io.json_text import parse_json
from SAMLiverTumorLib.io.labels.label_file import LabelFile, free_name
from SAMLiverTumorLib.listed import listed

FILE = "dataset.json"
VALUES_SAID = f"Label values as {FILE} says"
"""How the note begins."""

TUMOR, LIVER, IGNORE = "tumor", "liver", "ignore"

_TUMOR = re.compile(
    r"tumou?r|lesion|läsion|lésion|lesión|cancer|carcinom|metasta|neoplas|malignan|tumeur|опухол|"
    r"\b(hcc|icc|ccc|crlm|mets?|masse?)\b|肿瘤|腫瘤|腫瘍|病灶|病变|病變|癌|转移|轉移"
)
_NO_TUMOR = re.compile(r"\b(non?|not|without|peri|ohne)\b[ ]?|peritumou?r|nontumou?r|瘤周")
_LIVER = re.compile(
    r"liver|hepat|\bhepar\b|leber|\bfoie\b|h[ií]gado|f[ií]gado|fegato|wątrob|печен|karaciğer|肝|\b간\b|\blever\b"
)
_OTHER_ORGAN = re.compile(
    r"kidney|renal|niere|pancrea|pankreas|lung|pulmon|spleen|milz|colon|bowel|duoden|stomach|gastr|brain|adrenal|bladder|"
    r"prostat|breast|bone|vertebra|oesoph|esoph|thyroid|ovar|uter|heart|\brib|肾|腎|胰|肺|脾|胃|脑|腦|肠|腸|骨"
)
_VESSEL = re.compile(
    r"vessel|vein|vena|venous|arter|aorta|portal|cava|ivc|gefä|duct|gallbladder|gall bladder|\bbile|biliary|血管|静脉|"
    r"靜脈|动脉|動脈|胆|膽"
)
_BESIDE_LIVER = re.compile(
    r"\b(whole|total|entire|healthy|normal|parenchyma|tissue|organ|segments?|lobes?|left|right|caudate|quadrate|medial|"
    r"lateral|anterior|posterior|superior|inferior|the|of|and|with|incl|including|mask|label|region|ganze?|entier|"
    r"[ivx]+|\d+[a-d]?)\b|[脏臟臓实質实质左右叶葉段\d]"
)
_ANYTHING = re.compile(
    r"(class|label|object|foreground|fg|roi|target|mask|region|structure|value|unknown|other)?\s*\d*"
)


@dataclass(frozen=True)
class DatasetLabels:
    """What a `dataset.json` says.

    :param path: of the file.
    :param names: label value -> what the file calls it; several names where regions overlap.
    :param meanings: label value -> "tumor", "liver" or "ignore"; values that cannot be told are left out.
    """

    path: Path
    names: Mapping[str, tuple[str, ...]]
    meanings: Mapping[str, str]

    @property
    def said(self) -> str:
        """The file's own words, such as "1 tumor, 2 liver"."""
        return listed((f"{value} '{' / '.join(names)}'" for value, names in self.names.items()), 12) or "no label"

    @property
    def note(self) -> str:
        """What was taken from it."""
        read = listed(
            (
                f"{value} '{' / '.join(names)}' is {_told(self.meanings.get(value))}"
                for value, names in self.names.items()
            ),
            12,
        )
        return f"{VALUES_SAID}: {read}."

    def values_of(self, meaning: str) -> list[str]:
        """Values of one meaning."""
        return [value for value, each in self.meanings.items() if each == meaning]


def dataset_labels(label: str | Path) -> DatasetLabels | None:
    """What the set that a label file belongs to says; None where there is no such file or it names no labels.

    :param label: the label file. The set's description lies beside it, or beside its folder.
    :raises InputError: the description cannot be read.
    """
    folder = Path(label).absolute().parent
    for place in (folder, folder.parent):
        path = place / FILE
        if path.is_file():
            return _read(path)
    return None


def meanings_in_set(
    label: str | Path | None, given: Mapping[str, str], others: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What the values of a label file mean: as given, else as the set's `dataset.json` says, else as usual.

    :param label: the label map; None for a file whose segments have names of their own.
    :param given: what the user said; it overrules the rest. "*" stands for all values that are not named.
    :param others: what values mean where no `dataset.json` says it, besides those given.
    :return: (label value or name of a segment to "tumor", "liver" or "ignore", notes).
    :raises InputError: the description cannot be read, or it cannot be told what it means by a value.
    """
    try:
        said = None if label is None else dataset_labels(label)
    except InputError as error:
        if not given:
            raise
        return {**others, **given}, (f"{error} What --label says was taken.",)
    if said is None:
        return {**others, **given}, ()
    meanings = {**said.meanings, **given}
    if unclear := [value for value in said.names if value not in meanings and "*" not in given]:
        raise InputError(
            f"{FILE} of '{said.path.parent.name}' says {said.said}. It is not clear whether {listed(unclear)} "
            f"{'is' if len(unclear) == 1 else 'are'} liver, a tumor of it, or neither; say it with "
            f"--label {unclear[0]}=tumor, --label {unclear[0]}=liver or --label {unclear[0]}=ignore."
        )
    overruled = [f"{v} is {given[v]}" for v in said.names if v in given and said.meanings.get(v) != given[v]]
    told = f"{said.note} Overruled by --label: {listed(overruled)}." if overruled else said.note
    return meanings, (told,)


def named_by_set(labels: LabelFile, path: str | Path) -> LabelFile:
    """A label map whose values have the names that the set's `dataset.json` gives them; others are unchanged.

    What means liver or tumor is named "liver" or "liver tumor", so that it is known by its name as in other files.

    :param path: of the label map.
    :raises InputError: the description cannot be read.
    """
    if labels.from_slicer or (said := dataset_labels(path)) is None:
        return labels
    entries: dict[str, tuple[int, int]] = {}
    for value, place in labels.entries.items():
        own = {LIVER: "liver", TUMOR: "liver tumor"}.get(said.meanings.get(value, ""))
        name = own or " / ".join(said.names.get(value, (value,)))
        entries[free_name(name, entries)] = place
    return replace(labels, entries=entries, notes=(*labels.notes, said.note))


def reference_label(reference: str | Path, wanted: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Which value of a reference to compare a tumor with, where its set's `dataset.json` says it.

    :param wanted: what the user chose, which holds; None if nothing.
    :return: (value, or `wanted` where there is no `dataset.json`; notes).
    :raises InputError: it says that none, or several, are tumor.
    """
    if wanted is not None or (said := dataset_labels(reference)) is None:
        return wanted, ()
    tumors = said.values_of(TUMOR)
    if len(tumors) != 1:
        raise InputError(
            f"{FILE} of '{said.path.parent.name}' says {said.said}, so {'several labels are' if tumors else 'none is'} "
            "tumor; choose the label to compare with by --reference-label VALUE."
        )
    return tumors[0], (said.note,)


def _read(path: Path) -> DatasetLabels | None:
    try:
        tree = parse_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"'{path}', which says what labels mean, cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(
            f"'{path}', which says what labels mean, cannot be parsed ({error}); correct it, or rename it and say what "
            "each value is with --label VALUE=tumor, --label VALUE=liver or --label VALUE=ignore."
        ) from error
    given = tree.get("labels") if isinstance(tree, Mapping) else None
    if not given:
        return None
    try:
        names = _names(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"'{path}' does not say what labels mean in a way that is known ({error}): "
            '"labels" is {"liver": 1, "tumor": 2} or {"1": "liver", "2": "tumor"}.'
        ) from error
    return DatasetLabels(path, names, _meanings(names))


def _names(given: Any) -> dict[str, tuple[str, ...]]:
    """Label value -> its names, in the order of the values, without the background."""
    if isinstance(given, list):  # ["background", "liver", "tumor"], by position
        given = {str(value): name for value, name in enumerate(given)}
    if not isinstance(given, Mapping):
        raise TypeError(f"it is {str(given)[:40]!r}")
    found: dict[int, list[str]] = {}
    for key, what in given.items():
        if isinstance(what, str) and not _is_number(what):
            pairs: Iterable[tuple[Any, str]] = ((key, what),)
        else:
            pairs = ((value, key) for value in (what if isinstance(what, list) else [what]))
        for value, name in pairs:
            found.setdefault(_whole(value), []).append(" ".join(str(name).split())[:60])
    return {str(value): tuple(found[value]) for value in sorted(found) if value}


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*\d+(\.0*)?\s*", text) is not None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{str(value)[:40]!r} is no label value")
    number = float(value)
    if number != int(number):
        raise ValueError(f"{str(value)[:40]!r} is no label value")
    return int(number)


def _meanings(names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    found = {}
    every = [_plain(name) for each in names.values() for name in each]
    # in a set of kidneys "tumor" alone is one of the kidney
    elsewhere = not any(map(_LIVER.search, every)) and any(map(_OTHER_ORGAN.search, every))
    for value, each in names.items():
        read = {_meaning(_plain(name), elsewhere) for name in each}
        for what in (TUMOR, LIVER, IGNORE):
            if what in read and (None not in read or what != IGNORE):
                found[value] = what
                break
    return found


def _meaning(name: str, elsewhere: bool) -> str | None:
    """What a name says; None where it cannot be told."""
    liver = _LIVER.search(name)
    if name == IGNORE:
        return IGNORE
    if _NO_TUMOR.search(name):
        return None
    if _OTHER_ORGAN.search(name):
        return None if liver else IGNORE
    if _TUMOR.search(name):
        return None if elsewhere and not liver else TUMOR
    if _VESSEL.search(name):
        return IGNORE
    if liver:
        return None if re.search(r"\w", _BESIDE_LIVER.sub("", _LIVER.sub("", name))) else LIVER
    return None if _ANYTHING.fullmatch(name) else IGNORE


def _plain(name: str) -> str:
    """Small letters, words apart: "LiverTumor_1" to "liver tumor 1"."""
    return " ".join(re.sub(r"[_\-./()]+", " ", re.sub(r"(?<=[a-zäöü])(?=[A-Z])", " ", name)).lower().split())


def _told(meaning: str | None) -> str:
    if meaning is None:
        return "not clear"
    return "ignored" if meaning == IGNORE else meaning
