"""Files that name the same patient: one file twice, two patients of two centers, or a mistake."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from SAMLiverTumorLib.errors import InputError

_BLOCK = 1 << 20


def without_copies(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The paths without a .nii.gz that is the .nii beside it, and the names of those."""
    left, copies = list(paths), []
    for path in paths:
        if not path.name.lower().endswith(".nii.gz"):
            continue
        plain = path.with_name(path.name[:-3])
        if plain in left and _is_packed(plain, path):
            left.remove(path)
            copies.append(path.name)
    return left, copies


def _is_packed(plain: Path, packed: Path) -> bool:
    try:
        with plain.open("rb") as one, gzip.open(packed, "rb") as other:
            while (block := one.read(_BLOCK)) == other.read(_BLOCK):
                if not block:
                    return True
    except (OSError, EOFError, zlib.error):
        pass
    return False


def told_apart(patient: str, paths: Sequence[Path], where: Path) -> list[str]:
    """Names of the patients that files of the same name are, by the folders in which they differ.

    :param where: what messages call the folder.
    :raises InputError: two lie in one folder.

    >>> told_apart("001", [Path("A/images/001.nii.gz"), Path("B/images/001.nii.gz")], Path("."))
    ['A_001', 'B_001']
    """
    if len(paths) == 1:
        return [patient]
    folders = [path.parent.parts for path in paths]
    if len(set(folders)) == len(folders):
        # counted from the files upward
        columns = list(zip(*([*reversed(parts)] for parts in folders), strict=False))
        for column in columns:
            if len(set(column)) == len(column):
                return [f"{part}_{patient}" for part in column]
        differing = [n for n, column in enumerate(columns) if len(set(column)) > 1]
        names = ["_".join([*(parts[-1 - n] for n in reversed(differing)), patient]) for parts in folders]
        if len(set(names)) == len(names):
            return names
    raise InputError(
        f"'{paths[0].name}' and '{paths[1].name}' in '{where}' look like the same patient, '{patient}'; leave one of "
        "them."
    )
