"""Which settings a resumed training run has to share with the run it continues."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from SAMLiverTumorLib.datasets.cases import LITS_VALUES
from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.listed import listed
from SAMLiverTumorLib.training.settings import MEAN_TEACHER_REMOVED

# Places of files, and the device: the result does not depend on these.
_FREE = frozenset(("out", "cache", "hold_out", "device"))
# Folders may have moved as a whole; their content is compared by its hash.
_PLACES = frozenset(("images", "labels"))


def differing(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which two training runs differ, such as "learning-rate", in the order of `now`.

    Settings that only one of them has are ignored: the other is from an earlier version, or a card, which holds no
    folders.
    """
    names = []
    for name, value in now.items():
        if name in _FREE or name not in saved:
            continue
        one, other = (_last_parts(each) if name in _PLACES else each for each in (saved[name], value))
        if name == "text_encoder":  # a folder of CLIP may have moved
            one, other = PurePath(one).name.rpartition(":")[2], PurePath(other).name.rpartition(":")[2]
        if name == "label_names":  # earlier versions saved the default
            one, other = one or LITS_VALUES, other or LITS_VALUES
        if one != other:
            names.append(name.replace("_", "-"))
    return names


def check_resumable(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume with other settings than the run started with; the number of epochs may grow.

    :raises InputError: naming those that differ, or the run learned from unlabeled scans.
    """
    if saved.get("unlabeled"):
        raise InputError(f"{MEAN_TEACHER_REMOVED} Start a new training run in another folder.")
    names = differing(saved, now)
    if "epochs" in names and now["epochs"] > saved["epochs"]:
        names.remove("epochs")
    if names:
        changed = ", ".join(f"{name} (was {_as_text(saved[name.replace('-', '_')])})" for name in names)
        raise InputError(
            f"The training run to resume started with other settings: {changed}. Give the same settings, or start "
            "a new run in another folder; device and cache may change, and epochs may be more."
        )


def check_same_data(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to resume with other scans or labels than the run started with.

    :param saved: patient -> hash of its voxels and labels; empty if none were saved.
    :raises InputError: naming the patients that differ.
    """
    if saved and (names := sorted(name for name in {*saved, *now} if saved.get(name) != now.get(name))):
        raise InputError(
            f"The training run to resume started with other voxels or labels of {listed(names)}; give the same "
            "files, or start a new run in another folder."
        )


def _last_parts(places: Any) -> list[str]:
    return [PurePath(place).name for place in places]


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value or LITS_VALUES
        return listed(f"{key}={each}" for key, each in value.items())
    return listed(value, joint=" ") or "none" if isinstance(value, list | tuple) else f"{value}"
