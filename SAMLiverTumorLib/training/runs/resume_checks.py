"""Which settings a training that goes on has to share with what was done of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from SAMLiverTumorLib.errors import InputError

# Where files are, and where it computes: nothing of what is learned depends on these.
_FREE = frozenset(("out", "cache", "hold_out", "device"))
# Folders may have moved as a whole; what lies in them is compared by its hash.
_PLACES = frozenset(("images", "labels", "unlabeled"))


def differing(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which two trainings differ, such as "learning-rate", in the order of `now`.

    Settings that only one of them has are passed over: the other is of an earlier version, or a card, which names no
    folders.
    """
    names = []
    for name, value in now.items():
        if name in _FREE or name not in saved:
            continue
        one, other = (_last_parts(each) if name in _PLACES else each for each in (saved[name], value))
        if name == "text_encoder":  # a folder of CLIP may have moved
            one, other = PurePath(one).name.rpartition(":")[2], PurePath(other).name.rpartition(":")[2]
        if one != other:
            names.append(name.replace("_", "-"))
    return names


def check_resumable(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings than a training began with; more epochs are no others.

    :raises InputError: naming those that differ.
    """
    names = differing(saved, now)
    if "epochs" in names and now["epochs"] > saved["epochs"]:
        names.remove("epochs")
    if names:
        told = ", ".join(f"{name} (was {_told(saved[name.replace('-', '_')])})" for name in names)
        raise InputError(
            f"The training to resume began with other settings: {told}. Give the same again, or begin a new one in "
            "another folder; device and cache may change, and epochs may be more."
        )


def check_same_data(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with other scans or labels than a training began with.

    :param saved: patient -> hash of its voxels and labels; empty where none were kept.
    :raises InputError: naming the patients that differ.
    """
    if saved and (names := sorted(name for name in {*saved, *now} if saved.get(name) != now.get(name))):
        raise InputError(
            f"The training to resume began with other voxels or labels of {', '.join(names)}; give the same files, or "
            "begin a new one in another folder."
        )


def _last_parts(places: Any) -> list[str]:
    return [PurePath(place).name for place in places]


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return " ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else f"{value}"
